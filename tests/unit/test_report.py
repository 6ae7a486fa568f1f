"""A run as a page: whole in itself, safe whatever a model answers, and made of whatever a run left."""

from __future__ import annotations

import html
import io
import json
import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from gpulab.common.causes import tail
from gpulab.common.errors import UsageError
from gpulab.records.read import read
from gpulab.records.writer import Writer
from gpulab.reports.compare import compare, value
from gpulab.reports.curves import draw, reach, ticks
from gpulab.reports.differences import beside, earlier, flags
from gpulab.reports.report import page_of, show_report, write_report
from gpulab.reports.series import MOST, resources, thinned, training
from gpulab.runs.lab_run import LabRun
from tests.records import killed, open_run

SCRIPT = "<script>alert('木')</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """What of a page a browser would run or load, the text that a reader sees, and the charts' data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts, self.loads, self.seen, self.charts = 0, [], [], []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.scripts += tag == "script"
        self.loads += [(tag, name, value) for name, value in attributes if name in ("src", "href") or name[:2] == "on"]
        self.charts += [json.loads(value) for name, value in attributes if name == "data-chart" and value]

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.seen.append(data)


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"step": name, "state": "done", "argv": ["swift", "sft", "--seed", "1"], "log": f"logs/{name}.log"} | fields


