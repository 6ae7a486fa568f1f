"""The site's pages: plan and labs as records have them, safe whatever is in them, with links that lead somewhere."""

from __future__ import annotations

import posixpath
import re
from html import unescape
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

import pytest
import yaml

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.reports.site import make, material
from gpulab.reports.site.anchors import dead_anchors
from gpulab.reports.site.files import MARK, bring_up_to_date, check_target
from gpulab.reports.site.markdown import code, plain, relinked, table
from gpulab.reports.site.material import Material, gather
from gpulab.reports.site.pages import Pages, pages
from gpulab.reports.site.serve import server
from gpulab.reports.site.words import LANGUAGES, site_file
from gpulab.stacks.stack import load_stack
from tests.records import open_run
from tests.unit.conftest import WriteLab

SCRIPT = "<script>alert('木')</script>|`x`](javascript:alert(1)) {: onclick=alert(1) }"
LAB = """\
title: "A title <script>alert(1)</script> | *木*"
upstream: examples/none
curriculum: D4.train.tuners
stack: cpu
needs: {}
steps:
  ask: {run: /bin/true}
rehearse: {}
"""


@pytest.fixture
def lab(write_lab: WriteLab, runs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one lab of a site."""
    folder = write_lab(text=LAB)
    monkeypatch.setattr(material, "LABS", folder.parents[1])
    (folder / "README.md").write_text("# Title\n\n## Goal\nSee [serving](../../../docs/serving.md), [it](lab.yaml).\n")
    return "start/tiny"


@pytest.fixture(scope="module")
def whole() -> Material:
    """What this repository's own site is made of."""
    return gather()


def page_of_lab(lab: str) -> str:
    return pages(gather(), "en").texts[f"labs/{lab}/index.md"]


def test_a_run_that_was_added_stands_in_its_labs_page_and_in_the_plan(lab: str) -> None:
    assert "never" in page_of_lab(lab)
    proof = {"proof": "loss falls", "holds": True, "evidence": "3 -> 1"}
    run = open_run(only=["ask"], steps=[{"step": "ask", "state": "done", "seconds": 7, "proofs": [proof]}])
    run.record.close("done")
    run.save()
    after = pages(gather(), "zh")
    assert "1 &#47; 1" in after.texts[f"labs/{lab}/index.md"]
    row = next(line for line in after.texts["plan.md"].splitlines() if f"({'labs/' + lab}/index.md)" in line)
    assert "已在 CPU 上预演" in row


def test_what_a_lab_or_a_run_says_is_text_and_no_markup(lab: str) -> None:
    run = open_run(failures=[SCRIPT])
    run.record.close("failed")
    run.save()
    text = re.sub(r"^```.*?^```$", "", page_of_lab(lab), flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in text
    assert "](javascript" not in text
    assert "{:" not in text
    (row,) = [line for line in text.splitlines() if "failed" in line and "|" in line and "cpu" in line]
    assert row.count("|") == 7, "a cell's own bar is no border"
    assert SCRIPT in unescape(row)


def test_a_record_that_cannot_be_read_is_told_of_and_the_site_is_made(lab: str) -> None:
    run = open_run()
    (run.folder / "run.json").write_text("{")
    assert "unreadable" in page_of_lab(lab)


def test_a_block_of_code_ends_where_it_should() -> None:
    block = code("````\n<script>\n```", "yaml")
    assert block.splitlines()[0] == "`````yaml"
    assert block.splitlines()[-1] == "`````"


def test_a_table_keeps_its_columns_whatever_is_in_a_cell() -> None:
    assert [line.count("|") for line in table(("a", "b"), [("1|2", "x\ny")]).splitlines()] == [3, 3, 3]
    assert unescape(plain("_a_ <b> & [c](d)")) == "_a_ <b> & [c](d)"


def test_links_lead_to_pages_of_the_site_and_others_are_text() -> None:
    known = {"labs/a/b/README.md": "labs/a/b/index.md", "docs/x.md": "docs/x.md"}
    text = "[x](../../../docs/x.md#here) [y](lab.yaml) [z](https://example.org)\n```\n[n](lab.yaml)\n```\n"
    linked = "[x](../../../docs/x.md#here) y [z](https://example.org)\n```\n[n](lab.yaml)\n```\n"
    assert relinked(text, "labs/a/b/README.md", known) == linked


def test_a_line_break_in_a_chinese_sentence_is_no_space() -> None:
    text = "## 主机\n每台主机一个\n容器。\n\n- 共同\n  完成 NCCL\n训练\n- 然后\n```\n一\n二\n```\n"
    shown = "## 主机\n每台主机一个容器。\n\n- 共同完成 NCCL\n训练\n- 然后\n```\n一\n二\n```\n"
    assert relinked(text, "docs/x_CN.md", {}) == shown


def test_a_translated_document_is_the_page_of_its_language(whole: Material) -> None:
    english, chinese = (pages(whole, language).texts for language in ("en", "zh"))
    assert english["docs/serving.md"].startswith("# Serving")
    assert chinese["docs/serving.md"].startswith("# 服务")
    assert "](docs/serving.md)" in chinese["index.md"], "README_CN leads to it"
    assert not [name for name in {*english, *chinese} if name.endswith("_CN.md")]


def test_the_plan_says_what_one_keeps_of_a_row(whole: Material) -> None:
    kept = pages(whole, "en").texts["plan.md"].partition("## Outputs")[2]
    assert "](docs/main-line.md)" in kept
    assert "`labs/extend/dataset/plugin.py`" in kept


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_of_the_site_leads_to_a_page_or_a_picture_of_it(whole: Material, language: str) -> None:
    made = pages(whole, language)  # type: ignore[arg-type]
    there = {*made.texts, *(f"charts/{name}.svg" for name in made.charts)}
    dead = [
        (page, target)
        for page, text in made.texts.items()
        for target in re.findall(r"\]\((?!http)([^)#\s]+)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        if posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) not in there
    ]
    other = "zh" if language == "en" else "en"
    assert [d for d in dead if d != ("index.md", f"../{other}/index.html")] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_lab_and_document_stands_in_the_contents(whole: Material, language: str) -> None:
    made = pages(whole, language)  # type: ignore[arg-type]
    listed = set(re.findall(r"[\w./-]+\.md", yaml.safe_dump(yaml.safe_load(made.config)["nav"], width=1000)))
    assert listed == set(made.texts)
    assert {f"labs/{name}/index.md" for name in whole.labs} <= listed


def test_a_section_names_only_documents_that_are_there() -> None:
    named = {name for section in site_file().documents for name in section.pages}
    assert named <= {file.stem for file in (ROOT / "docs").glob("*.md")}, "gpulab/reports/site/site.yml"


def test_the_chart_of_a_command_is_in_the_page_of_the_lab_that_was_traced(whole: Material) -> None:
    made = pages(whole, "en")
    traced = {part.lab for part in whole.main_line}
    assert traced
    for lab in traced:
        pictures = re.findall(r"charts/(\w+)\.svg", made.texts[f"labs/{lab}/index.md"])
        assert pictures, lab
        assert all(made.charts[name].startswith("flowchart") for name in pictures)
    assert not any("```mermaid" in text for text in made.texts.values())


def test_only_what_differs_is_written_and_what_is_too_much_goes(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("run")
    report.chmod(0o600)
    folder = tmp_path / "site"
    wanted = {"a.md": "a", "b/c.md": "c", "runs/r.html": report}
    assert bring_up_to_date(folder, wanted).written == list(wanted)
    (folder / "kept").mkdir()
    (folder / "kept/cache").touch()
    changes = bring_up_to_date(folder, {"a.md": "other", "runs/r.html": report}, keep=["kept"])
    assert (changes.written, changes.removed) == (["a.md"], ["b/c.md"])
    assert (folder / "runs/r.html").stat().st_mode & 0o777 == 0o644


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="something else"):
        check_target(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        check_target(tmp_path / "none" / "site")
    (tmp_path / MARK).touch()
    check_target(tmp_path)


def test_it_is_served_on_the_loopback_address_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("here")
    with server(tmp_path) as serving:
        assert serving.server_address[0] == "127.0.0.1"
        Thread(target=serving.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{serving.server_port}/") as answer:
            assert answer.read() == b"here"
        serving.shutdown()


def test_a_language_that_could_not_be_built_is_built_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = load_stack("site")
    monkeypatch.setattr(make, "SITE", tmp_path)
    monkeypatch.setattr(type(stack), "bin", tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/zensical"
    program.write_text("#!/bin/sh\necho 'no such theme'; exit 1\n")
    program.chmod(0o755)
    made = {"en": Pages({"index.md": "# A"}, {}, "site_name: a\n")}
    with pytest.raises(UsageError, match="no such theme"):
        make.build(made, stack)  # type: ignore[arg-type]
    program.write_text("#!/bin/sh\nmkdir html; echo '<a href=\"#no\">built</a>' > html/index.html\n")
    assert make.build(made, stack) == []  # type: ignore[arg-type]
    assert "built" in (tmp_path / "en/html/index.html").read_text()
    monkeypatch.setattr(make, "LANGUAGES", ["en"])
    told = [str(failure) for failure in make.dead_links()]
    assert [said.partition(" (cure")[0] for said in told] == ["en/index.html: #no leads to no heading"]
    program.write_text("#!/bin/sh\nexit 1\n")
    assert make.build(made, stack) == [], "nothing changed, and nothing is built"  # type: ignore[arg-type]
    assert [str(failure) for failure in make.dead_links()] == told, "it is told as long as it is so"


def test_a_link_to_a_heading_that_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.html").write_text('<h2 id="名">x</h2><a href=#名>1</a><a href="b.html#%E5%90%8D">2</a>')
    (tmp_path / "docs/b.html").write_text('<a href="a.html#名">3</a> <a href="a.html">4</a> <a href="../none.html#x">')
    (tmp_path / "404.html").write_text('<a href="#__skip">5</a>')
    assert [*dead_anchors(tmp_path)] == [("docs/a.html", "b.html#%E5%90%8D")]


def test_the_page_of_what_is_gone_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = load_stack("site")
    monkeypatch.setattr(make, "SITE", tmp_path)
    monkeypatch.setattr(type(stack), "bin", tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/zensical"
    program.write_text(
        "#!/bin/sh\nmkdir -p html; for page in docs/*.md; do touch html/$(basename $page .md).html; done\n"
    )
    program.chmod(0o755)
    make.build({"en": Pages({"index.md": "a", "gone.md": "b"}, {}, "a: 1\n")}, stack)
    make.build({"en": Pages({"index.md": "a"}, {}, "a: 1\n")}, stack)
    assert [page.name for page in (tmp_path / "en/html").iterdir()] == ["index.html"]
