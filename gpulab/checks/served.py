"""Proofs about a served model and its clients."""

from __future__ import annotations

import json
import re

from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.benched import levels


@proof("every request answered")
def all_requests_answered(finished: Finished) -> str:
    """A load test's figures are of all its requests: of a server that refuses half of them they say nothing."""
    measured = levels(finished.out)
    failed = {concurrency: level for concurrency, level in measured.items() if level["failed"] or not level["requests"]}
    if failed or not measured:
        told = [f"{one['failed']:g} of {one['requests']:g} failed at {number}" for number, one in failed.items()]
        raise Unproven("; ".join(told) or "nothing was measured")
    silent = [concurrency for concurrency, level in measured.items() if not level["tokens/s"]]
    if silent:
        raise Unproven(f"no token came back at {', '.join(silent)}")
    return ", ".join(f"{level['requests']:g} at {concurrency}" for concurrency, level in measured.items())


@proof("every way of asking agrees")
def ways_agree(finished: Finished) -> str:
    """ways.json: each question has one answer however it is asked for; streams came in pieces, tokens have logprobs.

    A busy server may send a short answer in one piece (vLLM joins tokens that were not yet sent), so not all count.
    """
    said = json.loads((finished.out / "ways.json").read_text(encoding="utf-8"))
    answers = said["answers"]
    alone = answers.pop("alone")
    if not alone or not all(alone):
        raise Unproven(f"{sum(not text for text in alone)} of {len(alone)} answers are empty")
    for way, texts in answers.items():
        if texts != alone:
            raise Unproven(f"{sum(a != b for a, b in zip(texts, alone, strict=False))} answers differ {way}")
    whole = [count for count in said["pieces"] if count < 2]
    if not said["pieces"] or 2 * len(whole) > len(said["pieces"]):
        raise Unproven(f"{len(whole)} of {len(said['pieces'])} streamed answers came in one piece")
    logprobs = [value for values in said["logprobs"] for value in values]
    if not all(said["logprobs"]) or not all(value <= 0 for value in logprobs):
        raise Unproven("not every answer has logprobs")
    return (
        f"{len(alone)} answers agree asked {', '.join(['alone', *answers])}; "
        f"{sum(said['pieces'])} pieces, {len(logprobs)} logprobs"
    )


@proof("NUMBER rough clients change nothing")
def outlives_rough_clients(finished: Finished, number: float) -> str:
    """rough.json: wrong requests are refused as the client's fault, a crowd is answered whole, the answers stay."""
    said = json.loads((finished.out / "rough.json").read_text(encoding="utf-8"))
    for name, one in said["refused"].items():
        if not 400 <= one["status"] < 500:
            raise Unproven(f"{name}: status {one['status']}")
    unanswered = [name for name, status in said["taken"].items() if status != 200]
    if unanswered or not all(line.endswith(" 200 OK") for line in said["left"]):
        raise Unproven(f"not answered: {', '.join(unanswered) or 'a client who left'}")
    crowd = said["crowd"]
    if set(crowd) - {"200", "429", "503"} or sum(crowd.values()) < number:  # the latter two: come again later
        told = ", ".join(f"{count} x {status}" for status, count in crowd.items()) or "nobody"
        raise Unproven(f"asked at once: {told}; {number:g} are to be answered")
    if not said["before"] or said["after"] != said["before"]:
        raise Unproven(f"the same question before: {said['before']!r}, after: {said['after']!r}")
    answered = crowd.get("200", 0)
    return f"{len(said['refused'])} refused, {answered} of {sum(crowd.values())} answered in {said['crowd seconds']} s"


@proof("vllm finished at least NUMBER requests")
def vllm_finished(finished: Finished, number: float) -> str:
    """vLLM's own counters of this step, by rank: another engine that answers leaves them at nothing."""
    files = sorted((finished.out / "vllm").glob("*.prom"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    ended = re.findall(r'^vllm:request_success_total{.*finished_reason="(stop|length)".*} (\S+)$', text, re.MULTILINE)
    count = sum(float(value) for _, value in ended)
    if count < number or not ended:
        raise Unproven(f"vLLM finished {count:g} requests")
    return f"vLLM finished {count:g} requests"
