"""labs/practice/grounding/boxes.py, whose steps no rehearsal carries out: which boxes are right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpulab.common.paths import LABS

TRUTH = [28, 0, 56, 28]
SAID = {
    "<|box_start|>(28,0),(56,28)<|box_end|>": "right",
    "<|box_start|>(28,0),(56,20)<|box_end|>": "right",  # 20 of 28 rows of it
    "<|box_start|>(0,0),(56,28)<|box_end|>": "right",  # half of their union
    "<|box_start|>(0,0),(56,30)<|box_end|>": "wrong",
    "<|box_start|>(0,28),(28,56)<|box_end|>": "wrong",  # beside it both ways: no area is shared
    "<|box_start|>(500,0),(1000,500)<|box_end|>": "wrong",  # thousandths where pixels are due
    "in the corner": "wrong",
}


@pytest.mark.parametrize("said", SAID)
def test_a_box_is_right_where_half_of_the_union_is_shared(tmp_path: Path, said: str) -> None:
    question = {"role": "user", "content": "<image>Where is the red square?"}
    messages = [question, {"role": "assistant", "content": said}]
    answer = {"response": said, "messages": messages, "objects": {"bbox": [TRUTH]}}
    (tmp_path / "answers.jsonl").write_text(json.dumps(answer) + "\n", encoding="utf-8")
    judge = [sys.executable, str(LABS / "common/judge.py"), "--by", str(LABS / "practice/grounding/boxes.py")]
    words = ["--answers", str(tmp_path / "answers.jsonl"), "--result", str(tmp_path / "result.jsonl")]
    subprocess.run([*judge, *words], check=True)
    judged = json.loads((tmp_path / "result.jsonl").read_text(encoding="utf-8"))
    assert judged == {"response": SAID[said], "labels": "right", "messages": [question]}
