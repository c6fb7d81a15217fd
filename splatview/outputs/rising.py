"""Times that rise, whatever a file says."""

from __future__ import annotations

from dataclasses import dataclass

JUMP = 1  # second: what goes back by more is not one that comes late, but files that were put together


@dataclass
class Rising:
    """Times of a stream, as whole numbers of a unit that goes `second` times into a second.

    One that does not rise comes `least` after the one before. Where times jump back, they and all that follow go on as if they had not.
    """

    second: float
    least: int = 1
    _last: int | None = None
    _shift: int = 0

    def of(self, time: int | None, step: int) -> int:
        """`time`, set right; None: nobody knows it. `step`: how long one lasts, about."""
        if self._last is None:
            self._last = 0 if time is None else time
            return self._last
        now = self._last + step if time is None else time + self._shift
        if now < self._last - JUMP * self.second:
            self._shift += self._last + step - now
            now = self._last + step
        self._last = max(now, self._last + self.least)
        return self._last
