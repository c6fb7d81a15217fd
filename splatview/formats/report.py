"""What a reader or a writer has to say while it works."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]  # how far, 0..1, and what is being done


class Report:
    """Collects notes for people, and passes on how far the work is."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.notes: list[str] = []
        self.span = (0.0, 1.0)  # the part of the whole work that is being done now
        self._progress = progress

    def note(self, text: str) -> None:
        """Tell people about something that was lost or guessed; the same note is kept once."""
        if text not in self.notes:
            self.notes.append(text)

    def progress(self, fraction: float, text: str) -> None:
        """Tell how much (0..1) of the present part is done."""
        if self._progress is not None:
            start, end = self.span
            self._progress(start + (end - start) * fraction, text)