def trained(folder: Path, name: str, *losses: float) -> None:
    (folder / name).mkdir(exist_ok=True)
    rows = [{"loss": loss, "epoch": n, "global_step/max_steps": f"{5 * n}/99"} for n, loss in enumerate(losses, 1)]
    (folder / name / "logging.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def answered(folder: Path, name: str, answer: str) -> None:
    (folder / name).mkdir(exist_ok=True)
    row = {"response": answer, "labels": "森", "messages": [{"role": "user", "content": "首都?"}]}
    (folder / name / "infer_result.jsonl").write_text(json.dumps(row) + "\n")


def sampled(folder: Path, *rows: str) -> None:
    head = "seconds,step,cpu_percent,rss_mib,gpu_percent,gpu_mib\n"
    (folder / "resources.csv").write_text(head + "".join(f"{row}\n" for row in rows))


@pytest.fixture
def run(runs: Path) -> Writer:
    """A finished run that trained and answered."""
    writer = open_run(steps=[step("before"), step("train"), step("infer")], title="木 Lab")
    trained(writer.folder, "train", 3.0, 2.0, 1.0)
    answered(writer.folder, "before", "林")
    answered(writer.folder, "infer", "森")
    sampled(writer.folder, "0,before,10,512,0,0", "1,train,90,2048,0,0", "9,train,80,1024,0,0")
    (writer.folder / "logs/train.log").write_text("a first line\n\x1b[32mthe end\x1b[0m 完\n")
    writer.close("done")
    return writer


def test_a_page_is_whole_in_itself_and_small(run):
    text = page_of(run.folder, run.record)
    page = Page(text)
    assert (page.loads, page.scripts) == ([], 1), "it loads nothing, and runs its own script"
    assert "default-src 'none'" in text and re.search(r"script-src &#39;sha256-|script-src 'sha256-", text)
    assert len(text.encode()) < 200_000


def test_a_page_shows_curves_answers_and_steps(run):
    page = Page(page_of(run.folder, run.record))
    loss, used = page.charts
    assert (loss["curves"][0]["x"], loss["curves"][0]["y"]) == ([5, 10, 15], [3, 2, 1])
    assert [(s["step"], s["start"], s["end"]) for s in used["spans"]] == [("before", 0, 1), ("train", 1, 9)]
    assert [(c["label"], c["unit"], max(c["y"])) for c in used["curves"]] == [
        ("memory (RSS)", "GiB", 2.0), ("CPU (100 = one core)", "%", 90),
    ]  # fmt: skip
    for said in ("林", "森", "the end 完", "木 Lab"):
        assert said in " ".join(page.seen)


def test_a_tables_head_is_on_each_sheet_of_paper(run):
    text = page_of(run.folder, run.record)
    heads = re.findall(r"<table>\n<thead><tr>(.*?)</tr></thead>", text)
    assert len(heads) == len(re.findall(r"<tr><th>[^<]*</th><th", text)) >= 3


@pytest.mark.parametrize("where", ["answer", "log", "title", "failure", "step", "figure"])
def test_html_is_text_wherever_it_comes_from(runs, where):
    name = "s<b>" if where == "step" else "infer"
    writer = open_run(steps=[step(name)], title=SCRIPT if where == "title" else "A lab")
    (writer.folder / name).mkdir()
    answered(writer.folder, name, SCRIPT if where == "answer" else "x")
    trained(writer.folder, name, 2, 1)
    if where == "figure":
        (writer.folder / name / "logging.jsonl").write_text(f"{json.dumps({SCRIPT: 1})}\n" * 2)
    (writer.folder / f"logs/{name}.log").write_text(SCRIPT if where == "log" else "x")
    writer.record.failures = [SCRIPT] if where == "failure" else []
    page = Page(page_of(writer.folder, writer.record))
    assert (page.loads, page.scripts) == ([], 1)
    assert where == "step" or SCRIPT in html.unescape("".join(page.seen))


def test_a_page_needs_nothing_but_a_record(runs):
    writer = open_run()
    page = Page(page_of(writer.folder, writer.record))
    assert page.charts == [] and "the run was running when this page was made" in " ".join(page.seen)


def test_a_killed_runs_page_says_so_and_shows_what_there_is(runs):
    writer = open_run(steps=[step("train", state="running")])
    trained(writer.folder, "train", 3.0, 2.0)
    with (writer.folder / "train/logging.jsonl").open("a") as log:
        log.write('{"loss": 1.0, "glo')
    sampled(writer.folder, "0,train,10,512,0,0", "1,train,10,512,0,0", "2,trai")
    folder = killed(writer)
    record = read(folder)
    record.close("killed")
    page = Page(page_of(folder, record))
    assert [c["y"] for chart in page.charts for c in chart["curves"]] == [[3, 2], [0.5, 0.5], [10, 10]]
    assert "killed" in " ".join(page.seen)


def test_a_loss_that_is_no_number_is_a_gap(runs):
    writer = open_run(steps=[step("train")])
    trained(writer.folder, "train", 3.0, float("nan"), float("inf"), 2.0)
    (loss,) = Page(page_of(writer.folder, writer.record)).charts
    assert loss["curves"][0]["y"] == [3, None, None, 2]


def test_a_page_of_an_older_schema(runs):
    writer = open_run(steps=[step("train")])
    data = json.loads((writer.folder / "run.json").read_text())
    data["schema"] = 1
    for gone in ("schema_version", "settings", "environment", "others"):
        data.pop(gone)
    (writer.folder / "run.json").write_text(json.dumps(data))
    assert show_report("last").data["report"].is_file()


@pytest.mark.parametrize("broken", ["{", "[1]\n", '{"response": 1, "messages": 7}\n'])
def test_broken_answers_are_left_out(run, broken):
    (run.folder / "infer/infer_result.jsonl").write_text(broken)
    assert "林" in page_of(run.folder, run.record)


def test_a_huge_log_is_read_from_its_end(tmp_path):
    log = tmp_path / "train.log"
    with log.open("wb") as stream:
        stream.truncate(2**28)
        stream.seek(0, 2)
        stream.write("\n10%\r20%\nthe end 完\n".encode())
    tracemalloc.start()
    try:
        assert tail(log, 3) == ["20%", "the end 完"]
        assert tracemalloc.get_traced_memory()[1] < 2**24, "no more of it is held than its end"
    finally:
        tracemalloc.stop()


def test_a_secret_in_a_log_is_not_on_the_page(run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "very-secret-value")
    (run.folder / "logs/train.log").write_text("logging in with very-secret-value\n")
    answered(run.folder, "infer", "very-secret-value")
    write_report(run.folder, run.record)
    page = run.folder / "report.html"
    assert "very-secret-value" not in page.read_text() and page.stat().st_mode & 0o077 == 0


def test_long_curves_are_thinned_and_peaks_stay(runs):
    writer = open_run(steps=[step("train")])
    trained(writer.folder, "train", *(float(n) for n in range(5 * MOST)))
    sampled(writer.folder, *(f"{n},train,1,{9216 if n == 777 else 1},0,0" for n in range(5 * MOST)))
    (loss,) = training(writer.folder, writer.record)["loss"]
    assert len(loss.y) <= MOST + 1 and loss.y[-1] == 5 * MOST - 1
    used, _ = resources(writer.folder)
    memory = used["GiB"][0]
    assert len(memory.y) <= MOST and max(memory.y) == 9
    assert thinned([]) == []


def test_differences_from_the_last_run_of_the_lab(runs, run):
    writer = open_run(
        steps=[step("train", argv=["swift", "sft", "--seed", "2", "--x"])],
        stack={"name": "cpu", "packages": {"a": "2"}},
    )
    open_run("other-lab").close("done")
    trained(writer.folder, "train", 4.0, 3.0)
    writer.close("done")
    found = earlier(writer.folder, writer.record)
    assert found is not None and found[0] == run.folder
    rows = {group: {row.name: row.values for row in some} for group, some in
            beside([found, (writer.folder, writer.record)]).items()}  # fmt: skip
    assert rows["settings"] == {"train.seed": ["1", "2"], "train.x": [None, ""]}
    assert rows["environment"]["package: a"] == [None, "2"] and "profile" not in rows["environment"]
    assert earlier(run.folder, run.record) is None, "the first run of a lab is compared with nothing"


def test_a_rehearsal_is_compared_with_a_rehearsal(runs):
    cpu, gpu, last = (open_run(profile=profile) for profile in ("cpu", "gpu", "cpu"))
    found = earlier(last.folder, last.record)
    assert found is not None and found[0] == cpu.folder
    found = earlier(gpu.folder, gpu.record)
    assert found is not None and found[0] == cpu.folder, "there is no other on a GPU"


def test_flags_of_a_command():
    assert flags(["swift", "sft", "a.yaml", "--a-b", "1", "2", "--c=d", "--e"]) == {"a_b": "1 2", "c": "d", "e": ""}


def test_compare_shows_figures_of_all_and_their_curves(run, runs):
    run.record.steps[1].metrics = {"loss_last": 1.0}
    run.save()
    other = open_run(steps=[step("train", metrics={"loss_last": 0.5})])
    trained(other.folder, "train", 2.0, 0.5)
    other.close("failed")
    found = compare("start/tiny", run.record.run)
    assert found.data["figures"]["train: last loss"] == [0.5, 1.0]
    page = Page(found.data["page"].read_text())
    assert [c["label"] for c in page.charts[0]["curves"]] == ["1 train", "2 train"]
    assert found.data["page"].parent == run.folder


def test_compare_cuts_no_path_on_a_narrow_terminal(runs):
    for release in ("12.8", "13.0"):
        open_run(environment={"CUDA_HOME": f"/usr/local/cuda-{release}/targets/x86_64-linux/lib64"}).close("done")
    names = sorted(folder.name for folder in runs.glob("start-tiny/*"))
    narrow = Console(width=80, file=io.StringIO())
    narrow.print(compare(*(f"start-tiny/{name}" for name in names)).text)
    rows = [line[line.index("/usr") :] for line in narrow.file.getvalue().splitlines() if "/usr" in line]
    assert "…" not in narrow.file.getvalue() and "12.8" in rows[0] and "13.0" in rows[0]


@pytest.mark.parametrize("length", [100, 101, 5000])
def test_a_long_value_is_compared_by_its_begin_and_its_end(length):
    said = value("begin".ljust(length - 3, "-") + "end")
    assert said.startswith("begin") and said.endswith("end") and len(said) <= 100


def test_a_comparison_needs_two_runs(run):
    with pytest.raises(UsageError, match="two runs or more"):
        compare("last", run.record.run)


def test_curves_svg_has_each_figure_each_resource_and_the_steps_as_a_band(run):
    draw(run.folder, run.record)
    svg = ElementTree.fromstring((run.folder / "curves.svg").read_text())  # noqa: S314 (our own)
    said = [text.text for text in svg.iterfind(".//{*}text")]
    assert {"loss", "train", "Resources", "memory (RSS)", "before"} <= set(said)
    lines = [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()] for line in svg.iterfind(".//{*}polyline")
    ]
    assert [len(line) for line in lines] == [3, 3, 3]
    assert lines[0][0][1] < lines[0][1][1] < lines[0][2][1], "the loss falls: y is counted from above"


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1.2, 3.9, [2, 3]), (-0.5, 0.5, [-0.4, -0.2, 0, 0.2, 0.4]),
    (0, 40000, [0, 10000, 20000, 30000, 40000]), (1e-6, 3e-6, [1e-6, 1.5e-6, 2e-6, 2.5e-6, 3e-6]),
])  # fmt: skip
def test_an_axis_has_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_curve_of_one_value_or_of_none_has_a_place():
    assert reach([2, 2, float("nan")]) == (1.5, 2.5)
    assert reach([float("inf")]) == (-0.5, 0.5)


def test_a_report_that_cannot_be_made_ends_no_run(run, monkeypatch):
    def fails(*_: Any) -> None:
        raise KeyError("a page")

    monkeypatch.setattr("gpulab.reports.report.write_report", fails)
    monkeypatch.setattr(LabRun, "_write_script", lambda self: None)
    lab_run = object.__new__(LabRun)
    lab_run.writer, lab_run.record, lab_run.folder = run, run.record, run.folder
    plan = SimpleNamespace(steps=["before", "train", "infer"], lab=SimpleNamespace(compare={}))
    lab_run.session = SimpleNamespace(plan=plan, peaks={})
    lab_run.spec = SimpleNamespace(lab=SimpleNamespace(figures=[]))
    lab_run._finish("interrupted")
    assert read(run.folder).state == "interrupted"
