"""Figures of `splatview bench --models` for people: a table, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from splatview.cli.modelling import MANY, Row

BAR = 24  # characters
STYLES = (("█", "cyan"), ("▓", "magenta"), ("▒", "yellow"), ("░", "green"))  # of stages, the longest first
OTHERS = ("·", "bright_black")
LEAST = 0.01  # of a frame: what is shorter is not named


def print_rows(rows: Sequence[Row]) -> None:
    """The table, then a bar for each row."""
    console = Console()
    table = Table("", box=SIMPLE_HEAD)
    held = any(row.psnr is not None for row in rows)
    for title in ("size", "fps", "latency", *(("PSNR", "SSIM") if held else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        if row.frame_ms is None or row.latency_ms is None:
            table.add_row(row.what, row.size)
            continue
        quality = ("" if row.psnr is None else f"{row.psnr:.1f} dB", "" if row.ssim is None else f"{row.ssim:.3f}")
        table.add_row(row.what, row.size, f"{1000 / row.frame_ms:.3g}", _time(row.latency_ms), *(quality if held else ()))
    console.print(table)
    if held:
        print(f"PSNR and SSIM: to {MANY} steps of the same model, from the same picture and noise\n")
    width = max(len(row.what) for row in rows)
    for row in rows:
        console.print(Text(f"{row.what:<{width}}  ").append_text(_explained(row)), soft_wrap=True)


def _explained(row: Row) -> Text:
    """A bar, and what its parts are; or why there is none."""
    if not row.stages_ms:
        return Text(row.note, "bright_black")
    stages = sorted(row.stages_ms.items(), key=lambda item: -item[1])
    looks = {name: STYLES[place] if place < len(STYLES) else OTHERS for place, (name, _) in enumerate(stages)}
    whole = sum(row.stages_ms.values())
    text = bar(row.stages_ms, looks)
    for name, spent in stages:
        if spent >= LEAST * whole:
            text.append("  ").append(*looks[name])
            text.append(f" {name} {f'{row.calls} x ' if name == 'denoise' and row.calls > 1 else ''}")
            text.append(_time(spent / (row.calls if name == "denoise" and row.calls else 1)))
    if row.text_ms is not None:
        text.append(f"  (text {_time(row.text_ms)} once)")
    return text


def bar(stages_ms: Mapping[str, float], looks: Mapping[str, tuple[str, str]]) -> Text:
    """Shares of a whole as BAR characters, the longest first: each has as many as its share, to the nearest."""
    whole, text, before, ends = sum(stages_ms.values()), Text(), 0.0, 0
    for name, spent in sorted(stages_ms.items(), key=lambda item: -item[1]):
        before += spent
        end = round(BAR * before / whole) if whole else 0
        text.append(looks[name][0] * (end - ends), looks[name][1])
        ends = end
    return text


def _time(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3g} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"
