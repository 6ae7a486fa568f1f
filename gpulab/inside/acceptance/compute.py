"""One device alone: its memory, its copies to and from the host, its arithmetic."""

from __future__ import annotations

import time
from typing import Any

import torch

from gpulab.inside.acceptance.timing import seconds, wait

GIB = 2**30


def size(device: torch.device) -> tuple[int, int, torch.dtype]:
    """(bytes of a copy, rows of a square matrix, its type): large enough to keep the device busy."""
    return (GIB, 8192, torch.bfloat16) if device.type == "cuda" else (GIB // 8, 1024, torch.float32)


def memory(device: torch.device) -> float:
    """Bandwidth of the device's memory in GB/s: a copy reads and writes."""
    count, _, _ = size(device)
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / seconds(lambda: target.copy_(source), device) / 1e9


def copies(device: torch.device) -> dict[str, float]:
    """Host to device and back in GB/s, from pinned memory; nothing where the device is the host."""
    if device.type != "cuda":
        return {}
    count, _, _ = size(device)
    host = torch.ones(count, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(host, device=device)
    up = seconds(lambda: there.copy_(host, non_blocking=True), device)
    down = seconds(lambda: host.copy_(there, non_blocking=True), device)
    return {"h2d_gbs": count / up / 1e9, "d2h_gbs": count / down / 1e9}


def burn_in(device: torch.device, last: float) -> dict[str, Any]:
    """Matrix products for `last` seconds, the same again and again: TFLOP/s of the whole, of the slowest and of the
    fastest part, and how many products differed from the first: arithmetic that is sound gives the same bits."""
    _, rows, kind = size(device)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(rows, rows, generator=generator).to(device, kind) for _ in range(2))
    first = left @ right
    wait(device)
    rates: list[float] = []
    repeats, differ = 20, 0
    begun = time.perf_counter()
    while not rates or time.perf_counter() - begun < last:
        start = time.perf_counter()
        for _ in range(repeats):
            product = left @ right
        wait(device)
        rates.append(2 * rows**3 * repeats / (time.perf_counter() - start) / 1e12)
        differ += not torch.equal(product, first)
    middle = sorted(rates)[len(rates) // 2]
    return {
        "matmul_tflops": middle, "slowest_tflops": min(rates), "fastest_tflops": max(rates), "parts": len(rates),
        "wrong_products": differ, "seconds": time.perf_counter() - begun,
    }  # fmt: skip
