"""One process of a stack that has imported ms-swift, and forks a child for each command that it is told.

    python warm.py swift|megatron LISTENER      ends when its standard input does

The first is the command that its children are: each has imports of its own, in an order of its own, which matters.
LISTENER is the number of a listening socket. Who connects (forks.py) is greeted with a line, and sends one: a JSON
object of `argv`, `cwd`, `env` (all of it) and `log`. The answer is the child's `pid` and later its `status`; or
`refused`: why the command needs a process of its own. The child is in a session of its own and ends as the command
itself would. Where the command starts several ranks, torch's launcher is the child, and each rank is a fork, too.

Nothing is computed before a fork: a pool of threads would not come along. What was imported is neither looked at by a
child's collections of garbage nor taken down at its end: either copies all of it, and takes longer than most commands.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import logging
import os
import select
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

if not __package__:  # run by its path, in a stack that knows nothing of this project
    sys.path[0] = str(Path(__file__).resolve().parents[2])
from gpulab.inside.forks import Forked, ask, connect, receive, send

LOADED = {
    "swift": {
        "swift.cli.main": (),
        "swift.pipelines": ("deploy_main", "export_main", "infer_main", "pretrain_main", "rlhf_main", "sft_main"),
        "evalscope.run": (),
        "deepspeed": (),  # every training imports it
    },
    "megatron": {
        "swift.cli.main": (),
        "swift.megatron": ("megatron_export_main", "megatron_pretrain_main", "megatron_rlhf_main", "megatron_sft_main"),
        "matplotlib.pyplot": (),  # every training ends with its curves
    },
}
SET_FIRST = {"megatron": {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}}  # by the command itself, before it imports
# What libraries in C read when they are loaded, where nobody can look on.
IN_C = (
    "ARROW_", "CUDA_", "GOMP_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "TORCH",
)  # fmt: skip
LAUNCHERS = ("torchrun", "accelerate")  # they start ranks as torch's launcher does, which they are
LAUNCHER = ("TORCHELASTIC_", "TORCH_NCCL_")  # torch's launcher tells its ranks: they read it later
RANK = ("RANK", "LOCAL_RANK")  # logging alone reads them early: see begin()
LOUD_ON_FIRST = ("swift", "modelscope")  # the loggers that say errors alone on all ranks but a node's first
looked_at: set[str] = set()
ended: list[int] = []  # a child's exit status, when its script has ended
here: dict[str, str] = {}  # where a child asks for its ranks, and where its output goes
# The environment that this process was given: Python itself adds to it, too.
given = dict(os.fsdecode(pair).split("=", 1) for pair in Path("/proc/self/environ").read_bytes().split(b"\0") if pair)


class Watched(os._Environ):  # type: ignore[type-arg]
    """The environment, and which of its variables were looked at."""

    def __getitem__(self, key: str) -> str:
        looked_at.add(key)
        return str(super().__getitem__(key))


def load(program: str) -> None:
    """Import what the commands need. Below `swift` another Python would run the command's own file: not here."""
    sys.path.pop(0)  # this project's folder
    for name, value in SET_FIRST.get(program, {}).items():
        os.environ.setdefault(name, value)
    os.environ.__class__ = Watched
    for name, attributes in LOADED[program].items():
        if not find_spec(name.partition(".")[0]):
            continue  # not every stack has all
        module = import_module(name)
        for attribute in attributes:
            getattr(module, attribute)
    os.environ.__class__ = os._Environ
    sys.modules["swift.cli.main"].subprocess = SimpleNamespace(run=run_below)  # type: ignore[attr-defined]


def script_of(argv: list[str], path: str) -> list[str]:
    """The Python file or folder that a command runs, and the words after it; nothing where it is another program."""
    program = shutil.which(argv[0], path=path)
    if not program or Path(program).parent.resolve() != Path(sys.executable).parent:
        return []
    if Path(program).resolve() == Path(sys.executable).resolve():
        words = argv[2:] if argv[1:2] == ["-u"] else argv[1:]  # all steps are unbuffered by their environment
        return words if Path(*words[:1]).suffix == ".py" or Path(*words[:1], "__main__.py").is_file() else []
    with Path(program).open("rb") as file:
        return [program, *argv[1:]] if file.readline().rstrip() == b"#!" + os.fsencode(sys.executable) else []


def refusal(request: dict[str, Any]) -> str | None:
    """Why a command needs a process of its own; None where it does not."""
    if not script_of(request["argv"], request["env"]["PATH"]):
        return f"{request['argv'][0]} is no Python script of this stack"
    asked = set(request["env"].items())
    differ = {name for name, _ in (asked ^ set(given.items())) - (asked & set(os.environ.items()))}  # imports set some
    early = [name for name in sorted(differ) if name in looked_at or name.startswith(IN_C)]
    read = [name for name in early if name not in RANK and not name.startswith(LAUNCHER)]
    return f"{read[0]} is read while ms-swift is imported" if read else None


