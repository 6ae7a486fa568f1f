"""The learning plan: every lab has its row, a row without a lab says why, and what is done comes from records alone."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from rich.console import Console

import tasks
from gpulab.common.errors import UsageError
from gpulab.common.paths import LABS, ROOT
from gpulab.lab.lab import lab_names, load_lab
from gpulab.records.record import State
from gpulab.reports import curriculum, team
from gpulab.reports.curriculum import rows, standings
from tests.records import open_run
from tests.unit.conftest import WriteLab

LAB = """\
title: Two steps of nothing
upstream: examples/none
curriculum: D4.train.tuners
stack: cpu
needs: {}
steps:
  first: {run: /bin/true}
  second: {run: /bin/true}
rehearse: {}
"""


def test_every_lab_names_a_row_of_the_plan() -> None:
    known = rows()
    wrong = {name: row for name in lab_names() if (row := load_lab(LABS / name).curriculum) not in known}
    assert not wrong, "add the row to labs/curriculum.yml, or name another"


def test_every_row_has_a_lab_or_says_why_not() -> None:
    named = {load_lab(LABS / name).curriculum for name in lab_names()}
    named |= {name for name, row in rows().items() if row.labs}
    assert not [name for name, row in rows().items() if name not in named and not (row.todo or row.page)]
    assert not [name for name, row in rows().items() if name in named and row.todo], "it has a lab now"


def test_a_row_names_only_labs_that_are_there_and_have_another_row() -> None:
    own = {name: load_lab(LABS / name).curriculum for name in lab_names()}
    wrong = [(name, lab) for name, row in rows().items() for lab in row.labs if own.get(lab, name) == name]
    assert not wrong, "no such lab, or its lab.yaml says the row already"


THE_PLANS = ("D1.map", "D5.flow", "D5.paths", "D6.chooser", "D7.rlhf", "D7.multimodal", "D8.tests", "D9.dataset",
             "milestone.draw", "milestone.submit")  # fmt: skip


def test_every_output_is_a_file_or_comes_from_a_lab_or_a_verb() -> None:
    found = {standing.row: standing.output for standing in standings({n: load_lab(LABS / n) for n in lab_names()}, {})}
    assert not [row for row in THE_PLANS if not found[row]], "the plan asks for an output of it"
    verbs = Collection.from_module(tasks).task_names
    for row, outputs in found.items():
        for output in outputs:
            program, *words = output.split()
            if program == "./inv":
                assert words[0] in verbs, f"{row}: {output}"
            else:
                assert (ROOT / output).is_file(), f"{row}: {output}"


def test_an_output_of_a_run_is_a_command_until_there_is_one(
    write_lab: WriteLab, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = load_lab(write_lab(text=LAB))
    row = curriculum.Row(en="a", zh="a", output=["README.md", "{run}/run.json"])
    monkeypatch.setattr(curriculum, "rows", lambda: {"D4.train.tuners": row})
    assert standings({lab.name: lab})[0].output == ["README.md", f"./inv lab {lab.name}"]
    run = open_run(slug=lab.slug, only=["first", "second"])
    run.record.close("done")
    run.save()
    (standing,) = standings({lab.name: lab})
    assert Path(standing.output[1]).samefile(run.folder / "run.json")
    assert f"| D4.train.tuners | a · a | `README.md`<br/>`{standing.output[1]}` |" in curriculum.as_markdown(
        [standing], {lab.name: lab}
    )


def test_a_lab_stands_in_its_own_row_and_in_those_that_name_it(
    write_lab: WriteLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = load_lab(write_lab(text=LAB))
    known = {name: curriculum.Row(en="a", zh="a") for name in ("D4.train.tuners", "D4.train.full", "D4.train.moe")}
    known["D4.train.full"].labs.append(lab.name)
    monkeypatch.setattr(curriculum, "rows", lambda: known)
    assert [s.row for s in standings({lab.name: lab}) if s.labs] == ["D4.train.tuners", "D4.train.full"]


@pytest.fixture
def stand(write_lab: WriteLab, runs: Path) -> Any:
    """stand(day, state): how the row of a lab stands after one more run."""
    folder = write_lab(text=LAB)
    lab = load_lab(folder)

    def after(day: int, state: State = "done", **fields: Any) -> curriculum.Standing:
        begun = {"only": ["first", "second"], "started": f"2026-11-{day:02}T01:02:03Z"}
        open_run(**{"slug": lab.slug, **begun, **fields}).close(state)
        return next(s for s in standings({lab.name: lab}) if s.row == "D4.train.tuners")

    return after


def test_a_page_stands_for_a_row_where_it_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"D5.flow": "docs/architecture.md", "D5.paths": "docs/no-such-page.md", "D1.env": "./inv stacks"}
    known = {name: curriculum.Row(en="a", zh="a", page=page) for name, page in pages.items()}
    monkeypatch.setattr(curriculum, "rows", lambda: known)
    monkeypatch.setattr(curriculum, "read_all", dict)
    assert [standing.state for standing in standings({})] == ["a page", "todo", "todo"]


def test_a_row_is_todo_until_a_whole_run_of_its_lab_is_done(stand: Any) -> None:
    assert stand(1, "failed").state == "todo"
    assert stand(2, only=["first"]).state == "todo"
    assert stand(3, slug="another-lab").state == "todo"
    assert (stand(4).state, stand(5).date) == ("rehearsed on cpu", "2026-11-05")


def test_a_run_on_a_gpu_stands_above_a_newer_rehearsal(stand: Any) -> None:
    assert stand(6, profile="gpu").state == "done on gpu"
    assert (stand(7).state, stand(8).date) == ("done on gpu", "2026-11-06")


def test_the_table_fits_80_columns_and_json_has_every_row() -> None:
    page = Console(width=80, file=io.StringIO(), record=True)
    page.print(curriculum.show_curriculum().text)
    assert max(map(len, page.export_text().splitlines())) <= 80
    told = subprocess.run([ROOT / "inv", "curriculum", "--json"], capture_output=True, text=True, check=True).stdout
    assert {row["row"] for row in json.loads(told)["rows"]} == set(rows())


def test_progress_as_markdown_has_every_row_its_run_and_what_is_next(stand: Any, tmp_path: Path) -> None:
    standing = stand(4)
    lab = load_lab(LABS / "train/tuners")
    standing.labs, standing.en = [lab.name], "a | b"
    text = curriculum.as_markdown(
        [standing, curriculum.Standing("D8.test", "Tests", "测试", "no lab yet")], {lab.name: lab}
    )
    assert "2 rows, 0 done on gpu, 1 rehearsed on cpu, 0 a page, 1 todo." in text
    assert f"| D4.train.tuners | {lab.name} | {lab.needs.minutes:g} |" in text
    assert f"| tuners | a \\| b · {standing.zh} | {lab.name} | rehearsed on cpu | 2026-11-04 | {standing.run} |" in text
    assert "## D8\n" in text and "| test | Tests · 测试 |  | todo: no lab yet |  |  |" in text
    standing.profile = "gpu"
    assert "## Next" not in curriculum.as_markdown([standing], {lab.name: lab}), "what is done on a GPU is not ahead"


def test_progress_takes_the_place_of_no_other_file(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "进度.md"
    for _ in range(2):
        curriculum.show_curriculum(str(page))
    assert page.read_text().startswith(curriculum.HEADING)
    page.write_text("mine")
    for there in (page, tmp_path, tmp_path / "none/progress.md"):
        with pytest.raises(UsageError):
            curriculum.show_curriculum(str(there))
    assert page.read_text() == "mine"


def test_several_peoples_runs_stand_side_by_side(
    write_lab: WriteLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_lab(text=LAB)
    monkeypatch.setattr(team, "LABS", folder.parents[1])
    for person, state in (("ann", "done"), ("bo", "failed")):
        monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / person / "runs"))
        run = open_run(only=["first", "second"])
        run.record.close(state)
        run.save()
    folders = [str(tmp_path / person / "runs") for person in ("ann", "bo")]
    (row,) = [r for r in team.show_team(folders).data["rows"] if r["row"] == "D4.train.tuners"]
    assert {name: s["state"] for name, s in row["people"].items()} == {"ann": "rehearsed on cpu", "bo": "todo"}
    with pytest.raises(UsageError, match="no runs in it"):
        team.show_team([str(tmp_path / "cy")])
