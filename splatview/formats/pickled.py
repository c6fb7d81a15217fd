"""Plain values in a pickle, read without running any of it.

A pickle is a program for a stack machine. This machine knows the instructions that values need, and of the functions and classes that
a program names only those it is given: anything else is a ValueError. Values are None, bool, int, float, str, bytes, tuples, lists and
dicts, and what the given functions make. Every step takes little time and memory (nothing that the pickle can refer to again is copied,
unless it is short), and the number of steps is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 1 << 24
MOST_STEPS = 1_000_000  # a checkpoint of a thousand tensors takes thirty thousand
_MOST_ARGUMENTS = 16
_LONGEST_NAME = 200
_LONGEST_INT = 9  # bytes: unsigned 64 bits


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names, such as `collections.OrderedDict`."""

    text: str


def parse(data: bytes, known: Mapping[str, Callable[..., Any]], refer: Callable[[Any], Any]) -> Any:
    """The value that the pickle describes; ValueError if it is damaged, asks for a name that is not `known`, or is too large.

    `refer` gives what a persistent id stands for.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"pickle: expected at most {MOST_BYTES:,} bytes, found {len(data):,}")
    machine = _Machine(data, known, refer)
    try:
        return machine.run()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:  # an empty stack, no such memo, cut short
        raise ValueError(f"pickle: damaged near byte {machine.at} ({type(error).__name__})") from None


class _Machine:
    def __init__(self, data: bytes, known: Mapping[str, Callable[..., Any]], refer: Callable[[Any], Any]) -> None:
        self.data, self.known, self.refer = data, known, refer
        self.at = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below the marks
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_STEPS):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"pickle: expected plain values, found instruction {code!r} at byte {self.at - 1}")
            step(self)
        raise ValueError(f"pickle: expected at most {MOST_STEPS:,} instructions, found more")

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError("pickle: cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        length = self.data.find(b"\n", self.at, self.at + _LONGEST_NAME) + 1 - self.at
        if length <= 0:
            raise ValueError("pickle: damaged: a name that is no short text")
        return self.take(length)[:-1].decode()

    def marked(self) -> list[Any]:
        """What lies above the last mark, taken off."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def marked_tuple(self) -> None:
        items = tuple(self.marked())
        self.stack.append(items)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def tuple_of(self, count: int) -> None:
        if count > len(self.stack):
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("pickle: damaged: items for something that is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("pickle: damaged: entries for something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float):  # a tuple within a tuple within ... may take for ever to hash
                raise ValueError(f"pickle: expected texts and numbers as keys, found {type(key).__name__}")
            target[key] = value

    def integer(self, count: int) -> None:
        if not 0 <= count <= _LONGEST_INT:
            raise ValueError(f"pickle: expected numbers up to {_LONGEST_INT} bytes, found one of {count}")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def stack_name(self) -> None:
        module, name = self.stack.pop(-2), self.stack.pop()
        if not all(isinstance(part, str) and len(part) <= _LONGEST_NAME for part in (module, name)):
            raise ValueError("pickle: damaged: a name that is no short text")
        self.stack.append(Name(f"{module}.{name}"))

    def call(self) -> None:
        function, arguments = self.stack.pop(-2), self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple) or len(arguments) > _MOST_ARGUMENTS:
            raise ValueError("pickle: damaged: a call of something that is no function")
        if function.text not in self.known:
            raise ValueError(
                f"pickle: expected tensors and plain values, found {function.text[:100]!r}, which is not run: "
                "save only the parameters (a state dict) if you trust the file"
            )
        try:
            self.stack.append(self.known[function.text](*arguments))
        except (TypeError, OverflowError) as error:
            raise ValueError(f"pickle: {function.text} cannot be made ({error})") from None

    def state(self) -> None:
        """Attributes of an object: of ours nobody has any, except a numpy type its byte order."""
        target, state = self.stack.pop(-2), self.stack.pop()
        if isinstance(target, dict):  # a state dict keeps the versions of its modules there
            self.stack.append(target)
        elif hasattr(target, "with_state"):
            self.stack.append(target.with_state(state))
        else:
            raise ValueError(f"pickle: expected plain values, found {type(target).__name__} with a state")


def _text(layout: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.take(machine.number(layout)).decode("utf-8", "surrogatepass"))


def _bytes(layout: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.take(machine.number(layout)))


def _mark(machine: _Machine) -> None:
    machine.outer.append(machine.stack)
    machine.stack = []


_STEPS: dict[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda machine: machine.take(1),  # protocol
    b"\x95": lambda machine: machine.take(8),  # frame
    b"(": _mark,
    b"0": lambda machine: machine.stack.pop(),
    b"1": lambda machine: machine.marked(),
    b"N": lambda machine: machine.stack.append(None),
    b"\x88": lambda machine: machine.stack.append(True),
    b"\x89": lambda machine: machine.stack.append(False),
    b"K": lambda machine: machine.stack.append(machine.number("<B")),
    b"M": lambda machine: machine.stack.append(machine.number("<H")),
    b"J": lambda machine: machine.stack.append(machine.number("<i")),
    b"\x8a": lambda machine: machine.integer(machine.number("<B")),
    b"\x8b": lambda machine: machine.integer(machine.number("<i")),
    b"G": lambda machine: machine.stack.append(machine.number(">d")),
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b")": lambda machine: machine.stack.append(()),
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"t": lambda machine: machine.marked_tuple(),
    b"]": lambda machine: machine.stack.append([]),
    b"a": lambda machine: machine.extend([machine.stack.pop()]),
    b"e": lambda machine: machine.extend(machine.marked()),
    b"}": lambda machine: machine.stack.append({}),
    b"s": lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    b"u": lambda machine: machine.set_items(machine.marked()),
    b"q": lambda machine: machine.put(machine.number("<B")),
    b"r": lambda machine: machine.put(machine.number("<I")),
    b"\x94": lambda machine: machine.put(len(machine.memo)),
    b"h": lambda machine: machine.stack.append(machine.memo[machine.number("<B")]),
    b"j": lambda machine: machine.stack.append(machine.memo[machine.number("<I")]),
    b"c": lambda machine: machine.stack.append(Name(f"{machine.line()}.{machine.line()}")),
    b"\x93": lambda machine: machine.stack_name(),
    b"R": lambda machine: machine.call(),
    b"b": lambda machine: machine.state(),
    b"Q": lambda machine: machine.stack.append(machine.refer(machine.stack.pop())),
}
