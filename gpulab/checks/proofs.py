"""`proves`: was the feature active? A proof is a phrase of lab.yaml and a look at evidence, never an exit code."""

from gpulab.checks import acceptance, answers, figures, heads, pictures, ranks, settings, tokens, training
from gpulab.checks.registry import PROOFS, Finished, find, prove

__all__ = [
    "PROOFS",
    "Finished",
    "acceptance",
    "answers",
    "figures",
    "find",
    "heads",
    "pictures",
    "prove",
    "ranks",
    "settings",
    "tokens",
    "training",
]
