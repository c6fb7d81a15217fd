"""What the last two seconds of a stream were like."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 2.0  # seconds


@dataclass(frozen=True)
class Snapshot:
    """Figures for people."""

    fps: float  # pictures per second, over the last ones sent; 0 at rest
    sent: int  # pictures since the start
    dropped: int  # requests that a newer one replaced before they were drawn
    lost: int  # pictures that nobody acknowledged in time
    ack_ms: float  # from sending a picture to the page's word that it shows it
    bytes_per_second: float = 0.0  # of pictures, over the window
    at: float = 0.0  # when this was so, seconds


class Stats:
    """Counts pictures; times are seconds of whatever clock the caller has."""

    def __init__(self) -> None:
        self._sent_at: deque[float] = deque()
        self._carried: deque[tuple[float, int]] = deque()
        self.sent = 0
        self.lost = 0
        self.ack_ms = 0.0  # smoothed; 0: unknown yet

    def picture(self, now: float) -> None:
        """A picture was sent."""
        self.sent += 1
        self._sent_at.append(now)
        while self._sent_at[0] < now - WINDOW:
            self._sent_at.popleft()

    def carried(self, size: int, now: float) -> None:
        """A picture of `size` bytes went out."""
        self._carried.append((now, size))
        while self._carried[0][0] < now - WINDOW:
            self._carried.popleft()

    def acknowledged(self, milliseconds: float) -> None:
        self.ack_ms = milliseconds if not self.ack_ms else 0.7 * self.ack_ms + 0.3 * milliseconds

    def snapshot(self, now: float, dropped: int) -> Snapshot:
        recent = [at for at in self._sent_at if at >= now - WINDOW]
        span = recent[-1] - recent[0] if len(recent) > 1 else 0.0
        rate = sum(size for at, size in self._carried if at >= now - WINDOW) / WINDOW
        return Snapshot((len(recent) - 1) / span if span else 0.0, self.sent, dropped, self.lost, self.ack_ms, rate, now)
