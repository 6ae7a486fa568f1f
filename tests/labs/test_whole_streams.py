"""The real ms-swift's streamer, given an answer's tokens in one piece and in several."""

from __future__ import annotations

import json
import subprocess

import pytest

from gpulab.plan.plan import TOOLS
from gpulab.stacks.stack import load_stack

pytestmark = pytest.mark.rehearsal

ASK = """
import json, runpy, sys
from types import SimpleNamespace
from swift.infer_engine.utils import InferStreamer

def decode(tokens, is_finished=True, first_token=False):
    return "<think></think>" * first_token + "".join(tokens)

def told(*pieces):
    streamer = InferStreamer(SimpleNamespace(tokenizer=None, decode_generate_ids=decode))
    streamer._is_chinese_char = lambda char: False
    return ["".join(streamer.get_printable_text(p, p is pieces[-1]) for p in pieces)]

def both():
    return told(["Gr", "ell"]) + told(["Gr"], ["Gr", "ell"], ["Gr", "ell", "."])

before = both()
runpy.run_path(sys.argv[1])
print(json.dumps([before, both()]))
"""


def test_an_answer_that_comes_in_one_piece_is_not_lost() -> None:
    words = [load_stack("cpu").bin / "python", "-c", ASK, TOOLS / "whole_streams.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    alone, with_the_plugin = json.loads(done.stdout.splitlines()[-1])
    assert alone == ["<think></think>", "<think></think>Grell."], "ms-swift has mended it: the plugin can go"
    assert with_the_plugin == ["<think></think>Grell", "<think></think>Grell."]