def run(words: list[str]) -> None:
    """Carry a script, or a folder's __main__.py, out as `python SCRIPT WORDS` does."""
    sys.argv = words
    file = Path(words[0], "__main__.py") if Path(words[0]).is_dir() else Path(words[0])
    sys.path.insert(0, str(file.resolve().parent))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = str(file)
    if file.name in LAUNCHERS:
        ask_for_ranks()
    exec(compile(file.read_bytes(), str(file), "exec"), main.__dict__)  # noqa: S102


def carry_out(words: list[str]) -> None:
    """The script, and how it ended: what leave() ends with. An interrupt ends as Python ends it."""
    try:
        run(words)
        ended.append(0)
    except SystemExit as error:
        ended.append(error.code if isinstance(error.code, int) else int(error.code is not None))
        raise
    except Exception:
        ended.append(1)
        raise


def leave() -> None:
    """End here, after all that was to be done at exit, where Python would take its modules down."""
    if ended:
        left_open = [made for made in gc.get_objects() if issubclass(type(made), io.IOBase)]
        for file in (*left_open, sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # it is closed
                file.flush()
        ctypes.CDLL(None).fflush(None)
        os._exit(ended[0] & 0xFF)


def run_below(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    """In the place of subprocess.run in ms-swift's command."""
    sys.path.pop(0)
    if argv[1:3] == ["-m", "torch.distributed.run"]:
        launch(argv[3:])
    else:
        run(argv[1:])
    return subprocess.CompletedProcess(argv, 0)


def launch(words: list[str]) -> None:
    """Torch's launcher, which asks the warm process for its ranks."""
    launcher: Any = import_module("torch.distributed.run")
    ask_for_ranks()
    sys.argv = [launcher.__file__, *words]
    launcher.main()


def ask_for_ranks() -> None:
    """From now on torch's launcher asks the warm process for its ranks."""
    starts: Any = import_module("torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler")
    starts.Popen = start_rank


def start_rank(args: tuple[str, ...], env: dict[str, str], **streams: Any) -> Forked | subprocess.Popen[bytes]:
    """In the place of Popen in torch's launcher: a rank whose output goes where the launcher's goes."""
    if not streams["stdout"] and not streams["stderr"]:
        link = connect(here["address"])
        receive(link)
        request = {"argv": args, "cwd": str(Path.cwd()), "env": env, "log": here["log"]}
        if forked := ask(link, request):
            return forked
    return subprocess.Popen(args, env=env, **streams)


def begin(request: dict[str, Any]) -> None:
    """Be the process that the command begins in: its session, files, folder, environment, random numbers."""
    os.setsid()
    for number, file in enumerate((os.devnull, request["log"], request["log"])):
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND * bool(number), 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(request["cwd"])
    added = {name: value for name, value in os.environ.items() if given.get(name) != value}
    os.environ.clear()
    os.environ.update(request["env"] | added)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        for name in LOUD_ON_FIRST:
            logging.getLogger(name).setLevel(logging.ERROR)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # Python's own are new after a fork


def attend(link: socket.socket) -> list[str]:
    """Answer who connected, in a process of its own; what to run in the child of it."""
    say(link, loaded=len(sys.modules))
    request = receive(link)
    why = refusal(request) if request else "nothing was asked"
    if why:
        say(link, refused=why)
        os._exit(0)
    child = os.fork()
    if child:
        say(link, pid=child)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        # ms-swift's command runs below itself, and passes the end of that on.
        below = request["argv"][0] in LOADED and status < 0
        say(link, status=status % 256 if below else status)
        os._exit(0)
    link.close()
    here["log"] = request["log"]
    begin(request)
    return script_of(request["argv"], request["env"]["PATH"])


def say(link: socket.socket, **answer: Any) -> None:
    """Send a line, if there is still somebody to read it."""
    with suppress(OSError):
        send(link, **answer)


def main() -> None:
    """Fork for each that connects. Only the children return, to end as a command does."""
    program, listener = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    atexit.register(leave)  # the first that is registered is the last that is called
    here["address"] = listener.getsockname()
    load(program)
    gc.collect()
    gc.freeze()
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            shutil.rmtree(Path(here["address"]).parent, ignore_errors=True)
            os._exit(0)
        link, _ = listener.accept()
        if not os.fork():
            listener.close()
            break
        link.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    carry_out(attend(link))


if __name__ == "__main__":
    main()
