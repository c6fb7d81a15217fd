"""What was done, by whom and when: any state is a click away, and an operation can be switched off, moved or changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from html import escape

from splatview.edit.document import Document, Entry
from splatview.edit.operations import Grade, Paint, Relight
from splatview.viewer.buttons import Buttons, button, styled
from splatview.viewer.editor import Editor
from splatview.viewer.page import Page
from splatview.viewer.panels.widgets import said
from splatview.viewer.studio import Studio

WINDOW = 15  # rows that are shown at once
EDITABLE = Grade, Paint, Relight


def window(count: int, middle: int, rows: int = WINDOW) -> tuple[int, int]:
    """From which to which place of `count` is shown, so that `middle` is within and no row is wasted."""
    first = max(0, min(middle - rows // 2, count - rows))
    return first, min(count, first + rows)


RULES = """
.splatview-history{padding:0 .6em .3em;font-size:.82em}
.splatview-history>div{display:flex;align-items:center;white-space:nowrap;border-radius:3px;padding:2px 4px;line-height:1.5}
.splatview-history>div:hover{background:#8883}
.splatview-history>.now{background:#56a0ff38!important}
.splatview-history .jump{flex:1;min-width:0;text-align:left;overflow:hidden;text-overflow:ellipsis}
.splatview-history i{font-style:normal;display:inline-block;min-width:1.6em;opacity:.5;margin-right:.6em;text-align:right}
.splatview-history small{opacity:.5;margin-left:.6em;max-width:45%;overflow:hidden;text-overflow:ellipsis}
.splatview-history .undone{opacity:.42}
.splatview-history .off{opacity:.6;text-decoration:line-through}
.splatview-history .tool{display:none;width:1.6em}
.splatview-history div:hover>.tool{display:block}
.splatview-history div:hover>small{display:none}
.splatview-history .more{justify-content:center;opacity:.6}
"""


def listed(document: Document, middle: int, undone: tuple[str, str] = ("", ""), now: float | None = None) -> str:
    """HTML of the operations around the place `middle`, the newest on top: who did what and when, with the buttons of each."""
    end = len(document.entries)
    first, last = window(end, middle)
    rows = [_more(f"{end - last:,} newer", min(last + WINDOW // 2, end - 1))] if last < end else []
    rows += [_row(document, place, now) for place in range(last - 1, first - 1, -1)]
    rows += [_more(f"{first:,} older", max(0, first - WINDOW // 2 - 1))] if first else [_start(document)]
    who, did = undone
    last_step = f'<div class="more">{escape(f"{who} {did}".strip())}</div>' if did else ""
    return styled("splatview-history", RULES, "".join(rows) + last_step)


def _row(document: Document, place: int, now: float | None) -> str:
    entry = document.entries[place]
    look = "undone" if place >= document.cursor else "" if entry.on else "off"
    author, time_of_day = escape(entry.author), clock(entry.at, now)
    label = escape(entry.operation.label)
    jump = button("history jump", str(place + 1), f"<i>{place + 1}</i>{label}", f"jump {look}".strip(), entry.operation.label)
    tools = [
        button("history edit", entry.id, "✎", "tool", "Change its numbers") if isinstance(entry.operation, EDITABLE) else "",
        button("history later", entry.id, "↑", "tool", "Later", place == len(document.entries) - 1),
        button("history sooner", entry.id, "↓", "tool", "Sooner", place == 0),
        button("history switch", entry.id, "●" if entry.on else "○", "tool", "Switch it off" if entry.on else "Switch it on"),
    ]
    by = f"<small>{author} {time_of_day}</small>" if author or time_of_day else ""
    here = ' class="now"' if place == document.cursor - 1 else ""
    return f"<div{here}>{jump}{by}{''.join(tools)}</div>"


def _more(text: str, middle: int) -> str:
    return f'<div class="more">{button("history show", str(middle), escape(text))}</div>'


def _start(document: Document) -> str:
    here = ' class="now"' if document.cursor == 0 else ""
    return f"<div{here}>{button('history jump', '0', '<i>0</i>As it was opened', 'jump')}</div>"


def clock(at: float, now: float | None = None) -> str:
    """The time of day, with the date if that was another day; empty for no time."""
    if not at:
        return ""
    then, today = time.localtime(at), time.localtime(time.time() if now is None else now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


class History:
    """The folder "History"."""

    def __init__(self, page: Page, studio: Studio, editor: Editor, buttons: Buttons, load: Callable[[Entry], object]) -> None:
        self._page, self._world, self._editor, self._buttons, self._load = page, studio.world, editor, buttons, load
        self._middle: int | None = None  # where the person looks; None: at the cursor
        self._shown: Document | None = None
        self._lock = threading.Lock()
        with page.gui.add_folder("History", expand_by_default=False) as self.folder:
            self._list = page.gui.add_html("")
        buttons.on_press("history jump", self._jump)
        buttons.on_press("history show", self._show_around)
        buttons.on_press("history switch", self._switch)
        buttons.on_press("history later", lambda id: self._move(id, +1))
        buttons.on_press("history sooner", lambda id: self._move(id, -1))
        buttons.on_press("history edit", self._edit)
        buttons.on_press("cancel", lambda _: self._world.cancel())
        self.show()

    def show(self, again: bool = False) -> None:
        """Show the list as it is now; where it changed, around the cursor."""
        with self._lock:
            document = self._world.document
            if document is self._shown and not again:
                return
            if document is not self._shown:
                self._middle = None
            self._shown = document
            middle = max(0, document.cursor - 1) if self._middle is None else self._middle
            said(self._list, listed(document, middle, self._world.undone))

    def busy_changed(self) -> None:
        """Say what is being worked at."""
        busy = self._world.busy
        text = None if busy is None else f"{busy.label}: {busy.text}" if busy.text else busy.label
        self._buttons.busy(text, 0.0 if busy is None else busy.fraction)

    # What a page says may be anything: what is not there is passed over.

    def _jump(self, place: str) -> None:
        if place.isdecimal() and int(place) <= len(self._world.document.entries):
            self._editor.told(self._world.jump(int(place), self._editor.author))

    def _show_around(self, place: str) -> None:
        if place.isdecimal() and int(place) < len(self._world.document.entries):
            self._middle = int(place)
            self.show(again=True)

    def _entry(self, id: str) -> Entry | None:
        return next((entry for entry in self._world.document.entries if entry.id == id), None)

    def _switch(self, id: str) -> None:
        entry = self._entry(id)
        if entry is not None:
            self._editor.told(self._world.switch(id, not entry.on, self._editor.author))

    def _move(self, id: str, by: int) -> None:
        entries = self._world.document.entries
        to = next((place for place, entry in enumerate(entries) if entry.id == id), -by) + by
        if self._entry(id) is not None and 0 <= to < len(entries):
            self._editor.told(self._world.reorder(id, to, self._editor.author))

    def _edit(self, id: str) -> None:
        entry = self._entry(id)
        if entry is not None and isinstance(entry.operation, EDITABLE):
            self._load(entry)
