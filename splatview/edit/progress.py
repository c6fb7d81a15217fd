"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]  # a share of 0..1, which rises, and what is being done; whatever it raises ends the work


def silent(share: float, text: str) -> None:
    """Nobody wants to know."""


def rising(progress: Progress) -> Progress:
    """The same, but a share that is smaller than one before it is told as that one."""
    highest = 0.0

    def tell(share: float, text: str) -> None:
        nonlocal highest
        highest = max(highest, share)
        progress(highest, text)

    return tell
