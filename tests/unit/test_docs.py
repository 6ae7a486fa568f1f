"""The documents tell the truth: commands parse, tables and trees show what is there, versions stand in one place."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.parser import Parser

import tasks
from gpulab.common.paths import ROOT
from gpulab.lab.lab import find_lab
from gpulab.reports.new_lab import table
from gpulab.verbs.command_line import named

TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
PAGES = [f for f in TRACKED if f.endswith(".md")]
README = (ROOT / "README.md").read_text()
READMES = ["README.md", "README_CN.md"]


def commands() -> list[tuple[str, str]]:
    """Every `./inv ...` in a page's code, without its comment."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        code = [*re.findall(r"```\w*\n(.*?)```", text, re.DOTALL), *re.findall(r"`(\./inv [^`\n]+)`", text)]
        for block in code:
            found += [(page, c.strip()) for c in re.findall(r"^\s*(\./inv\b[^#\n]*)", block, re.MULTILINE)]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_in_a_page_is_one_that_inv_takes(page, command):
    words = shlex.split(command)[1:]
    if words[:1] in (["--list"], ["--help"]) or any("<" in w for w in words):
        words = [w for w in words if not w.startswith("-") and "<" not in w][:1]
    contexts = Collection.from_module(tasks).to_contexts()
    verb = next((c for c in contexts if words and c.name == words[0]), None)
    assert verb or not words, f"{page}: no verb {words[0]}"
    if len(words) > 1:
        words = named(words, {c.name: c for c in contexts}, Collection.from_module(tasks)[words[0]].options)
        parsed = Parser(contexts).parse_argv(words)
        if words[0] == "lab":
            find_lab(parsed[0].args["name"].value)


TRANSLATED = [page for page in PAGES if page.endswith("_CN.md")]


def shape(page: str) -> dict[str, list[object]]:
    """What a page has in any language: headings by level, tables' rows by cells, blocks of code by lines."""
    text = (ROOT / page).read_text()
    code = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        "headings": re.findall(r"^#+(?= )", prose, re.MULTILINE),
        "tables": [row.count("|") for row in re.findall(r"^\|.*\|$", prose, re.MULTILINE)],
        "blocks of code": [block.count("\n") for block in code],
    }


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translated_page_has_the_commands_headings_tables_and_code_of_the_english_one(page):
    english = page.replace("_CN", "")
    of = {name: sorted(command for file, command in commands() if file == name) for name in (page, english)}
    assert of[page] == of[english]
    assert shape(page) == shape(english)


@pytest.mark.parametrize("page", READMES)
def test_the_readmes_table_shows_every_lab_as_its_lab_yaml_says(page):
    assert table() in (ROOT / page).read_text(), "./inv labs --write brings it up to date"


def test_the_readmes_tree_shows_every_folder_and_nothing_else():
    tree = README.split("## Tree\n```\n")[1].split("```")[0]
    shown = {line.split()[0].rstrip("/") for line in tree.splitlines() if not line.startswith(" ")}
    aside = {"LICENSE", "pyproject.toml"}
    there = {f.split("/")[0] for f in TRACKED if f and not f.startswith(".") and ("/" in f or not f.endswith(".md"))}
    assert shown == there - aside


ARCHITECTURE = ["docs/architecture.md", "docs/architecture_CN.md"]


@pytest.mark.parametrize("page", ARCHITECTURE)
def test_architecture_names_only_files_that_exist(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"(?<![\w/<>.])((?:[\w.]+/)*[\w.]+\.(?:py|yml|lock|json))\b", text)
    made = {"run.json", "defaults/main.yml"}  # of a run, of a role
    assert len(named) > 30
    for name in set(named) - made:
        known = [ROOT / name, ROOT / "gpulab" / name]
        assert any(path.is_file() for path in known), name
    for folder in re.findall(r"`?((?:common|hosts|plan|tests|checks)/\w*/?)(?=[`\s,)])", text):
        assert (ROOT / folder).is_dir() or (ROOT / "gpulab" / folder).is_dir(), folder


@pytest.mark.parametrize("page", ARCHITECTURE)
def test_architectures_lines_fit_an_editor(page):
    assert [line for line in (ROOT / page).read_text().splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("page", ARCHITECTURE)
def test_architectures_picture_is_what_import_linter_checks(page):
    picture = (ROOT / page).read_text().split("```")[1]
    shown = [line.split()[0] for line in picture.strip().splitlines()]
    (written,) = re.findall(r"^layers = \[(.*?)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert shown == re.findall(r'"(\w+)"', written)
    assert set(shown) == {f.parent.name for f in (ROOT / "gpulab").glob("*/__init__.py")}


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_every_page_has_its_chinese_one_that_links_to_chinese_ones():
    of_code = ["main-line", "module-map", "swift-project", "chooser", "doctor", "role-variables"]
    alone = {f"docs/{name}.md" for name in [*of_code, "measurements"]}  # the last is a log of figures
    pages = {page for page in PAGES if page.startswith("docs/") and page not in TRANSLATED}
    assert {page for page in pages if page.replace(".md", "_CN.md") not in PAGES} == alone
    for page in TRANSLATED:
        for target in re.findall(r"\]\((?!http)([^)#]+)\.md[)#]", (ROOT / page).read_text()):
            chinese = (ROOT / page).parent / f"{target}_CN.md"
            assert not chinese.exists() or chinese == ROOT / page, f"{page}: {target}.md"


def anchors(page: Path) -> set[str]:
    """What a page's headings are called, by GitHub and by the site."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.*)$", prose, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_links_to_a_heading_lead_to_one_that_is_there():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", (ROOT / page).read_text()):
            to = (ROOT / page).parent / target if target else ROOT / page
            assert anchor in anchors(to), f"{page}: {target}#{anchor}"


def test_a_version_is_written_in_stacks_yml_and_nowhere_else():
    pin = re.compile(
        r"\b(torch|vllm|sglang|lmdeploy|deepspeed|ms-swift|transformers|megatron-core|evalscope|invoke|pydantic)"
        r" ?(==|>=|<=|~=) ?[0-9]"
    )
    allowed = re.compile(r"docker/stacks\.yml|.*\.lock|docs/.*|README.*|CHANGELOG\.md")
    for file in filter(None, TRACKED):
        path = Path(ROOT / file)
        if not allowed.fullmatch(file) and path.is_file():
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                assert not pin.search(line), f"{file}:{number}: {line.strip()}"


def test_locks_carry_hashes_and_no_addresses():
    for lock in [f for f in TRACKED if f.endswith(".lock")]:
        text = (ROOT / lock).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, f"{lock} names an index"


def test_the_cpu_lock_holds_no_cuda():
    names = re.findall(r"^([a-z0-9._-]+)==", (ROOT / "docker/cpu/cpu.lock").read_text(), re.MULTILINE)
    assert [n for n in names if n.startswith(("nvidia-", "cuda-")) or n in ("torch", "triton")] == []
