"""The stand-in for TransformerEngine: layouts on a CPU train as one process does, and a mistake in one shows."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from gpulab.common.paths import LABS, ROOT
from gpulab.inside.layout import AXES, Layout
from gpulab.lab.lab import find_lab
from gpulab.plan.layout.memory import GIB, megatron_memory
from gpulab.plan.layout.shape import find_shape
from gpulab.plan.layout.training import Training
from gpulab.plan.make import plan
from gpulab.plan.plan import PlanSpec
from gpulab.stacks.stack import load_stack
from tests.labs.megatron.agreement import WITHIN, disagreement

pytestmark = pytest.mark.rehearsal

DATA = LABS / "common/data/capitals.jsonl"
ALIKE = [
    "data", "tensor", "tensor and sequence", "pipeline", "sharded", "context", "experts", "experts and tensor",
    "latent in halves",
]  # fmt: skip
WRONG = [
    "no dgrad all-reduce",
    "no row reduction",
    "wrong context positions",
    "no all-reduce of tied embeddings",
    "experts swapped",
    "experts trained apart",  # Megatron-Core's own: the planner refuses the layout until upstream mends it
]
PLAIN = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tok = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
total = count = 0
for line in open(sys.argv[2]):
    asked, answered = (m["content"] for m in json.loads(line)["messages"][-2:])
    head = f"<|im_start|>user\\n{asked}<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n"
    given, said = tok(head)["input_ids"], tok(answered + "<|im_end|>\\n")["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([given + said])).logits[0, len(given) - 1 : -1].float()
    total += torch.nn.functional.cross_entropy(logits, torch.tensor(said), reduction="sum").item()
    count += len(said)
print(total / count)
"""


@pytest.fixture(scope="module")
def planned():
    """The lab's rehearsal; its stack is made where it is missing."""
    stack = load_stack("megatron-cpu")
    stack.ensure()
    return plan(PlanSpec(lab=find_lab("train/megatron"), profile="cpu", stack=stack), Path("runs"))


