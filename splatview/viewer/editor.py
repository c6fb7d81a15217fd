"""What one person does to the document: strokes become queries, buttons operations, and what cannot be done is said in their page."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from splatview.edit.operations import AnyOperation
from splatview.edit.select import AnyQuery, How
from splatview.edit.state import State
from splatview.viewer.page import Page
from splatview.viewer.world import World


class Editor:
    """One person's hands on the world. Callbacks call it and never wait; the futures tell how it went."""

    def __init__(self, page: Page, world: World, author: str) -> None:
        self.author = author
        self._page = page
        self._world = world

    def do(self, operation: AnyOperation, gesture: object = None) -> Future[State]:
        """Append an operation."""
        return self._told(self._world.do(operation, self.author, gesture))

    def edit(self, what: Callable[[State], AnyOperation | None], gesture: object = None) -> Future[State]:
        """Append the operation that `what` makes of the state then; None: do nothing."""
        return self._told(self._world.edit(what, self.author, gesture))

    def select(self, query: AnyQuery, how: How = "set") -> Future[State]:
        """Select what `query` finds."""
        return self._told(self._world.select(query, how, self.author))

    def undo(self) -> Future[State]:
        return self._told(self._world.undo(self.author))

    def redo(self) -> Future[State]:
        return self._told(self._world.redo(self.author))

    def told(self, done: Future[State]) -> Future[State]:
        """Say in the page what is wrong, should `done` fail."""
        return self._told(done)

    def _told(self, done: Future[State]) -> Future[State]:
        done.add_done_callback(self._say)
        return done

    def _say(self, done: Future[State]) -> None:
        error = CancelledError() if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, CancelledError):
            self._page.notify("Not done", str(error) or type(error).__name__)
