"""Nothing secret in a record, a script or a message: told by the name of a variable or flag, by what an address or a
token looks like, and by the values of this process's own secret variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

BLANK = "***"
NOTHING = ("", "EMPTY", BLANK)  # EMPTY is what people write where a server wants a key and checks none
# What a record keeps of the environment: what changes how a run behaves. All else may be anything.
RECORDED = (
    "CUDA_*", "NVIDIA_*", "NCCL_*", "GLOO_*", "UCX_*", "TORCH_*", "PYTORCH_*", "TORCHINDUCTOR_*", "TRITON_*", "VLLM_*",
    "OMP_*", "MKL_*", "OPENBLAS_*", "KMP_*", "PYTHON*", "LC_*", "DS_ACCELERATOR", "LANG", "PATH", "LD_LIBRARY_PATH",
    "NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE",
    "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "USE_HF",
    "MODELSCOPE_CACHE", "MODELSCOPE_DOMAIN", "TOKENIZERS_PARALLELISM", "MAX_PIXELS", "GPULAB_RUNS", "DOCKER_HOST",
    "VIRTUAL_ENV", "CONDA_PREFIX", "SLURM_JOB_ID", "SLURM_JOB_NODELIST",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
)  # fmt: skip

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
ALWAYS = re.compile(r"secrets?|\w*passw(or)?d|passphrase|credentials?|apikey|webhook")
# These name a secret where they are the last word of a name; in an environment anywhere.
LAST = re.compile(r"(access|auth|api)?tokens?|\w*(?<!by)pass|pwd|pat|keys?|auth|dsn|cookie|jwt|sig|signature|bearer")
HARMLESS = re.compile(
    r"(^|_)((bos|eos|pad|unk|sep|cls|mask|image|video|audio)_token|(layer|tag|prng)_key"
    r"|(max|min|num|new|average|draft|special|input|output|completion|prompt|total)_tokens)$",
    re.IGNORECASE,
)
FOLDERS = ("PWD", "OLDPWD")
LEAST = 6  # a shorter value is not looked for: it would be found everywhere

TOKEN = re.compile(r"\b(?:hf_|sk-|gh[pousr]_|github_pat_|glpat-|AKIA|xox[abp]-)(?=[\w-]*\d)[\w-]{16,}")
BEARER = re.compile(r"\b(bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
# A password in an address may hold / and @: it ends at the last @.
ADDRESS = re.compile(r"(?<=://)(?:[^/\s@:\"'<>]*:[^\s\"'<>]*|[^/\s@\"'<>]+)@(?!sha256:)")
# (name, value, what closes it) in a query, a connection string, a flag; and in JSON.
PAIR = re.compile(r"(?<![\w.%-])(?:--)?([A-Za-z][\w.%-]{0,80})=((?:(?!&[\w.%-]+=)[^;\s\"'#])+)()")
JSON = re.compile(r"[\"']([\w.-]{1,80})[\"']\s*:\s*[\"']([^\"']+)([\"'])")
PASSWORD = re.compile(r"://[^/\s@:]*:(\S*)@")


def is_secret(name: str) -> bool:
    """Whether a variable or flag of that name holds a secret: `HF_TOKEN` does, `max_new_tokens` does not."""
    words = [word.lower() for word in WORDS.findall(name)]
    if not words or name in FOLDERS or HARMLESS.search(name.replace("-", "_")):
        return False
    return any(map(ALWAYS.fullmatch, words)) or bool(LAST.fullmatch(words[-1]))


def recorded(env: Mapping[str, str]) -> dict[str, str]:
    """What a record keeps of the environment."""
    kept = {k: v for k, v in env.items() if any(fnmatchcase(k, known) for known in RECORDED)}
    return {name: value for name, value in environment(kept).items() if not is_secret(name)}


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """A step's own `env` with secrets blanked."""
    return {k: BLANK if is_secret(k) and v not in NOTHING else text(v) for k, v in sorted(env.items())}


def argv(words: Sequence[str]) -> list[str]:
    """`words` with the values of secret flags blanked, in `--flag value` and `--flag=value`."""
    shown: list[str] = []
    hide = False
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            hide = is_secret(name) and not equals
            shown.append(f"--{name}={BLANK}" if equals and is_secret(name) and value not in NOTHING else text(word))
        else:
            shown.append(BLANK if hide and word not in NOTHING else text(word))
    return shown


def text(text: str) -> str:
    """`text` without the secrets in it."""
    return _without(_known(tuple(os.environ.items())), text)


def shapes(text: str) -> str:
    """`text` without what looks like a secret, whatever the environment holds."""
    text = BEARER.sub(rf"\1 {BLANK}", TOKEN.sub(BLANK, ADDRESS.sub(f"{BLANK}@", text)))
    for pattern in (PAIR, JSON):
        text = pattern.sub(
            lambda m: m[0].replace(f"{m[2]}{m[3]}", f"{BLANK}{m[3]}") if _hides(m[1], m[2]) else m[0], text
        )
    return text


def deep(data: Any, *, known: bool = True) -> Any:
    """Data of lists and mappings without the secrets in their texts; without `known` only what looks like one."""
    clean = partial(_without, _known(tuple(os.environ.items()))) if known else shapes

    def one(data: Any, name: str = "") -> Any:
        if isinstance(data, Mapping):
            return {key: one(value, str(key)) for key, value in data.items()}
        if isinstance(data, (list, tuple)):
            return [one(item, name) for item in data]
        if isinstance(data, (str, Path)):
            return BLANK if _hides(name, str(data)) else clean(str(data))
        return data

    return one(data)


def variables(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The secret variables of the environment whose values are long enough to be looked for."""
    found = {}
    for name, value in (os.environ if env is None else env).items():
        words = [word.lower() for word in WORDS.findall(name)]
        told = is_secret(name) or any(map(LAST.fullmatch, words))
        if told and name not in FOLDERS and _tells(value):
            found[name] = value
    return found


def values() -> list[str]:
    """What `text` looks for of this process's environment, the longest first."""
    return _forms(tuple(os.environ.items()))


def _values(env: Mapping[str, str]) -> Iterator[str]:
    """The values to be looked for: of secret variables, and passwords in the addresses that others hold."""
    for value in variables(env).values():
        yield value
        yield from (line for line in value.splitlines() if len(line) >= 2 * LEAST and line != value)
    for value in env.values():
        if found := PASSWORD.search(value):
            yield from filter(_tells, [found[1]])
        yield from (m[2] for m in PAIR.finditer(value) if is_secret(m[1]) and _tells(m[2]))


def _tells(value: str) -> bool:
    """Whether finding a value says something: a number, a path or a word of three letters may stand anywhere."""
    if len(value) < LEAST or (value.isdigit() and len(value) < 2 * LEAST) or value in NOTHING:
        return False
    try:
        return not (value.startswith("/") and Path(value).exists())
    except (OSError, ValueError):
        return True


@lru_cache(maxsize=8)
def _forms(env: tuple[tuple[str, str], ...]) -> list[str]:
    every = {form for value in _values(dict(env)) for form in (value, quote(value, safe=""))}
    return sorted(every, key=len, reverse=True)


@lru_cache(maxsize=8)
def _known(env: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    every = _forms(env)
    return re.compile("|".join(map(re.escape, every))) if every else None


def _without(known: re.Pattern[str] | None, text: str) -> str:
    return shapes(known.sub(BLANK, text) if known else text)


def _hides(name: str, value: str) -> bool:
    return is_secret(name) and value not in NOTHING
