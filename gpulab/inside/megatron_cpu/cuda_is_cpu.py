"""CUDA means the CPU: what Megatron-Core asks of a GPU, answered by the CPU. Collectives stay its own, over gloo."""

from __future__ import annotations

import contextlib
import os
import sys
import types
from importlib.metadata import version
from typing import Any

TRIED = "0.18.0"  # megatron-core's; another one may ask for what is not here
ALLOWED = "GPULAB_MEGATRON_CPU"  # set by a rehearsal


def pretend() -> None:
    """Make it so in this process. Ends the process where that would be wrong."""
    import torch

    if os.environ.get(ALLOWED) != "rehearsal":
        sys.exit(f"Megatron on a CPU is for rehearsals alone: {ALLOWED} is not set")
    if torch.cuda.is_available():
        sys.exit("Megatron on a CPU: this process sees a GPU, and a rehearsal must not; set CUDA_VISIBLE_DEVICES=")
    if (found := version("megatron-core")) != TRIED:
        sys.exit(f"Megatron on a CPU was tried with megatron-core {TRIED}, here is {found}: pin that in the stack")
    _answer_for_cuda(torch)
    _on_the_cpu(torch)
    print(
        f"Megatron-Core {found} rehearsed on the CPU: TransformerEngine's layers in plain PyTorch, no CUDA kernels",
        file=sys.stderr,
    )


class Nothing:
    """A stream or an event: everything is done when it is asked for."""

    cuda_stream = 0
    device = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *args: Any) -> None: ...

    def query(self) -> bool:
        """Whether it is done."""
        return True

    def elapsed_time(self, other: Any) -> float:
        """No time is measured."""
        return 0.0

    def _nothing(self, *args: Any, **kwargs: Any) -> None: ...

    def record_event(self, *args: Any) -> Nothing:
        """An event that is past."""
        return Nothing()

    record = wait = synchronize = wait_stream = wait_event = _nothing


def _answer_for_cuda(torch: Any) -> None:
    """torch.cuda's functions: one device, no memory, nothing to wait for, and the CPU's random numbers."""
    cuda = torch.cuda
    for name in ("set_device", "synchronize", "empty_cache", "reset_peak_memory_stats", "ipc_collect", "init"):
        setattr(cuda, name, lambda *args, **kwargs: None)
    for name in ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved"):
        setattr(cuda, name, lambda *args, **kwargs: 0)
    cuda.memory_stats = lambda *args, **kwargs: {}
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda *args: (8, 0)
    cuda.get_device_name = lambda *args: "CPU"
    properties = types.SimpleNamespace(name="CPU", major=8, minor=0, total_memory=2**40, multi_processor_count=1)
    cuda.get_device_properties = lambda *args: properties
    cuda.Stream = cuda.Event = Nothing
    cuda.stream = cuda.device = lambda *args, **kwargs: contextlib.nullcontext()
    cuda.current_stream = cuda.default_stream = lambda *args, **kwargs: Nothing()
    for place in (cuda, cuda.random):
        place.get_rng_state = lambda *args, **kwargs: torch.get_rng_state()
        place.set_rng_state = lambda state, *args, **kwargs: torch.set_rng_state(state)
    cuda.manual_seed = cuda.manual_seed_all = torch.default_generator.manual_seed
    cuda.default_generators = (torch.default_generator,)
    cuda._lazy_init = lambda: None
    cuda._lazy_call = lambda call, **kwargs: call()
    cuda.nvtx = types.SimpleNamespace(
        range_push=lambda *a: None, range_pop=lambda *a: None, range=lambda *a, **k: contextlib.nullcontext()
    )


def _on_the_cpu(torch: Any) -> None:
    """Every function of torch that is told a device is told the CPU instead."""
    import torch.distributed as dist
    from torch.overrides import TorchFunctionMode

    def device(value: Any) -> Any:
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int) or (isinstance(value, (str, torch.device)) and str(value).startswith("cuda")):
            return torch.device("cpu")
        return value

    class OnTheCpu(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if function is torch.Tensor.cuda:
                return args[0]
            if function is torch.Tensor.pin_memory:
                return args[0]
            if function is torch.Tensor.type and len(args) == 1 and not kwargs:
                return function(args[0]).replace("torch.", "torch.cuda.")
            if function is torch.Tensor.to:
                args = tuple(a if isinstance(a, bool) else device(a) for a in args)
            if "device" in kwargs:
                kwargs = {**kwargs, "device": device(kwargs["device"])}
            if kwargs.get("pin_memory"):
                kwargs = {**kwargs, "pin_memory": False}
            return function(*args, **kwargs)

    mode = OnTheCpu()
    mode.__enter__()
    engine = torch.autograd._engine_run_backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        """What torch.autograd.backward calls: itself a call that a mode sees, and that goes on without the mode."""
        with mode:
            return engine(*args, **kwargs)

    torch.autograd._engine_run_backward = backward
    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, "map_location": "cpu"})
    to_all = dist.all_to_all_single

    def all_to_all(
        output: Any, given: Any, output_split_sizes: Any = None, input_split_sizes: Any = None, *args: Any, **more: Any
    ) -> Any:
        sizes = [s.tolist() if isinstance(s, torch.Tensor) else s for s in (output_split_sizes, input_split_sizes)]
        return to_all(output, given, *sizes, *args, **more)

    dist.all_to_all_single = all_to_all
    gather = dist.all_gather_into_tensor  # gloo wants a number as a list of one
    dist.all_gather_into_tensor = lambda output_tensor, input_tensor, *args, **kwargs: gather(
        output_tensor, input_tensor if input_tensor.dim() else input_tensor.view(1), *args, **kwargs
    )
    init = dist.init_process_group
    dist.init_process_group = lambda *args, **kwargs: init(
        *args, **{k: v for k, v in kwargs.items() if k != "device_id"}
    )
