"""Words of the command line become a command; what is wrong with them is told in one line."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from splatview.cli.faults import UserError

try:
    from tyro import _errors as events  # what it finds wrong; not public: where it is missing, or other than this, tyro tells it itself
except ImportError:
    events = None

CONFIG = (tyro.conf.FlagCreatePairsOff,)
RULES = ConstructorRegistry()

Hint = Callable[[str], str]  # a flag that the command does not have -> what may be meant, "" if nobody knows


@RULES.primitive_rule
def numbers(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Numbers, and those that need not be given: of a union tyro would tell what every part of it is."""
    parts = _parts(kind)
    if parts not in ({int}, {float}):
        return None
    [made] = parts

    def number(words: list[str]) -> int | float:
        try:
            return made(words[0])
        except ValueError:
            raise ValueError(f"expected a {'whole ' * (made is int)}number, got {words[0]!r:.60}") from None

    is_one = lambda value: value is None or (isinstance(value, (int, made)) and not isinstance(value, bool))
    return PrimitiveConstructorSpec(1, made.__name__.upper(), number, is_one, lambda value: [str(value)])


@RULES.primitive_rule
def paths(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Paths, and those that need not be given. An empty word, of a variable that is not set perhaps, would be the current folder."""
    if _parts(kind) != {Path}:
        return None

    def path(words: list[str]) -> Path:
        if not words[0]:
            raise ValueError("expected a path, got an empty word")
        return Path(words[0])

    return PrimitiveConstructorSpec(1, "PATH", path, lambda value: value is None or isinstance(value, Path), lambda value: [str(value)])


def _parts(kind: PrimitiveTypeInfo) -> set[Any]:
    """The type, or those that are joined in it, but for None."""
    return set(get_args(kind.type)) - {NoneType} if get_origin(kind.type) in (Union, UnionType) else {kind.type}


def parsed(command: Any, program: str, words: Sequence[str], hint: Hint = lambda flag: "") -> Any:
    """The value of the dataclass `command` that `words` tell; UserError if they do not. `program`: what stands before them."""
    try:
        with _told():
            return tyro.cli(command, prog=program, args=words, config=CONFIG, registry=RULES)
    except Unknown as unknown:
        word = unknown.words[0].partition("=")[0]
        if not word.startswith("-"):
            raise UserError(f"expected nothing more, got {' '.join(unknown.words)!r:.60} ({program} --help)") from None
        if " " in word:
            raise UserError(f"{word!r:.60} begins as a flag does: expected ' {word:.60}', with a space first") from None
        close = difflib.get_close_matches(word, _flags(command, program), n=1)
        meant = hint(word) or (f"did you mean {close[0]}?" if close else f"{program} --help tells all")
        raise UserError(f"{word}: there is no such flag; {meant}") from None


class Unknown(Exception):
    """Nobody knows some words."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words


@contextmanager
def _told() -> Iterator[None]:
    """What tyro finds wrong inside becomes a UserError, or Unknown."""
    if not hasattr(events, "on_parse_error"):
        yield
        return

    def tell(event: Any) -> None:
        fault = ""
        with suppress(AttributeError):  # one of another version
            fault = _fault(event)
        if fault:
            raise UserError(f"{fault} ({event.prog} --help)")

    with events.on_parse_error(tell):  # pyright: ignore[reportOptionalMemberAccess]
        yield


def _fault(event: Any) -> str:
    """What an event of tyro's says, in our words; "" if we have none for it. Unknown for words that nobody knows."""
    match type(event).__name__:
        case "UnrecognizedArgs":
            raise Unknown(event.tokens)
        case "MissingArgs":
            return f"expected {' and '.join(_with_value(one.arg) for one in event.missing_arguments)}"
        case "BadValue":
            return f"expected {_with_value(event.argument)}, got nothing after it"
        case "InvalidChoice":
            close = difflib.get_close_matches(event.value, event.choices, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            return f"{_flag(event.argument)}: expected one of {', '.join(event.choices)}; got {event.value!r:.60}{meant}"
        case "InstantiationFailure":
            told = " ".join(str(event.message).split())
            return told if event.argument is None else f"{_flag(event.argument)}: {told}"
    return ""


def _flag(argument: Any) -> str:
    """Its longest name."""
    return str(argument.lowered.metavar) if argument.is_positional() else max(argument.lowered.name_or_flags, key=len)


def _with_value(argument: Any) -> str:
    return _flag(argument) if argument.is_positional() else f"{_flag(argument)} {argument.lowered.metavar or ''}".strip()


def _flags(command: Any, program: str) -> list[str]:
    """All flags of a command, as its help tells them."""
    with redirect_stdout(io.StringIO()) as told, suppress(SystemExit):
        tyro.cli(command, prog=program, args=["--help"], config=CONFIG, registry=RULES)
    return re.findall(r"^\W (?:-\w [^,]*, )?(--[\w-]+)", told.getvalue(), re.MULTILINE)
