"""What people may turn while a stylizer runs: numbers with ends, as fields of frozen dataclasses.

Panels make sliders of them, the command line makes flags, and a style library saves them by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Slider:
    """The ends of a number, both included."""

    least: float
    most: float
    step: float
    what: str  # for people, in a few words


def slider(default: float, least: float, most: float, step: float, what: str, label: str = "") -> Any:
    """The field of a dataclass that is a slider; its `label` in a panel is its name if none is told."""
    return field(default=default, metadata={"slider": Slider(least, most, step, what), "help": what, "label": label})


def option(default: Any, what: str) -> Any:
    """The field of a dataclass that is a yes or no, or one of some words."""
    return field(default=default, metadata={"help": what})


def sliders(controls: Any) -> dict[str, Slider]:
    """The sliders of a dataclass or a value of one, by field, in their order."""
    return {one.name: one.metadata["slider"] for one in fields(controls) if "slider" in one.metadata}


def check(controls: Any) -> None:
    """ValueError for a number that is not between the ends of its slider."""
    for name, one in sliders(controls).items():
        value = getattr(controls, name)
        if not (math.isfinite(value) and one.least <= value <= one.most):
            raise ValueError(f"{type(controls).__name__}.{name}: expected {one.least:g} to {one.most:g}, got {value}")


def shuffled(controls: Any, random: Random) -> Any:
    """`controls` with other numbers, on the steps between the ends of each slider."""
    numbers, kinds = {}, get_type_hints(type(controls))
    for name, one in sliders(controls).items():
        number = min(one.most, one.least + random.randint(0, round((one.most - one.least) / one.step)) * one.step)
        numbers[name] = kinds[name](round(number, 6))
    return replace(controls, **numbers)
