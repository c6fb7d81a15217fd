"""A histogram of the panel that a range can be dragged on. Beside `page.py` a user of viser's private parts: a message of its own, and
`_websock_connection`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from viser import _messages

from splatview.viewer.page import Page
from splatview.viewer.tools import Modifier, held, number

SCRIPT = files("splatview.viewer").joinpath("histogram.js").read_text("utf-8")
HEIGHT = 96  # of the bars, in pixels
WIDTH = 1000  # of the drawing, in its own units; the page stretches it
ALL, CHOSEN = "#6b7280", "#56a0ff"
LABELS = 6  # about so many below the bars


@dataclasses.dataclass
class HistogramRange(_messages.Message, include_in_scene_serialization=False):
    """A range was dragged; viser would close the connection over a field of the wrong kind."""

    name: Any = None
    low: Any = None
    high: Any = None
    modifiers: Any = None


@dataclass(frozen=True)
class RangeDragged:
    """What a person dragged on the histogram called `id`, from the low edge of a bin to the high edge of the same or another."""

    id: str
    low: float  # in the data's units
    high: float
    modifiers: frozenset[Modifier]  # held when the drag began; Cmd is "ctrl"


class HistogramPage:
    """The histograms of one browser tab."""

    def __init__(self, page: Page) -> None:
        self._tell: Callable[[RangeDragged], None] = lambda dragged: None
        page.client._websock_connection.register_handler(HistogramRange, lambda _, message: self._heard(message))
        page.run(SCRIPT)

    def on_range(self, tell: Callable[[RangeDragged], None]) -> None:
        """Tell each range that was dragged, on viser's event loop."""
        self._tell = tell

    def _heard(self, message: HistogramRange) -> None:
        name, low, high, modifiers = message.name, message.low, message.high, held(message.modifiers)
        if isinstance(name, str) and len(name) <= 64 and number(low) and number(high) and low <= high and modifiers is not None:
            self._tell(RangeDragged(name, float(low), float(high), modifiers))


def svg(counts: ArrayLike, edges: ArrayLike, log: bool, chosen_counts: ArrayLike | None = None, id: str = "histogram") -> str:
    """HTML of a histogram for `gui.add_html`: bars of `counts` [B] between `edges` [B + 1], and of the `chosen_counts` [B] among them.

    `log` is about the bars' heights. A page with `HistogramPage` lets people drag ranges on it; `id` says which one it was.
    ValueError if the edges are not finite and ascending, or the numbers of values do not fit one another.
    """
    every, at = _whole(counts), np.asarray(edges, np.float64)
    chosen = None if chosen_counts is None else np.minimum(_whole(chosen_counts), every)
    if at.ndim != 1 or len(at) < 2 or not np.isfinite(at).all() or (np.diff(at) <= 0).any() or not np.isfinite(at[-1] - at[0]):
        raise ValueError("a histogram's edges: expected two or more finite, ascending numbers")
    if every.shape != (len(at) - 1,) or (chosen is not None and chosen.shape != every.shape):
        raise ValueError(f"a histogram with {len(at)} edges: expected {len(at) - 1} counts, got {every.shape}")
    most = int(every.max())
    paths = f'<path d="{_outline(every, at, most, log)}" fill="{ALL}"/>'
    if chosen is not None and chosen.any():
        paths += f'<path d="{_outline(chosen, at, most, log)}" fill="{CHOSEN}"/>'
    data = f'data-name="{escape(id)}" data-edges="{json.dumps(at.tolist())}" data-counts="{json.dumps(every.tolist())}"'
    small = "font:10px system-ui,sans-serif;color:#9aa0aa;white-space:nowrap"
    side = f"{compact(most)}{', log' if log else ''}"
    return (
        f'<div class="splatview-histogram" {data} style="padding:2px 14px 4px;user-select:none;touch-action:none;cursor:col-resize">'
        f'<div style="display:flex;justify-content:space-between;height:14px;{small}"><span>{side}</span>'
        f'<span data-part="reading" style="color:#e5e7eb"></span></div>'
        f'<div data-part="plot" style="position:relative;height:{HEIGHT}px;background:#0003;border-bottom:1px solid #6b728099">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" style="display:block;width:100%;height:100%">'
        f"{_rules()}{paths}</svg>"
        f'<div data-part="range" style="position:absolute;top:0;bottom:0;display:none;pointer-events:none"></div></div>'
        f'<div style="position:relative;height:15px;{small}">{_axis(float(at[0]), float(at[-1]))}</div></div>'
    )


def _whole(counts: ArrayLike) -> NDArray[np.int64]:
    return np.maximum(np.nan_to_num(np.asarray(counts, np.float64), posinf=0.0, neginf=0.0), 0).astype(np.int64)


def _outline(counts: NDArray[np.int64], edges: NDArray[np.float64], most: int, log: bool) -> str:
    """The path around the bars; without gaps, so that a page of any width shows no seams."""
    heights = np.log1p(counts) / math.log1p(max(most, 1)) if log else counts / max(most, 1)
    visible = np.where(counts > 0, np.maximum(heights * (HEIGHT - 4), 1.0), 0.0)  # a single Gaussian among millions is seen
    across = (edges - edges[0]) / (edges[-1] - edges[0]) * WIDTH
    steps = "".join(f"V{HEIGHT - height:.1f}H{x:.1f}" for height, x in zip(visible.tolist(), across[1:].tolist(), strict=True))
    return f"M0 {HEIGHT}{steps}V{HEIGHT}Z"


def _rules() -> str:
    """Faint lines at quarters of the height."""
    lines = "".join(f"M0 {HEIGHT * quarter // 4}H{WIDTH}" for quarter in (1, 2, 3))
    return f'<path d="{lines}" stroke="#fff" stroke-opacity=".07" vector-effect="non-scaling-stroke"/>'


def _axis(low: float, high: float) -> str:
    """Round numbers below the bars, where they belong."""
    places = ticks(low, high)
    step = places[1] - places[0] if len(places) > 1 else high - low
    spans = []
    for value in places:
        along = 100 * (value - low) / (high - low)
        shift = 0 if along < 4 else -100 if along > 96 else -50  # those at the ends stay within the plot
        spans.append(
            f'<span style="position:absolute;top:2px;left:{along:.2f}%;transform:translateX({shift}%)">{label(value, step)}</span>'
        )
    return "".join(spans)


def ticks(low: float, high: float) -> Sequence[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within `low`..`high`, about `LABELS` of them."""
    rough = (high - low) / LABELS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= rough * 0.999), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def label(value: float, step: float) -> str:
    """`value` with the digits that tell it from its neighbours at a distance of `step`."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or step < 1e-4:
        digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9))
        mantissa, exponent = f"{value:.{digits}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def compact(count: int) -> str:
    """`count` in at most three digits: 971 k, 1.2 M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return str(count)
