"""Selections in words: `scale_max > p99 and opacity < 0.2 and within(box1)`.

What may be written: the attributes of `splatview.edit.attributes`; numbers; `+ - * /` and `**` with a plain exponent; `abs sqrt log min
max`; comparisons, also in a chain; `and or not`; `within(NAME)` or `within("a name")` for a volume or a saved selection; and p0 to p100
(p99_5 is 99.5 %), the percentiles of what they are compared with. Nothing is ever given to `eval`: the text is cut into known words, the
tree that Python's parser makes of them is checked node by node, and numpy does the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from splatview.arrays import Bools
from splatview.edit.attributes import ATTRIBUTES
from splatview.edit.grammar import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    Names,
    as_float,
    checked,
    folded,
    holds_percentile,
    reference_of,
    share_of,
    volume_name,
)

Column = Callable[[str], NDArray]  # the values [N] of an attribute by its name
Within = Callable[[str], Bools]  # [N] who is in a volume or a saved selection by its name


@dataclass(frozen=True)
class Expression:
    """A checked selection; compared by its text."""

    text: str
    attributes: frozenset[str] = field(init=False, compare=False, repr=False)  # that it looks at
    volumes: frozenset[str] = field(init=False, compare=False, repr=False)  # names that it asks `within` for
    tree: ast.expr = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = Names()
        object.__setattr__(self, "tree", checked(self.text, names))
        object.__setattr__(self, "attributes", frozenset(names.attributes))
        object.__setattr__(self, "volumes", frozenset(names.volumes))

    def evaluate(self, column: Column, within: Within) -> Bools:
        """[N] where it is true. A comparison with NaN is false but for !=; percentiles are of the finite values."""
        with np.errstate(all="ignore"):
            return _Evaluation(column, within).value(self.tree)


def parse(text: str, volumes: Iterable[str] | None = None) -> Expression:
    """The selection that `text` describes; with `volumes`, `within` must name one of them. ValueError says what was expected, and where."""
    expression = Expression(text)
    if volumes is not None:
        checked(text, Names(known_volumes=tuple(volumes)))
    return expression


@dataclass
class _Evaluation:
    """Goes through a checked tree with numbers in its hands."""

    column: Column
    within: Within

    def value(self, node: ast.expr, reference: NDArray | None = None) -> NDArray:
        """What `node` is; percentiles in it are those of `reference`."""
        match node:
            case ast.BoolOp(op=operator, values=values):
                return folded(np.logical_and if isinstance(operator, ast.And) else np.logical_or, (self.value(value) for value in values))
            case ast.Compare(left=left, ops=operators, comparators=comparators):
                values = self.operands([left, *comparators])
                return folded(
                    np.logical_and,
                    (COMPARISONS[type(op)](a, b) for op, a, b in zip(operators, values, values[1:], strict=False)),
                )
            case ast.Call(func=ast.Name(id="within"), args=[name]):
                return np.asarray(self.within(volume_name(name) or ""), np.bool_)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return FUNCTIONS[function][0](*(self.value(argument, reference) for argument in arguments))
            case ast.UnaryOp(op=operator, operand=operand):
                inner = self.value(operand, reference)
                return np.logical_not(inner) if isinstance(operator, ast.Not) else -inner if isinstance(operator, ast.USub) else inner
            case ast.BinOp(left=left, op=operator, right=right):
                return ARITHMETIC[type(operator)](self.value(left, reference), self.value(right, reference))
            case ast.Constant(value=value):
                return np.asarray(as_float(value))
            case ast.Name(id=name) if name in ATTRIBUTES:
                return np.asarray(self.column(name), np.float64)
            case ast.Name(id=name) if reference is not None:
                return _percentile(reference, share_of(name) or 0.0)
        raise AssertionError(f"unchecked: {ast.dump(node)}")

    def operands(self, nodes: list[ast.expr]) -> list[NDArray]:
        """The values of what is compared: first those without percentiles, which those with are percentiles of."""
        relative = [holds_percentile(node) for node in nodes]
        plain = {index: self.value(node) for index, node in enumerate(nodes) if not relative[index]}

        def operand(index: int) -> NDArray:
            if index in plain:
                return plain[index]
            reference = reference_of(relative, index)
            return self.value(nodes[index], None if reference is None else plain[reference])

        return [operand(index) for index in range(len(nodes))]


def _percentile(values: NDArray, share: float) -> NDArray:
    finite = values[np.isfinite(values)]
    return np.percentile(finite, share) if finite.size else np.asarray(np.nan)
