"""A trace of one process: which functions of ms-swift and its neighbours ran, who called them, how long they took.

FOLDER/<pid>.jsonl gets a line at once for whatever is new, so that a server which is killed has left its lines:

- the process itself: `process`, `parent`, `began` (seconds of the clock)
- a function under the caller it was first called by: `id`, `by` (the caller's id, 0 for none), `name`, `file` (below
  site-packages), `line`, `at` (seconds since `began`)
- `times`: by id how often it was called and how many seconds that took in all; the last such line counts. What waits in
  the middle (async, generators) counts each time that it goes on
- an argument class, when the first of its kind is made: `class`, `fields` (by name: where each is defined)
- a field that was read: `read`, `file`, `line`, `in`; the first time at all, and the first time outside of the
  arguments' own code (`outside`)

What runs while a module is imported is left out: registrations are not the way of a command. Nor is it watched, which
would cost more than all the rest.
"""

from __future__ import annotations

import ast
import atexit
import importlib
import inspect
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

# Below site-packages; of the neighbours what ms-swift's main line goes through.
FOLDERS = (
    "swift/", "transformers/trainer", "transformers/generation/utils.py", "transformers/modeling_utils.py",
    "peft/peft_model.py", "peft/mapping", "peft/tuners/lora/model.py", "trl/trainer/", "megatron/core/",
    "megatron/training/", "mcore_bridge/", "accelerate/accelerator.py", "accelerate/utils/deepspeed.py",
    "accelerate/utils/fsdp_utils.py", "deepspeed/runtime/engine.py", "deepspeed/runtime/zero/stage",
    "torch/nn/parallel/distributed.py",
)  # fmt: skip
# What wraps nearly every function, and says nothing.
ASIDE = ("swift/ray_utils/", "swift/utils/logger.py", "swift/utils/import_utils.py")
ARGUMENTS = ("swift/arguments/", "swift/megatron/arguments/", "swift/trainers/arguments.py",
             "swift/rlhf_trainers/arguments.py", "swift/rlhf_trainers/args_mixin.py")  # fmt: skip
DEEPEST = 40
EVERY = 1.0  # seconds between two lines of times


class Node:
    """A function under one caller."""

    __slots__ = ("below", "calls", "number", "seconds")

    def __init__(self, number: int) -> None:
        self.number = number
        self.below: dict[CodeType, Node] = {}
        self.calls = 0
        self.seconds = 0.0


