"""Nothing secret in a record: values are blanked by the name of their variable or flag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SECRET = re.compile(r"(token|secret|passw|credential|private|api_?-?key|access_?-?key|auth)", re.IGNORECASE)
HARMLESS = re.compile(
    r"^(max|min|add|new|num|pad|eos|bos|lazy|image|video).*token|tokeniz|_tokens?_per_", re.IGNORECASE
)
USERINFO = re.compile(r"(\w+://)[^/\s@]+@")
BLANK = "***"


def is_secret(name: str) -> bool:
    """Whether a variable or flag of that name holds a secret: `HF_TOKEN` does, `max_new_tokens` does not."""
    return bool(SECRET.search(name)) and not HARMLESS.search(name)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """`env` with secrets blanked, by name and in addresses that carry a password."""
    return {k: BLANK if is_secret(k) and v else USERINFO.sub(rf"\1{BLANK}@", v) for k, v in sorted(env.items())}


def argv(words: Sequence[str]) -> list[str]:
    """`words` with the values of secret flags blanked, in `--flag value` and `--flag=value`."""
    shown: list[str] = []
    hide = False
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            hide = is_secret(name) and not equals
            shown.append(f"--{name}={BLANK}" if equals and is_secret(name) and value else word)
        else:
            shown.append(BLANK if hide and word != "EMPTY" else USERINFO.sub(rf"\1{BLANK}@", word))
    return shown
