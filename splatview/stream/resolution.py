"""How large and how good a moving picture may be: pure policies, called once per picture."""

from __future__ import annotations

LEAST = 0.25
STEPS = 32  # sizes are whole steps, so that a renderer meets few different ones
EASE = 0.85  # aim a little below the budget: above it, a picture is late at once


def next_scale(scale: float, frame_ms: float, budget_ms: float) -> float:
    """The render scale (0.25..1 of full width) that should fit the next frame into the budget.

    The cost of a frame is taken to grow with its pixels. Too slow shrinks at once; fast enough grows in small steps,
    and only where the larger size is expected to fit, so that the size does not swing.
    """
    fitting = scale * (EASE * budget_ms / max(frame_ms, 1e-3)) ** 0.5
    if frame_ms > budget_ms:
        wanted = fitting
    elif fitting > scale:
        wanted = min(fitting, scale * 1.15 + 1 / STEPS)
    else:
        wanted = scale  # between the aim and the budget: leave it
    return min(1.0, max(LEAST, int(wanted * STEPS + 1e-6) / STEPS))


def next_link_scale(scale: float, ack_ms: float, wanted_ms: float) -> float:
    """The largest scale (0.5..1) that the link and the page should be given, from how long they took to show pictures lately.

    Three steps, far apart: a page that draws in software stalls when the size changes.
    """
    if ack_ms > wanted_ms:
        return max(0.5, scale / 2**0.5)
    return min(1.0, scale * 2**0.5) if ack_ms < wanted_ms / 3 else scale


def next_quality(quality: float, ack_ms: float, best: int) -> float:
    """The JPEG quality (40..`best`) for the next moving picture, from how long the last one took to arrive and be shown."""
    if ack_ms > 150:
        quality -= 5
    elif ack_ms < 100:
        quality += 2
    return min(float(best), max(min(40.0, best), quality))
