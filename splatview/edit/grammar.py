"""The grammar of selections in words: which trees are one, and what is wrong with the others."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools
from splatview.edit.attributes import ATTRIBUTES

LONGEST = 1000  # characters
DEEPEST = 24  # levels of operators and parentheses
MOST_NODES = 200  # numbers, names and operators: each may cost a pass over all Gaussians
MOST_EXPONENT = 8
FUNCTIONS: dict[str, tuple[Callable[..., NDArray], int, int]] = {  # with the least and the most of what they take
    "abs": (np.abs, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "log": (np.log, 1, 1),
    "min": (lambda *values: folded(np.minimum, values), 2, 8),
    "max": (lambda *values: folded(np.maximum, values), 2, 8),
}
ARITHMETIC: dict[type[ast.operator], Callable[[NDArray, NDArray], NDArray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[NDArray, NDArray], Bools]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
WORD = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<text>\"[^\"\\\n]*\"|'[^'\\\n]*')|(?P<sign>\*\*|[<>=!]=|[-+*/<>(),])"
)
PERCENTILE = re.compile(r"p(\d{1,3})(?:_(\d{1,3}))?", re.ASCII)


@dataclass
class Names:
    """What a tree was found to name, and what it may."""

    attributes: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    known_volumes: tuple[str, ...] | None = None  # None: any


class _Fault(Exception):
    """Something at a place (a character of the text, from 0) that is not as expected."""

    def __init__(self, expected: str, at: int, found: str = "", among: Iterable[str] = ()) -> None:
        near = difflib.get_close_matches(found, list(among), 3, 0.5)
        what = f"; got {found!r}" if found else ""
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"selection: expected {expected} at character {at + 1}{what}{hint}")


def checked(text: str, names: Names) -> ast.expr:
    """The tree of `text`, every node of it known; ValueError if there is anything else in it."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"selection: expected a text of at most {LONGEST} characters, got {len(text)}")
        line = _known_words(text)
        start = len(line) - len(line.lstrip())
        try:
            tree = ast.parse(line.strip(), mode="eval").body
        except SyntaxError as error:
            at = start + min(max((error.offset or 1) - 1, 0), len(line.strip()))
            raise _Fault("a selection such as opacity < 0.2", at, line[at : at + 12].strip() or "the end") from None
        if sum(1 for _ in ast.walk(tree)) > 4 * MOST_NODES:
            raise ValueError(f"selection: expected at most {MOST_NODES} numbers, names and operators, got more")
        check = _Check(line.strip(), start, names)
        check.truth(tree, 0)
        if not names.attributes | names.volumes:
            raise _Fault("an attribute or within(NAME)", start, "numbers alone")
    except _Fault as fault:
        raise ValueError(str(fault)) from None
    except (RecursionError, MemoryError):
        raise ValueError("selection: expected fewer levels of parentheses and operators") from None
    return tree


def _known_words(text: str) -> str:
    """`text` in one line, if it is made of known words, no deeper than allowed."""
    at, depth, words, before, last = 0, 0, 0, "", ""
    while at < len(text):
        word = WORD.match(text, at)
        if not word or not (word["space"] or word[0].isprintable()):
            raise _Fault("names, numbers, operators and parentheses", at, text[at])
        if ((word["name"] or word["number"]) and before == "number") or (word["text"] and before == "name"):
            raise _Fault(f"a space or an operator behind a {before}", at, word[0])
        words += not word["space"]
        depth += {"(": 1, ")": -1}.get(word[0], 0)
        if depth < 0:
            raise _Fault("as many ( as )", at, ")")
        if depth > DEEPEST:
            raise _Fault(f"at most {DEEPEST} levels of parentheses", at, "(")
        at, before = word.end(), word.lastgroup or ""
        last = last if word["space"] else word[0]
    if depth:
        raise _Fault("as many ) as (", at, "the end")
    if not words:
        raise _Fault("a selection such as opacity < 0.2", 0, "nothing")
    if last in ("and", "or", "not") or not (last[-1].isalnum() or last[-1] in "_.)\"'"):
        raise _Fault(f"something behind {last}", len(text), "the end")
    if words > 2 * MOST_NODES:
        raise ValueError(f"selection: expected at most {MOST_NODES} numbers, names and operators, got {words} words")
    return re.sub(r"\s", " ", text)


