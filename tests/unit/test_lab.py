"""lab.yaml: every mistake gets one line with file and line, and a cure."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import LABS
from gpulab.lab.lab import find_lab, lab_names, load_lab

MISTAKES = {
    "a tab": (("  train:\n    run:", "  train:\n\trun:"), 9, "a tab", "spaces"),
    "an unknown key": (("title:", "titel:"), 1, "titel", "title"),
    "an unknown key of a step": (("    makes:", "    make:"), 10, "steps.train.make", "makes"),
    "a missing key": (("title: A lab of the tests\n", ""), 1, "'title' is missing", "add it"),
    "a wrong type": (("gpus: 1", "gpus: two"), 6, "needs.gpus", ""),
    "a wrong type of a flag": (("train: {max_steps: 3}", "train: 3"), 16, "not a mapping", "key: value"),
    "a negative figure": (("vram_gib: 8", "vram_gib: -8"), 6, "needs.vram_gib", ""),
    "the same step twice": (("  chat:", "  train:"), 12, "'train' stands here and on line 8", "keep one"),
    "a reference to a later step": (("{model}\n", "{model} --seed {chat}\n"), 9, "later step chat", "earlier"),
    "a reference to itself": (("{model}\n", "{model} --seed {train}\n"), 9, "refers to itself", "{out}"),
    "an unknown placeholder": (("{model}\n", "{modell}\n"), 9, "{modell}", "model"),
    "the address of what serves nothing": (("{train}/last", "{train.url}/last"), 13, "{train.url}", "server"),
    "an unknown flag": (("--temperature", "--temperatur"), 13, "no flag 'temperatur'", "temperature"),
    "an unknown flag to rehearse": (("max_steps", "max_step"), 16, "no flag 'max_step'", "max_steps"),
    "an unknown step to rehearse": (("  train: {max", "  trian: {max"), 16, "no step 'trian'", "train"),
    "a missing file": (("sft train.yaml", "sft tran.yaml"), 9, "no file tran.yaml", "train.yaml"),
    "an unknown proof": (("loss falls", "loss fals"), 11, "no proof 'loss fals'", "loss falls"),
    "a proof like no other": (("loss falls", "it works"), 11, "no proof 'it works'", "adapter moved; "),
    "a proof about no step": (("loss falls", "exact match above chat"), 11, "'chat', which is no earlier", ""),
    "an unknown stack": (("stack: cpu", "stack: gpu"), 4, "no stack 'gpu'", "cpu"),
    "an unknown stack of a step": (
        ("{max_steps", "{stack: train, max_steps"),
        16,
        "no stack 'train' for a CPU",
        "vllm",
    ),
    "a rank where nothing spreads": (("{model}\n", "{model} --seed {node_rank}\n"), 9, "step that spreads", "spread"),
    "a reference to what may be left out": (
        ("    makes: [logging.jsonl]\n", "    makes: [logging.jsonl]\n    gpus: 4\n"),
        13,
        "may be left out",
        "another",
    ),
    "a proof about what may be left out": (
        (
            "    proves: [loss falls]\n  chat:\n"
            "    run: swift infer --adapters {train}/last-checkpoint --temperature 0\n",
            "    gpus: 4\n  chat:\n    run: swift infer --temperature 0\n    proves: [exact match above train]\n",
        ),
        12,
        "may be left out",
        "another",
    ),
    "a shell operator": (("--temperature 0", "> out.txt"), 13, "one command without shell operators", ""),
    "an open quote": (("--temperature 0", "--temperature '0"), 13, "cannot be split", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_lab_yaml_is_named_with_file_and_line(write_lab, mistake):
    replacement, line, message, cure = MISTAKES[mistake]
    folder = write_lab(replacement)
    with pytest.raises(UsageError) as caught:
        load_lab(folder)
    assert f"lab.yaml:{line}: " in caught.value.message, caught.value.message
    assert message in caught.value.message
    assert cure in caught.value.cure


def test_an_unknown_flag_in_ms_swifts_own_yaml_is_named_with_its_line(write_lab):
    folder = write_lab()
    (folder / "train.yaml").write_text("dataset: d.jsonl\nlerning_rate: 1\n")
    with pytest.raises(UsageError, match=r"train\.yaml:2: swift sft knows no flag 'lerning_rate'") as caught:
        load_lab(folder)
    assert "learning_rate" in caught.value.cure


def test_a_lab_is_found_by_its_folder_with_or_without_its_chapter(write_lab):
    write_lab()
    assert find_lab("tiny").name == find_lab("start/tiny").name == "start/tiny"


def test_an_ambiguous_name_asks_which(write_lab):
    write_lab()
    write_lab(name="serve/tiny")
    with pytest.raises(UsageError, match="2 labs") as caught:
        find_lab("tiny")
    assert caught.value.cure == "say which: serve/tiny or start/tiny"


def test_an_unknown_name_gets_the_nearest(write_lab):
    write_lab()
    with pytest.raises(UsageError, match="no lab 'tinny'") as caught:
        find_lab("tinny")
    assert "tiny" in caught.value.cure


@pytest.mark.parametrize("name", lab_names())
def test_every_lab_of_the_repository_loads_and_has_its_page(name):
    lab = load_lab(LABS / name)
    page = (lab.folder / "README.md").read_text()
    for heading in ("## Goal", "## Material", "## Action", "## Output"):
        assert heading in page
    assert f"./inv lab {lab.folder.name}" in page or f"./inv lab {name}" in page


def test_what_several_labs_learn_from_is_there_once():
    files = [file for file in LABS.rglob("data/**/*.jsonl") if file.is_file()]
    same: dict[bytes, list[str]] = {}
    for file in files:
        same.setdefault(file.read_bytes(), []).append(str(file.relative_to(LABS)))
    assert len(files) > 10
    assert not [names for names in same.values() if len(names) > 1], "belongs in labs/common/data"


def test_a_step_may_refer_to_one_that_is_left_out_only_where_it_is_itself(write_lab):
    lab = load_lab(write_lab(("    makes: [logging.jsonl]\n", "    makes: [logging.jsonl]\n    gpus: 4\n"),
                             ("  chat:\n", "  chat:\n    gpus: 4\n")))  # fmt: skip
    assert [step.gpus for step in lab.steps.values()] == [4, 4]


def test_some_steps_bring_those_that_they_refer_to(write_lab):
    proof = (
        "    makes: [logging.jsonl]\n    proves: [loss falls]\n  chat:",
        "  other:\n    run: python x {out}\n  chat:",
    )
    lab = load_lab(write_lab(proof))
    assert list(lab.only(["chat"]).steps) == ["train", "chat"], "chat takes what train made"
    assert list(lab.only(["other"]).steps) == ["other"]
    assert list(lab.only([]).steps) == ["train", "other", "chat"]
    compared = load_lab(LABS / "train/multi-gpu").only(["zero3"])
    assert list(compared.steps) == list(compared.compare) == ["single", "zero3"], (
        "its losses are compared with single's"
    )
    with pytest.raises(UsageError, match="has no step 'chatt'"):
        lab.only(["chatt"])


@pytest.mark.parametrize(
    "name",
    ["../../x", "logs", '""', "run.json", "twin", "Train", "a b", "$(id)", "model", "speaks", "a" * 41, "train-1"],
)
def test_a_step_that_would_be_another_file_of_the_run_is_refused(write_lab, name):
    folder = write_lab(("  chat:", f"  {name}:"), ("    makes: [logging.jsonl]\n", "    spread: true\n"))
    with pytest.raises(UsageError, match=r"lab\.yaml:12: no step can be called") as caught:
        load_lab(folder)
    assert caught.value.cure