class Tracer:
    """Writes the trace of this process and its threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8", buffering=1)
        self._began = time.perf_counter()
        self._told = self._began
        self._nodes = [Node(0)]
        self._where: dict[CodeType, str | None] = {}
        self._local = threading.local()
        self._home = str(Path.cwd()) + os.sep
        self._seen: set[type] = set()
        self._reads: set[tuple[str, bool]] = set()
        self._write({"process": os.getpid(), "parent": os.getppid(), "began": time.time()})

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")

    def path_of(self, code: CodeType) -> str | None:
        """The file of a function that is traced, below site-packages or the lab's folder; None of any other."""
        name = code.co_filename
        if code.co_name.startswith("<"):
            return None
        _, _, below = name.rpartition("site-packages/")
        if below.startswith(FOLDERS):
            return None if below.startswith(ASIDE) else below
        return name[len(self._home) :] if name.startswith(self._home) else None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """See sys.setprofile."""
        if event == "call":
            code = frame.f_code
            try:
                path = self._where[code]
            except KeyError:
                path = self._where[code] = self.path_of(code)
            if path is not None:
                self._enter(frame, code, path)
        elif event == "return" and self._where.get(frame.f_code) is not None:
            self._leave(frame)

    def _enter(self, frame: FrameType, code: CodeType, path: str) -> None:
        try:
            stack = self._local.stack
        except AttributeError:
            stack = self._local.stack = []
        above: Node = stack[-1][0] if stack else self._nodes[0]
        node = above.below.get(code)
        if node is None:
            node = above if len(stack) >= DEEPEST else self._new(frame, code, path, above)
        stack.append((node, frame, time.perf_counter()))

    def _new(self, frame: FrameType, code: CodeType, path: str, above: Node) -> Node:
        node = above.below[code] = Node(len(self._nodes))
        self._nodes.append(node)
        name = getattr(code, "co_qualname", code.co_name)
        at = round(time.perf_counter() - self._began, 4)
        self._write({"id": node.number, "by": above.number, "name": name, "file": path, "line": code.co_firstlineno,
                     "at": at})  # fmt: skip
        if code.co_name == "__post_init__":
            self._watch(type(frame.f_locals["self"]))
        return node

    def _leave(self, frame: FrameType) -> None:
        stack = getattr(self._local, "stack", None)
        if not stack or all(entered is not frame for _, entered, _ in stack):
            return  # it began before it was watched
        node, entered, began = stack.pop()
        while entered is not frame:  # one that ended unseen
            node, entered, began = stack.pop()
        now = time.perf_counter()
        node.calls += 1
        node.seconds += now - began
        if now - self._told > EVERY:
            self.tell()

    def tell(self) -> None:
        """Write what has been counted up to now."""
        self._told = time.perf_counter()
        self._write({"times": {n.number: [n.calls, round(n.seconds, 6)] for n in self._nodes if n.calls}})

    def _watch(self, kind: type) -> None:
        """Note where the fields of an argument class are first read."""
        if kind in self._seen or not hasattr(kind, "__dataclass_fields__"):
            return
        self._seen.add(kind)
        fields = defined(kind)
        self._write({"class": kind.__qualname__, "fields": fields})
        usual: Any = kind.__getattribute__

        def noted(this: Any, name: str) -> Any:
            if name in fields and (name, True) not in self._reads:
                self._note(sys._getframe(1), name)
            return usual(this, name)

        kind.__getattribute__ = noted  # type: ignore[method-assign,assignment]

    def _note(self, frame: FrameType, name: str) -> None:
        """A field was read. Where all are read alike (a copy, a dump) no field is meant."""
        code = frame.f_code
        path = self.path_of(code)
        if path is None or code.co_name in ("__getattribute__", "__setattr__"):
            return
        outside = not path.startswith(ARGUMENTS)
        if (name, outside) not in self._reads:
            self._reads.add((name, outside))
            where = getattr(code, "co_qualname", code.co_name)
            self._write({"read": name, "file": path, "line": frame.f_lineno, "in": where, "outside": outside})


def defined(kind: type) -> dict[str, list[Any]]:
    """By field: the class that defines it, that class's file and the line."""
    found: dict[str, list[Any]] = {}
    for base in reversed(kind.__mro__):
        own = inspect.get_annotations(base)
        file = getattr(sys.modules.get(base.__module__), "__file__", None)
        if not own or not file:
            continue
        lines = {
            part.target.id: part.lineno
            for found_class in ast.walk(ast.parse(Path(file).read_bytes()))
            if isinstance(found_class, ast.ClassDef) and found_class.name == base.__name__
            for part in found_class.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }
        below = file.rpartition("site-packages/")[2]
        found |= {name: [base.__qualname__, below, lines[name]] for name in own if name in lines}
    return found


def trace_into(folder: Path) -> None:
    """Begin to trace this process and its threads; not those that it forks."""
    tracer = Tracer(folder)
    bootstrap: Any = importlib._bootstrap
    usual = bootstrap._find_and_load

    def unwatched(*words: Any) -> Any:
        watching = sys.getprofile()
        sys.setprofile(None)
        try:
            return usual(*words)
        finally:
            sys.setprofile(watching)

    def leave() -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    bootstrap._find_and_load = unwatched
    os.register_at_fork(after_in_child=leave)
    atexit.register(tracer.tell)
    threading.setprofile(tracer)
    sys.setprofile(tracer)
