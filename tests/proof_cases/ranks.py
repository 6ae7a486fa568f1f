"""Cases of gpulab/checks/ranks.py: a run in which the feature was active, and runs in which it was off."""

from __future__ import annotations

from tests.finished_runs import DATA_2, TENSOR_2, args, asked, at, log, ranks
from tests.proof_cases import Cases

CASES: Cases = {
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
    "data parallel by FullyShardedDataParallel": (
        [ranks(None, None, data_parallel=["FullyShardedDataParallel"] * 2)],
        [
            [ranks("a", "a", data_parallel=["DistributedDataParallel"] * 2)],  # the flag was off
            [ranks(None, data_parallel=["FullyShardedDataParallel"])],  # a rank is missing
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
}