@dataclass
class _Check:
    """Walks a tree as it will be evaluated; raises at the first node that is not known, or not of the kind that belongs there."""

    line: str
    start: int
    names: Names
    nodes: int = 0

    def at(self, node: ast.AST) -> int:
        """The character of the text at which `node` starts (the parser counts bytes)."""
        return self.start + len(self.line.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))

    def fault(self, expected: str, node: ast.AST, among: Iterable[str] = ()) -> _Fault:
        return _Fault(expected, self.at(node), (ast.get_source_segment(self.line, node) or "")[:40], among)

    def count(self, node: ast.AST, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise self.fault(f"at most {MOST_NODES} numbers, names and operators", node)
        if depth > DEEPEST:
            raise self.fault(f"at most {DEEPEST} levels of operators", node)

    def truth(self, node: ast.expr, depth: int) -> None:
        """`node` must be true or false."""
        self.count(node, depth)
        match node:
            case ast.BoolOp(values=values):
                for value in values:
                    self.truth(value, depth + 1)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.truth(operand, depth + 1)
            case ast.Compare():
                self.comparison(node, depth)
            case ast.Call(func=ast.Name(id="within"), args=[name], keywords=[]):
                volume = volume_name(name)
                if volume is None:
                    raise self.fault("the name of a volume or of a saved selection", name)
                if self.names.known_volumes is not None and volume not in self.names.known_volumes:
                    known = ", ".join(map(repr, self.names.known_volumes)) or "nothing has a name yet"
                    raise _Fault(f"one of the named volumes and selections ({known})", self.at(name), volume, self.names.known_volumes)
                self.names.volumes.add(volume)
            case ast.Call(func=ast.Name(id="within")):
                raise self.fault("within(NAME) with one name", node)
            case _:
                raise self.fault("a comparison or within(NAME)", node)

    def comparison(self, node: ast.Compare, depth: int) -> None:
        for operator in node.ops:
            if type(operator) not in COMPARISONS:
                raise self.fault("one of the comparisons < <= > >= == !=", node)
        operands = [node.left, *node.comparators]
        relative = [self.number(operand, depth + 1) for operand in operands]
        for index, percentile in enumerate(relative):
            other = reference_of(relative, index)
            if percentile and (other is None or not _holds_attribute(operands[other])):
                raise self.fault("a percentile to be compared with one attribute", operands[index])

    def number(self, node: ast.expr, depth: int) -> bool:
        """`node` must be a number; whether it holds a percentile."""
        self.count(node, depth)
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                if not np.isfinite(as_float(value)):
                    raise self.fault("a number below 1e308", node)
                return False
            case ast.Name(id=name):
                return self.name(node, name)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self.number(operand, depth + 1)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in ARITHMETIC:
                exponent = constant(right)
                if isinstance(operator, ast.Pow) and not (exponent is not None and abs(exponent) <= MOST_EXPONENT):
                    raise self.fault(f"an exponent that is a number from -{MOST_EXPONENT} to {MOST_EXPONENT}", right)
                relative = [self.number(operand, depth + 1) for operand in (left, right)]
                return any(relative)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in FUNCTIONS:
                _, least, most = FUNCTIONS[function]
                if not least <= len(arguments) <= most:
                    raise self.fault(f"{least} to {most} values in {function}" if least < most else f"one value in {function}", node)
                relative = [self.number(argument, depth + 1) for argument in arguments]
                return any(relative)
            case ast.Call(func=ast.Name(id=function)):
                raise _Fault(f"one of the functions {', '.join(FUNCTIONS)}", self.at(node), function, (*FUNCTIONS, "within"))
        raise self.fault("a number, an attribute or a percentile", node)

    def name(self, node: ast.Name, name: str) -> bool:
        if name in ATTRIBUTES:
            self.names.attributes.add(name)
            return False
        share = share_of(name)
        if share is None:
            raise self.fault("an attribute or a percentile", node, ATTRIBUTES)
        if share > 100:
            raise self.fault("a percentile from p0 to p100", node)
        return True


def reference_of(relative: list[bool], index: int) -> int | None:
    """Which of the operands a percentile in operand `index` is of: the one beside it without; None if not just one."""
    beside = [other for other in (index - 1, index + 1) if 0 <= other < len(relative) and not relative[other]]
    return beside[0] if len(beside) == 1 else None


def holds_percentile(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id not in ATTRIBUTES and share_of(part.id) is not None for part in ast.walk(node))


def _holds_attribute(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id in ATTRIBUTES for part in ast.walk(node))


def share_of(name: str) -> float | None:
    """The percentage of a percentile's name; None if it is none."""
    parts = PERCENTILE.fullmatch(name)
    return float(f"{parts[1]}.{parts[2] or 0}") if parts else None


def volume_name(node: ast.expr) -> str | None:
    """The name in `within(...)`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def constant(node: ast.expr) -> float | None:
    """A number with or without a sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = constant(node.operand)
        return inner if inner is None or isinstance(node.op, ast.UAdd) else -inner
    return as_float(node.value) if isinstance(node, ast.Constant) and type(node.value) in (int, float) else None


def as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def folded(operation: Callable[[NDArray, NDArray], NDArray], values: Iterable[NDArray]) -> NDArray:
    first, *rest = values
    for value in rest:
        first = operation(first, value)
    return first
