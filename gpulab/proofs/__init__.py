"""`proves`: was the feature active? A proof is a phrase of lab.yaml and a look at evidence, never an exit code."""

from gpulab.proofs import answers, ranks, training
from gpulab.proofs.phrases import PROOFS, Finished, check_phrase, find, prove

__all__ = ["PROOFS", "Finished", "answers", "check_phrase", "find", "prove", "ranks", "training"]