@pytest.fixture(scope="module")
def environment(planned):
    """What a rehearsal's commands in the stack get."""
    return {**os.environ, **planned.command("single").env, "PATH": f"{planned.stack.bin}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def twin(planned, environment):
    """The lab's twin."""
    command = planned.command("twin")
    subprocess.run(command.argv, cwd=command.cwd, env={**environment, **command.env}, check=True, timeout=600)
    return planned.model


TWINS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from gpulab.inside.twins.make import make
for family, folder in zip(sys.argv[3::2], sys.argv[4::2]):
    make(family, Path(folder), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def mixtures(environment, tmp_path_factory):
    """Two twins, which the lab has not: both by one process, for its imports take longer."""
    made = tmp_path_factory.mktemp("twins")
    folders = {"qwen3_moe": made / "Qwen3-30B-A3B", "deepseek_v3": made / "DeepSeek-V3"}
    words = [str(word) for family in folders.items() for word in family]
    subprocess.run(["python", "-c", TWINS, ROOT, DATA, *words], env=environment, check=True, timeout=600)
    return folders


@pytest.fixture(scope="module")
def experts(mixtures):
    """A twin with experts."""
    return mixtures["qwen3_moe"]


@pytest.fixture(scope="module")
def latent(mixtures):
    """A twin with latent attention, its first layer without experts."""
    return mixtures["deepseek_v3"]


@pytest.fixture(scope="module")
def trained(environment, twin, experts, latent, tmp_path_factory):
    """The folder of all trainings."""
    out = tmp_path_factory.mktemp("trainings")
    script = Path(__file__).parent / "trainings.py"
    line = ["python", script, twin, experts, latent, DATA, out]
    subprocess.run(line, env=environment, check=True, timeout=900, cwd=out)
    return out


@pytest.fixture(scope="module")
def losses(trained):
    """The losses of each training, or why it failed."""
    return json.loads((trained / "losses.json").read_text())


def furthest(losses, name):
    """The largest relative difference of a loss from that of one process."""
    kind = name.split()[0]
    one, other = losses.get(f"{kind}, single", losses["single"]), losses[name]
    assert isinstance(one, list) and isinstance(other, list), one if isinstance(one, str) else other
    assert len(one) == len(other) == 12
    return max(abs(a - b) / a for a, b in zip(one, other, strict=True))


def test_one_process_computes_what_transformers_computes(losses, twin, environment):
    said = subprocess.run(
        ["python", "-c", PLAIN, twin, str(DATA)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    still = losses["still"]
    assert isinstance(still, list), still
    assert sum(still) / len(still) == pytest.approx(float(said.stdout), rel=2e-2)


@pytest.mark.parametrize("layout", ALIKE)
def test_a_layout_trains_as_one_process(losses, layout):
    assert furthest(losses, layout) < WITHIN


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_in_a_layout_shows_in_the_losses(losses, mistake):
    assert furthest(losses, mistake) > 2 * WITHIN


TRIED = {
    2: ["x".join(sizes) for sizes in itertools.product("12", repeat=len(AXES))],  # all that there are
    3: ["1x1x3x1"],
    4: ["2x2x1x2", "2x1x1x4", "1x2x2x1"],
}


@pytest.mark.parametrize(("ranks", "layout"), [(ranks, layout) for ranks, some in TRIED.items() for layout in some])
def test_the_planner_allows_what_megatron_trains_as_one_process_and_nothing_else(losses, experts, ranks, layout):
    said, one = (losses[f"{count} ranks, {sizes}"] for count, sizes in ((ranks, layout), (1, "1x1x1x1")))
    assert disagreement(find_shape(str(experts)), ranks, layout, said, one) is None


def held_by(trained, name):
    """What each rank of a training said of itself."""
    folder = trained / name.replace(" ", "-") / "ranks"
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def test_megatron_fsdp_shares_out_what_data_parallelism_keeps_whole(trained, losses):
    plain, parts = (held_by(trained, name) for name in ("data", "sharded"))
    assert losses["sharded"] == pytest.approx(losses["data"], rel=5e-5)  # sums in another order; 1.1e-5 was seen
    assert [{rank["data_parallel"] for rank in said} for said in (plain, parts)] == [
        {"DistributedDataParallel"}, {"FullyShardedDataParallel"},
    ]  # fmt: skip
    assert sum(rank["moments"] for rank in parts) == plain[0]["parameters"]


def test_muon_updates_the_matrices_and_adam_the_rest(trained, losses):
    assert isinstance(losses["muon"], list), losses["muon"]
    assert losses["muon"][1] < losses["muon"][0]
    for rank in held_by(trained, "muon"):
        assert rank["optimizer"] == "TensorParallelMuon"
        assert 0 < rank["moments"] < rank["parameters"] / 2  # of the vocabulary's half, and of norms


# Of each training the layout, and what more of it the planner is told.
HELD = {
    "single": ({}, {}),
    "data": ({}, {}),
    "tensor": ({"tensor": 2}, {}),
    "pipeline": ({"pipeline": 2}, {}),
    "context": ({"context": 2}, {}),
    "experts, single": ({}, {}),
    "experts": ({"expert": 2}, {}),
    "experts and tensor": ({"tensor": 2, "expert": 2}, {}),
    "latent, single": ({}, {}),
    "latent in halves": ({"tensor": 2, "expert": 2}, {}),
    "preferences": ({"tensor": 2}, {"command": "rlhf", "rlhf": "dpo"}),
    "classes": ({"pipeline": 2}, {"headed": True}),
}


def held(trained, models, name, layout, more):
    """What the planner says of the fullest rank, and what each rank said of itself."""
    said = held_by(trained, name)
    shape = find_shape(str(models.get(name.split()[0].strip(","), models["twin"])))
    training = Training(**{"command": "sft", "megatron": True, "batch": 8, **more})
    return megatron_memory(shape, training, Layout(1, len(said), **layout)), said


@pytest.fixture(scope="module")
def models(twin, experts, latent):
    """By the first word of what is trained."""
    return {"twin": twin, "experts": experts, "latent": latent}


@pytest.mark.parametrize("name", HELD)
def test_the_planner_counts_the_parameters_and_moments_that_a_rank_holds(trained, models, name):
    planned, said = held(trained, models, name, *HELD[name])
    assert max(rank["parameters"] for rank in said) == pytest.approx(planned.gradients * GIB / 4, rel=0.01)
    assert max(rank["moments"] for rank in said) == pytest.approx(planned.optimizer * GIB / 12, rel=0.02)


ADAPTER = ({"tensor": 2}, {"command": "rlhf", "rlhf": "dpo", "full": False})


@pytest.mark.parametrize("name", [*HELD, "preferences, an adapter"])
def test_the_planner_counts_the_weights_of_a_reference_where_a_rank_holds_one(trained, models, name):
    planned, said = held(trained, models, name, *HELD.get(name, ADAPTER))
    most = max(rank["parameters"] + rank["reference"] for rank in said)
    assert most == pytest.approx(planned.weights * GIB / 2, rel=0.01)
    assert any(rank["reference"] for rank in said) == (name == "preferences")


def test_a_model_of_transformers_is_made_beside_one_of_megatrons(environment, twin):
    """With mcore-bridge's own function in transformers' table it can't be: `megatron export` needs the patch."""
    made = """
import sys
from types import SimpleNamespace
import rope_of_transformers
from mcore_bridge.model.rope import get_rope_inv_freq
from transformers import AutoModelForCausalLM
before = AutoModelForCausalLM.from_pretrained(sys.argv[1]).model.rotary_emb.inv_freq
get_rope_inv_freq(SimpleNamespace(rope_scaling=None), text_config=SimpleNamespace(rope_theta=1e4, head_dim=32))
after = AutoModelForCausalLM.from_pretrained(sys.argv[1]).model.rotary_emb.inv_freq
print("alike", bool((before == after).all()))
"""
    env = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{ROOT / 'gpulab/inside'}"}
    done = subprocess.run(["python", "-c", made, twin], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["alike", "True"], done.stderr[-2000:]


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("pytorch.fp8_autocast(enabled=True).__enter__()", "no fp8"),
        ("pytorch.DotProductAttention(4, 16, window_size=(8, 0))", "no sliding window attention"),
        ("common.recipe.DelayedScaling()", "no fp8"),
    ],
)
def test_what_it_has_not_is_refused_by_name(environment, code, named):
    line = f"from transformer_engine import common, pytorch; {code}"
    done = subprocess.run(["python", "-c", line], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode
    assert named in done.stderr
    assert "TransformerEngine's layers in plain PyTorch" in done.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"GPULAB_MEGATRON_CPU": ""}, "is for rehearsals alone"),
        ({"PRETEND": "import importlib.metadata as m; m.version = lambda name: '0.19.0'"}, "here is 0.19.0"),
        ({"PRETEND": "import torch; torch.cuda.is_available = lambda: True"}, "sees a GPU"),
    ],
)
def test_it_is_for_rehearsals_on_a_cpu_with_the_version_that_was_tried(environment, change, named):
    line = "import os; exec(os.environ.get('PRETEND', '')); import megatron.core"
    env = {**environment, **change}
    done = subprocess.run(["python", "-c", line], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert named in done.stderr
