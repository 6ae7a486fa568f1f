"""`proves`: was the feature active? A proof is a phrase of lab.yaml and a look at evidence, never an exit code."""

from gpulab.checks import (
    acceptance,
    answers,
    exports,
    figures,
    heads,
    pictures,
    ranks,
    served,
    settings,
    tokens,
    training,
)
from gpulab.checks.registry import PROOFS, Finished, find, prove

__all__ = [
    "PROOFS",
    "Finished",
    "acceptance",
    "answers",
    "exports",
    "figures",
    "find",
    "heads",
    "pictures",
    "prove",
    "ranks",
    "served",
    "settings",
    "tokens",
    "training",
]
