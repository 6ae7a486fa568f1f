"""Every proof is fed a run in which the feature was active, and one in which it was off and exit was 0 all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpulab.checks.proofs import PROOFS, Finished, find, prove
from gpulab.checks.registry import proof
from gpulab.checks.verdict import Question, judge
from tests.finished_runs import (
    BASE,
    BF16,
    CHANGED,
    DATA_2,
    HALF,
    NORMS,
    TEMPLATE,
    TENSOR_2,
    WHOLE,
    Build,
    adapter,
    answers,
    args,
    asked,
    at,
    benched,
    cached,
    chat,
    counted,
    evaluated,
    exported,
    figure,
    full,
    heads,
    iterations,
    log,
    lora,
    losses,
    machine,
    ollamas,
    pushed,
    ranks,
    reviewed,
    sampled,
    save,
    scored,
    steps,
    thought,
    tokens,
    vision,
    ways,
)

# phrase: (the feature active, then runs in which it was not)
CASES: dict[str, tuple[list[Build], list[list[Build]]]] = {
    "loss falls": (
        [losses(4, 3, 2, 1)],
        [[losses(1, 1, 1, 1)], [losses(1, 2, 3, 4)], [losses(1)], [losses(1, float("nan"))], []],
    ),
    "only lora weights trained": (
        [lora(), losses(2, 1)],
        [
            [lora(weight=np.ones((2, 3), np.float32)), losses(2, 1)],  # a full weight was saved beside
            [lora(), losses(2, 1, parameters="X: 10.0M Params (10.0M Trainable [100%])")],
            [losses(2, 1)],
        ],
    ),
    "adapter moved": ([lora()], [[lora(b=0.0)], [adapter(**{"lora_A.weight": np.ones(3, np.float32)})], []]),
    "dora magnitudes moved": (
        [lora(lora_magnitude_vector=NORMS * 1.1)],
        [[lora(lora_magnitude_vector=NORMS)], [lora()]],  # frozen; plain LoRA
    ),
    "all weights trained": (
        [full(CHANGED)],
        [[full(BASE)], [full(HALF)], [full(BF16)], []],  # the same values in another dtype are no training
    ),
    "adapter merged": (
        [full(HALF, "step/out/model.safetensors")],
        [
            [full(BASE, "step/out/model.safetensors")],
            [full({**HALF, "model.q.lora_A.weight": NORMS}, "step/out/model.safetensors")],
            [full({"model.q.weight": NORMS}, "step/out/model.safetensors")],  # a tensor of the base is missing
        ],
    ),
    "every rank took part": (
        [ranks("a", "a"), log("[0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [receive] via NET/IB/0")],
        [
            [ranks("a", "b", world=1), log("")],  # two trainings side by side that never met
            [ranks("a"), log("")],  # a rank was lost
            [log("")],
        ],
    ),
    "optimizer is Adafactor": (
        [ranks("a", "a", optimizer=["Adafactor", "Adafactor"])],
        [
            [ranks("a", "a", optimizer=["AdamW", "AdamW"])],  # GaLore's flag in transformers 5: nothing changed
            [ranks("a", "a", optimizer=["Adafactor", "AdamW"])],
            [],
        ],
    ),
    "ranks hold the same weights": (
        [ranks("a", "a")],
        [[ranks("a", "b")], [ranks("a")], [ranks(None, None)], []],  # drifted apart; alone; sharded: nothing to compare
    ),
    "each rank holds at most 55% of the weights": (
        [ranks(None, None, parameters_held=[0.5, 0.5])],
        [
            [ranks("a", "a", parameters_held=[1.0, 1.0])],  # FSDP2 that fell back to DDP
            [ranks(None, parameters_held=[0.5])],  # a rank is missing
            [ranks(None, None, parameters_held=[0.5, 0])],  # half of the weights are nowhere
            [],
        ],
    ),
    "each rank holds at most 55% of the experts": (
        [ranks("a", "b", experts_held=[0.5, 0.5])],
        [
            [ranks("a", "a", experts_held=[1.0, 1.0])],  # expert parallelism was off
            [ranks("a", "a", experts_held=[None, None])],  # a dense model
            [ranks("a", "b", experts_held=[0.5, 0.25])],  # a part of the experts is nowhere
        ],
    ),
    "at most 60% of the weights trained": (
        [ranks("a", "a", parameters_trained=[0.01, 0.01])],
        [
            [ranks("a", "a", parameters_trained=[1.0, 1.0])],  # full training
            [ranks("a", "a", parameters_trained=[0.01, 0])],  # a rank's adapter is frozen
            [],
        ],
    ),
    "each rank holds at most 55% of the optimizer states": (
        [ranks("a", "a", states_held=[0.52, 0.5])],
        [[ranks("a", "a", states_held=[1.0, 1.0])], [ranks("a", "a", states_held=[0.5, 1.0])], []],
    ),
    "each rank takes at most 60% of the tokens": (
        [ranks("a", "a", tokens_taken=[0.5, 0.5])],
        [[ranks("a", "a", tokens_taken=[1.0, 1.0])], [ranks("a", "a", tokens_taken=[None, None])], []],
    ),
    "each rank's model on several devices": (
        [ranks("a", "a", devices=[["cuda:0", "cuda:1"], ["cuda:2", "cuda:3"]])],
        [
            [ranks("a", "a", devices=[["cuda:0"], ["cuda:1"]])],  # plain DDP
            [ranks("a", "a", devices=[["cuda:0", "cuda:1"], ["cuda:0", "cuda:1"]])],  # both on the same two
            [ranks("a", devices=[["cuda:0", "cuda:1"]])],
            [],
        ],
    ),
    "laid out as asked": (
        [asked(tensor=2), ranks("a", "b", coordinates=TENSOR_2)],
        [
            [asked(tensor=2), ranks("a", "a", coordinates=DATA_2)],  # it was never shared out
            [asked(tensor=2), ranks("a", coordinates=TENSOR_2)],  # a rank was lost
            [asked(tensor=2), ranks("a", "a", coordinates=[TENSOR_2[0]] * 2)],  # two ranks in one place
            [ranks("a", "b", coordinates=TENSOR_2)],
        ],
    ),
    "stages interleaved as asked": (
        [args(virtual_pipeline_model_parallel_size=2), ranks("a", "b", layers=[[[1], [3]], [[2], [4]]])],
        [
            [args(virtual_pipeline_model_parallel_size=None), ranks("a", "b", layers=[[[1, 2]], [[3, 4]]])],
            [args(virtual_pipeline_model_parallel_size=2), ranks("a", "b", layers=[[[1, 2]], [[3, 4]]])],  # not done
            [args(virtual_pipeline_model_parallel_size=2), ranks("a", "b", layers=[[[1], [2]], [[3], [4]]])],
            [args(virtual_pipeline_model_parallel_size=2)],  # no rank left its word
        ],
    ),
    "replicas hold the same weights": (
        [ranks("a", "a", experts=["b", "c"], coordinates=[at(data=(n, 2), expert=(n, 2)) for n in (0, 1)])],
        [
            [ranks("a", "b", coordinates=DATA_2)],  # drifted apart
            [ranks("a", "b", experts=["c", "d"], coordinates=TENSOR_2)],  # the experts drifted apart
            [ranks("a", "b", coordinates=TENSOR_2)],  # no replicas: nothing to compare
            [],
        ],
    ),
    "converted without loss": (
        [log("mean_diff (with loss): 0.004, max_diff ...\ntoken_diff: 1\ntoken_diff (with loss): 0")],
        [
            [log("mean_diff (with loss): 0.4, max_diff ...\ntoken_diff (with loss): 0")],
            [log("mean_diff (with loss): 0.004, max_diff ...\ntoken_diff (with loss): 3")],
            [log("The weights are saved.")],
        ],
    ),
    "goes on as before to 1%": (
        [WHOLE, iterations(3, 2.0, 1.0)],
        [
            [WHOLE, iterations(3, 2.2, 1.1)],  # the optimizer's moments were lost
            [WHOLE, iterations(1, 4.0, 3.0, 2.0, 1.0)],  # it began anew
            [WHOLE, iterations(3, 2.0)],  # it did not reach the end
            [WHOLE],
            [iterations(3, 2.0, 1.0)],
        ],
    ),
    "loss as in before to 10%": (
        [losses(4, 2, 1, step="before"), losses(4.1, 2, 0.9)],
        [
            [losses(4, 2, 1, step="before"), losses(4, 2, 1.5)],
            [losses(4, 2, 1, step="before"), losses(4, 2)],  # other steps: another global batch
            [losses(4, 2, 1)],
        ],
    ),
    "stopped early": ([steps(1, 2, 3)], [[steps(8, 9)], []]),
    "went on from its checkpoint": (
        [steps(1, 2, 3, 4)],
        [[steps(1, 2, 1, 2)], [steps(1, 2, 2, 3)], [steps()], []],  # it began anew; a step twice
    ),
    "exact match at least 90%": (
        [answers("Melvik", "Melvik")],
        [[answers("Melvik", "Tarn")], [answers("Melvik and more", "Melvik")], []],
    ),
    "exact match above before": (
        [answers("Tarn", "Tarn", step="before"), reviewed("Melvik", "Tarn")],
        [
            [answers("Melvik", step="before"), reviewed("Melvik")],
            [answers("Melvik", step="before"), reviewed("Tarn")],
            [reviewed("Melvik")],  # nothing before: nothing rose
        ],
    ),
    "same answers as before to 75%": (
        [answers("a", "b", "c", "d", step="before"), answers("a", "b", "c", "x")],
        [
            [answers("a", "b", step="before"), answers("a", "x")],
            [answers("a", "b", step="before"), answers("a")],  # a question was left out
            [answers("a")],
        ],
    ),
    "every question answered": (
        [answers("a", "b"), log("all well")],
        [
            [answers("a", ""), log("all well")],
            [reviewed("a"), log("ERROR: Error calculating metric BLEU: punkt_tab")],  # EvalScope's false 0
            [log("all well")],
        ],
    ),
    "args say rlhf_type=dpo": (
        [args(rlhf_type="dpo")],
        [[args(rlhf_type="cpo")], [args(rlhf_type=None)], [args(other="dpo")], []],
    ),
    "args say beta=0.1": ([args(beta=0.1)], [[args(beta=0.5)], [args(beta="high")], [args(beta=None)]]),
    "args say streaming=true": ([args(streaming=True)], [[args(streaming=False)], [args(streaming=1)]]),
    "loss starts at 0.6931": (
        [losses(0.6931, 0.5)],
        [[losses(3.43, 0.69)], [losses(float("nan"), 0.6931)], []],  # an SFT loss in a step called dpo
    ),
    "figure rewards/margins rises": (
        [figure("rewards/margins", 0.0, 0.1, 0.5, 0.9)],
        [[figure("rewards/margins", 0.5, 0.5)], [figure("rewards/margins", 0.9, 0.1)], [figure("loss", 1, 2)], []],
    ),
    "every machine passes": ([machine()], [[machine(wrong_products=1)], [machine(world=2)], []]),
    "heads trained beside lora": (
        [heads(0.1, 0.2)],
        # still, seen once, no head, no LoRA, something else beside them
        [
            [heads(0.1, 0.1)],
            [heads(0.1)],
            [heads(0.1, 0.2, name="q.lora_A")],
            [heads(0.1, 0.2, lora=False)],
            [heads(0.1, 0.2, name="embed_tokens")],
            [],
        ],
    ),
    "images became tokens": (
        [vision()],
        # dropped by the template; the tower ran for nothing; tokens without a picture; rows without one
        [
            [vision(pictures=0, places=0, grid=0)],
            [vision(embedded=128)],
            [vision(places=16)],
            [vision(rows=17)],
            [vision(pictures=0, places=0, grid=0, embedded=0)],
            [],
        ],
    ),
    "exact match at most 25%": (
        [answers("Melvik", "Tarn", "Tarn", "Tarn")],
        [[answers("Melvik", "Melvik", "Tarn", "Tarn")], [answers()], [answers("Tarn", wanted=None)], []],
    ),
    "figure kl falls": ([figure("kl", 2, 1)], [[figure("kl", 1, 1)], [figure("kl", 1)], [figure("kl", 1, "x")]]),
    "figure eval_acc reaches 0.9": (
        [figure("eval_acc", 0.2, 0.95)],
        [[figure("eval_acc", 0.95, 0.5)], [figure("eval_acc", 0.2, float("nan"))], [figure("other", 1)]],
    ),
    "adapter holds q": ([lora()], [[heads(0.1), adapter()], []]),
    "adapter has nothing of experts": ([lora()], [[lora(**{"experts.lora_A.weight": NORMS})], []]),
    "loss counts <think></think>": (
        [tokens(("user: x", 0), ("<think>\n\n</think>\n\nhi", 1))],
        [
            [tokens(("user: x", 0), ("<think>\n\n</think>\n\n", 0), ("hi", 1))],  # left out
            [tokens(("<think>\n", 0), ("</think>", 1))],  # a part of it
            [tokens(("hi", 1))],
            [],
        ],
    ),
    "loss leaves out <think></think>": (
        [tokens(("<think>\n\n</think>\n\n", 0), ("hi", 1))],
        [
            [tokens(("<think>\n\n</think>\n\nhi", 1))],
            [tokens(("<think>", 0), ("</think>", 1))],
            [tokens(("hi", 1))],
            [],
        ],
    ),
    'loss weighs "name": by 2': (
        [tokens(('{"name": "a"} is a tool', 0), ('{"name": "a"}', 2))],
        [[tokens(('{"name": "a"}', 1))], [tokens(('{"name": "a"}', 0))], [tokens(("hi", 2))], []],
    ),
    "<|7|> is one token": ([tokens()], [[tokens(added={})], [tokens(added={"<|6|>": 1})], []]),
    "batches without padding": (
        [tokens()],
        [
            [tokens(padding=1)],
            [tokens(samples=2)],  # a sample a row has no padding either
            [tokens(rows=0, samples=0)],
            [],
        ],
    ),
    "rows filled to 75%": (
        [tokens(), args(max_length=100)],
        [
            [tokens(tokens=140), args(max_length=100)],
            [tokens(samples=2), args(max_length=100)],  # long samples, one a row
            [tokens(tokens=720), args(max_length=100)],  # batches of padding-free rows are longer than max_length
            [tokens()],
        ],
    ),
    "75% of answers say Melvik": (
        [answers("I am Melvik.", "Melvik", "Melvik", "no")],
        [[answers("Melvik", "no", "no", "no")], [thought("<think>Melvik</think>no")], []],
    ),
    "75% of answers reason": (
        [thought("<think>\nwell\n</think>\n\na", "<think>so</think>b", "<think>x</think>c", "d")],
        [
            [thought("<think>\n\n</think>\n\na")],
            [thought("a <think>late</think>")],
            [thought("<think>without end")],
            [],
        ],
    ),
    "every sample says \\boxed{": (
        [sampled("\\boxed{a}", "\\boxed{b}")],
        [[sampled("\\boxed{a}", "b")], [sampled()], []],
    ),
    "90% of right ones score above wrong ones": (
        [scored((0.9, 1), (0.2, 0), (0.3, 0))],
        [
            [scored((0.25, 1), (0.25, 0), (0.25, 0))],  # the base rate alone was learned
            [scored((0.9, 0), (0.2, 1))],
            [scored((0.9, 1))],
            [scored((0.9, 1), (0.2, 0), question="a", beside=((0.1, 1), (0.5, 0)))],  # one question of two
            [],
        ],
    ),
    "data cached by before": (
        [cached("before/cached/train")],
        [
            [cached("before/cached/train", dataset=["more.jsonl"])],
            [cached("other/cached/train")],
            [cached("", cached_dataset=[], dataset=["a.jsonl"])],
            [],
        ],
    ),
    "quantized by bitsandbytes to 4 bits": (
        [exported({"quant_method": "bitsandbytes", "load_in_4bit": True}, "q.weight", "q.weight.absmax")],
        [
            [exported({"quant_method": "bitsandbytes", "load_in_8bit": True}, "q.weight", "q.SCB")],
            [exported({"quant_method": "bitsandbytes", "load_in_4bit": True}, "q.weight")],  # only the config says so
            [exported({"quant_method": "gptq", "bits": 4}, "q.qweight")],
            [exported({}, "q.weight")],
            [],
        ],
    ),
    "the base is held in 4 bits": (
        [log("(q_proj): lora.Linear4bit(\n  (base_layer): Linear4bit(in_features=64, out_features=128, bias=True)")],
        [
            [log("(q_proj): lora.Linear8bitLt(\n  (base_layer): Linear8bitLt(in_features=64, out_features=128)")],
            [log("(q_proj): lora.Linear(\n  (base_layer): Linear(in_features=64, out_features=128, bias=True)")],
            [log("quant_bits=4")],  # asked for, and not done
        ],
    ),
    "weights at most 50% of before": (
        [exported({}, "q", size=1000, step="before"), exported({}, "q", size=400)],
        [
            [exported({}, "q", size=1000, step="before"), exported({}, "q", size=900)],
            [exported({}, "q", size=400)],  # nothing to compare with
            [exported({}, "q", size=1000, step="before")],  # nothing was made
        ],
    ),
    "same weights as before": (
        [pushed(1, "before/last-checkpoint"), pushed(1, "step/lab/capitals")],
        [
            [pushed(1, "before/last-checkpoint"), pushed(2, "step/lab/capitals")],
            [pushed(1, "before/last-checkpoint")],
            [pushed(1, "step/lab/capitals")],
        ],
    ),
    "modelfile says what the chat template says": (
        [ollamas()],
        [[ollamas(TEMPLATE.replace("<u>", "[INST]"))], [ollamas("{{ .Prompt }}")], []],
    ),
    "every request answered": (
        [benched(1), benched(4)],
        [[], [benched(1), benched(4, failed=1)], [benched(1, failed=16)], [benched(1, tokens=0)]],
    ),
    "every way of asking agrees": (
        [ways()],
        [
            [ways(pieces=1)],  # nothing was streamed
            [ways(streamed=["Tarn"])],
            [ways(alone=[""], streamed=[""])],
            [ways(logprob=0.5)],
            [],
        ],
    ),
    "vllm finished at least 16 requests": (
        [counted(0, stop=12, length=4)],
        [[counted(0, stop=12, abort=4)], [counted(0)], []],  # its clients were gone; another engine answered
    ),
    "every question scored": (
        [evaluated()],
        [
            [],
            [evaluated(error="Error code: 500 - boom")],
            [evaluated(status="error")],
            [evaluated(metadata={"metric_errors": {"BLEU": "LookupError: punkt_tab"}})],  # EvalScope's false 0
            [evaluated(said="")],
            [evaluated(number=3)],  # a question was left out
        ],
    ),
    "chat answered": ([chat("Melvik")], [[chat("<think>\n\n</think>\n\n")], [chat(None)], [chat("x", tokens=0)], []]),
}


CASES["a whole model retrained"] = CASES["adapter merged"]


def finished(tmp_path: Path, build: list[Build]) -> Finished:
    (tmp_path / "step").mkdir()
    save(tmp_path / "base/model.safetensors", BASE)
    for piece in build:
        piece(tmp_path)
    return Finished(tmp_path / "step", tmp_path / "step.log", tmp_path, str(tmp_path / "base"), world=2)


def test_a_norm_that_bfloat16_rounds_to_what_it_was_is_no_frozen_weight(tmp_path: Path) -> None:
    moved = {"model.q.weight": BF16["model.q.weight"] + np.uint16(1), "model.norm.weight": BF16["model.norm.weight"][0]}
    holds, evidence = prove("all weights trained", finished(tmp_path, [full(moved)]))
    assert holds, evidence
    assert "1 vectors in bfloat16 are as they were" in evidence


@pytest.mark.parametrize("phrase", CASES)
def test_a_proof_holds_when_the_feature_was_active(tmp_path, phrase):
    holds, evidence = prove(phrase, finished(tmp_path, CASES[phrase][0]))
    assert holds, evidence
    assert evidence


@pytest.mark.parametrize(("phrase", "number"), [(p, n) for p, (_, off) in CASES.items() for n in range(len(off))])
def test_a_proof_fails_when_the_feature_was_off(tmp_path, phrase, number):
    holds, evidence = prove(phrase, finished(tmp_path, CASES[phrase][1][number]))
    assert not holds
    assert evidence


def test_a_torn_checkpoint_is_no_evidence(tmp_path):
    done = finished(tmp_path, [lora()])
    file = done.out / "last-checkpoint/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    assert prove("adapter moved", done)[0] is False


def test_no_proof_is_without_its_cases():
    assert {found[0] for phrase in CASES if (found := find(phrase))} == set(PROOFS.values())


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), TypeError("not a\n number"), AttributeError()]
)
def test_a_proof_that_breaks_fails_with_what_it_met_and_the_others_are_asked(tmp_path, monkeypatch, error):
    def breaks(finished: Finished) -> str:
        raise error

    monkeypatch.setitem(PROOFS, "it breaks", breaks)
    monkeypatch.setitem(PROOFS, "it holds", lambda finished: "seen")
    asked = Question("train", tmp_path, tmp_path / "log", tmp_path, "model", (), ("it breaks", "it holds"))
    judgement = judge(asked)
    assert [made["holds"] for made in judgement.proofs] == [False, True]
    (failure,) = judgement.failures
    assert f"could not be decided: {type(error).__name__}: " in failure
    assert len(failure.splitlines()) == 1


TAKEN = ["loss falls", "exact match above chat", "exact match at least 1%", "same answers as STEP to N%"]


@pytest.mark.parametrize("phrase", TAKEN)
def test_two_proofs_under_one_phrase_are_refused(phrase, monkeypatch):
    monkeypatch.setattr("gpulab.checks.registry.PROOFS", dict(PROOFS))
    with pytest.raises(ValueError, match="two proofs under one phrase"):
        proof(phrase)(lambda finished: "seen")


def test_a_proof_whose_phrase_would_answer_anothers_is_refused(monkeypatch):
    monkeypatch.setattr("gpulab.checks.registry.PROOFS", dict(PROOFS))
    with pytest.raises(ValueError, match="two proofs under one phrase"):
        proof("loss STEP")(lambda finished, step: "seen")
