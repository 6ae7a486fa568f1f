"""Wrong words on the command line, told before invoke reads them: it takes `--set` without a value, and two verbs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from invoke.parser.context import ParserContext

from gpulab.common.errors import nearest

if TYPE_CHECKING:
    from gpulab.verbs.options import Option


def named(words: Sequence[str], verbs: Mapping[str, ParserContext], options: Sequence[Option]) -> list[str]:
    """The words with the name of an option that may be given by its place: `lock --check --stack cpu` for
    `lock --check cpu`. It stands behind those that are required; other options may stand before it."""
    placed = next((f"--{option.name}" for option in options if option.by_place), None)
    flags = verbs[words[0]].flags
    required = sum(option.default is None for option in options)
    at = 1
    while placed and at < len(words):
        name, equals, _ = words[at].partition("=")
        if name.startswith("-"):
            if name == placed or name not in flags:
                break
            at += 2 if flags[name].takes_value and not equals else 1
        elif required:
            required, at = required - 1, at + 1
        elif words[at] in verbs:
            break
        else:
            return [*words[:at], placed, *words[at:]]
    return list(words)


def own(words: Sequence[str]) -> list[str]:
    """The words that are a verb's own: those before `--`."""
    return list(words[: words.index("--")] if "--" in words else words)


def behind(words: Sequence[str]) -> list[str]:
    """The words behind `--`, which a verb hands on as they are."""
    return list(words[words.index("--") + 1 :] if "--" in words else [])


def asking_help(words: Sequence[str], verbs: Collection[str]) -> list[str]:
    """The words with `VERB --help` as invoke wants it: a verb with a place to fill would take --help for it."""
    if len(words) > 1 and words[0] in verbs and "--help" in own(words[1:]):
        return ["--help", words[0]]
    return list(words)


def mistake(words: Sequence[str], verbs: Mapping[str, ParserContext]) -> tuple[str, str] | None:
    """(what is wrong with a verb's options, the cure); None where each has a value of its kind."""
    if not words or words[0] not in verbs:
        return None
    flags = verbs[words[0]].flags
    cure = help_of(words[0])
    left = iter(words[1:])
    for word in left:
        name, equals, value = word.partition("=")
        if name not in flags or not flags[name].takes_value:
            continue
        given = value if equals else next(left, None)
        if given is None or (not equals and given.partition("=")[0] in flags):
            return f"{name} needs a value", cure
        if flags[name].kind in (int, float):
            try:
                number = flags[name].kind(given)
            except ValueError:
                kind = "a whole number" if flags[name].kind is int else "a number"
                return f"{name}: {given!r} is not {kind}", cure
            if number == 0:  # which stands for "not given" behind the verb
                return f"{name} {given}: not a positive number", f"leave {name} out, or {cure}"
    return None


def explained(
    message: str, words: Sequence[str], verbs: Mapping[str, ParserContext], options: Sequence[Option] = ()
) -> tuple[str, str]:
    """(what invoke's parser could not read, the cure), in this project's words."""
    verb = words[0] if words else ""
    if unknown := re.fullmatch("No idea what '(.*)' is!", message, re.DOTALL):
        word = unknown[1]
        if verb not in verbs:
            return f"no verb {word!r}", nearest(word, sorted(verbs), listed="./inv")
        if word.startswith("-"):
            return f"{verb} has no option {word!r}", nearest(word, list(verbs[verb].flags), listed=help_of(verb))
        return f"{verb} takes no further word, {word!r} is one", help_of(verb)
    if "did not receive required" in message:
        missing = [o for o in options if re.search(rf"'{o.name}'", message)]
        what = f": {missing[0].help}" if len(missing) == 1 else ""
        return f"{verb} needs {' and '.join(option.name.upper() for option in missing)}{what}", help_of(verb)
    return message, help_of(verb) if verb in verbs else "./inv"


def help_of(verb: str) -> str:
    """The command that explains a verb."""
    return f"./inv --help {verb}"
