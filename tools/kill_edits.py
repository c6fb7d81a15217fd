"""Kill programs that edit, at random moments: nothing that was confirmed may be lost, and nothing torn loaded.

    python tools/kill_edits.py --bare 300     # a process that only edits and journals
    python tools/kill_edits.py --server 100   # `splatview view`, edited through its page

Every round begins where the last one was killed. Only processes that were started here are killed, each by its id.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from scripted_client import ScriptedClient

from splatview import Gaussians, Scene, load, save
from splatview.arrays import Floats
from splatview.edit import journal
from splatview.edit.document import Document, Jump, Reorder, Switch, decode, decode_change, encode
from splatview.edit.editing import Editing
from splatview.edit.grade import Grading
from splatview.edit.journal import Journal
from splatview.edit.operations import CapDegree, Delete, Grade, Hide, Place, Restore, Select, ShowHidden, ShowLayer
from splatview.edit.select import Current, Everything, Not, Range, Selection, Tools
from splatview.edit.state import State
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.panels.history import listed

ARRAYS = ("means", "quats", "log_scales", "opacity_logits", "sh")
KINDS = ("selected", "hidden", "locked", "deleted")
SMALL = 600  # Gaussians


@dataclass
class Tally:
    """What was found."""

    kills: int = 0
    changes: int = 0  # in the journals when their writers were killed
    confirmed: int = 0
    beyond: int = 0  # were on the disk and not yet confirmed
    cut: int = 0  # kills in the middle of a record
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        result = "nothing lost, nothing torn" if not self.wrong else f"{len(self.wrong)} WRONG: {self.wrong[0]}"
        return (
            f"{self.kills} kills, {self.confirmed} changes confirmed, {self.beyond} more on the disk, {self.cut} records cut off: {result}"
        )


def cloud(count: int = 3000) -> Scene:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, np.float32)

    splats = Gaussians(normal(count, 3), normal(count, 4), normal(count, 3) - np.float32(3), normal(count), normal(count, 4, 3))
    return Scene({"cloud": Layer(splats), "half": Layer(splats.take(np.arange(count // 2)), Similarity(translation=(3.0, 0.0, 0.0)))})


def numbers_of(state: State) -> int:
    """A digest of everything in a state."""
    layers = [
        (name, layer.placement, layer.visible, *(getattr(layer.content, array).tobytes() for array in ARRAYS))
        for name, layer in state.scene.layers.items()
    ]
    masks = [sorted((name, mask.tobytes()) for name, mask in getattr(state, kind).items()) for kind in KINDS]
    return zlib.crc32(repr((layers, masks)).encode())


def documents_in(path: Path) -> tuple[list[Document], bool]:
    """The documents that a journal tells of, one after another, and whether something behind them is torn."""
    documents: list[Document] = []
    whole = len(journal.HEAD)
    with path.open("rb") as file:
        for text, end in journal._records(file):
            data, whole = json.loads(text), end
            documents.append(documents[-1].after(decode_change(data)) if documents else decode(data))
    return documents, path.stat().st_size > whole


def no_tools() -> Tools:
    def nothing(*_: object) -> Any:
        raise ValueError("nothing is drawn or read here")

    return Tools(nothing, nothing)


# A process that only edits.


def operation(chance: random.Random) -> Any:
    return chance.choice(
        [
            Select(Selection(Everything())),
            Select(Selection(Range("x", chance.uniform(-2, 0), chance.uniform(0, 2)))),
            Select(Selection(Not(Current()))),
            Delete(),
            Restore(),
            Hide(),
            ShowHidden(),
            Grade(Grading(exposure=chance.uniform(-0.1, 0.1))),
            CapDegree(1),
            Place("cloud", Similarity(translation=(chance.uniform(-1, 1), 0.0, 0.0))),
            ShowLayer("half", chance.random() < 0.5),
        ]
    )


def write(path: Path, chance: random.Random, out: TextIO) -> None:
    """Edit for ever; tell of each change once it is on the disk."""
    kept = Journal(path)
    start = kept.document or Document()
    if kept.document is None or len(start.entries) > 60:
        start = Document()
        kept.begin(start)
    editing = Editing(State(cloud(SMALL)), no_tools(), start, kept.record)
    print(len(start.entries), start.cursor, numbers_of(editing.state), file=out, flush=True)
    while True:
        entries = editing.document.entries
        try:
            if not entries or chance.random() < 0.7:
                editing.do(operation(chance), "writer")
            else:
                id = chance.choice(entries).id
                change = [Jump(chance.randrange(len(entries) + 1)), Switch(id, chance.random() < 0.5), Reorder(id, len(entries) - 1)]
                editing.change(chance.choice(change))
        except ValueError:
            continue
        print(len(editing.document.entries), editing.document.cursor, numbers_of(editing.state), file=out, flush=True)


def told_until_killed(path: Path, chance: random.Random) -> list[str]:
    """What a process told that was killed a moment after it began."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)  # so that it ends if nobody listens any more
            write(path, chance, os.fdopen(writing, "w"))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = [told.readline()]
        time.sleep(chance.uniform(0, 0.3))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return [line for line in [*lines, *told.read().splitlines(keepends=True)] if line.endswith("\n")]


def kill_writers(kills: int, folder: Path, seed: int = 0) -> Tally:
    """Kill a writer `kills` times, each time a moment after it began."""
    tally, path = Tally(), folder / "edits.journal"
    start = State(cloud(SMALL))
    for number in range(kills):
        told = told_until_killed(path, random.Random(f"{seed} {number}"))
        documents, torn = documents_in(path)
        tally.kills, tally.cut = tally.kills + 1, tally.cut + torn
        tally.changes, tally.confirmed = tally.changes + len(documents), tally.confirmed + len(told) - 1
        # The writer goes on in the journal that it finds: the last documents are those that it told of, and at most one more.
        where = [(len(one.entries), one.cursor) for one in documents]
        wanted = [tuple(map(int, line.split()[:2])) for line in told]
        fits = [after for after in (0, 1) if where[len(where) - after - len(wanted) : len(where) - after] == wanted]
        if not fits:
            tally.wrong.append(f"kill {number}: told of {wanted[-3:]}, found {where[-3:]}")
            continue
        tally.beyond += fits[0]
        last = documents[-1 - fits[0]]
        if numbers_of(Editing(start, no_tools(), last).state) != int(told[-1].split()[2]):
            tally.wrong.append(f"kill {number}: the state is another than the one that was told of")
        read = Journal(path)
        read.close()
        if read.document is None or encode(read.document) != encode(documents[-1]):
            tally.wrong.append(f"kill {number}: another document was read than is in the journal")
    return tally


# A server, through its page.

View = tuple[tuple[int, str, str], ...]


def view_of(text: str) -> View:
    """What the history in a page shows: place, id and kind of each row, in order."""
    rows: list[tuple[int, str, str]] = []
    place, kind = 0, ""
    for found in re.finditer(r'<div class="now">|<button data-splatview-press="([^"]*)"( class="([^"]*)")?', text):
        if found[1] is None:
            kind = "now "
            continue
        name, value = json.loads(html.unescape(found[1]))
        if name == "history jump":
            place, kind = int(value), kind + (found[3] or "")
            if place == 0:
                rows.append((0, "", kind))
        elif name == "history switch":
            rows.append((place, value, kind))
            kind = ""
    return tuple(rows)


def shown(document: Document) -> View:
    """What the history in a page shows of a document."""
    return view_of(listed(document, max(0, document.cursor - 1)))


class Person(ScriptedClient):
    """A client that notes every history that its page showed."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.views: list[View] = []

    async def _heed(self, message: dict[str, Any]) -> None:
        await super()._heed(message)
        if message["type"].startswith("Gui"):
            text = message.get("updates", {}).get("content") or message.get("props", {}).get("content") or ""
            if isinstance(text, str) and "history jump" in text and (not self.views or view_of(text) != self.views[-1]):
                self.views.append(view_of(text))

    def widget(self, prefix: str) -> str | None:
        return next((label for label in self.widgets if label.startswith(prefix)), None)

    async def act(self, chance: random.Random) -> None:
        """Do something that a person may do."""
        value = chance.uniform(-1, 1)
        match chance.randrange(12):
            case 0:
                await self.set("Whole", chance.choice(["All", "Invert", "None"]))
            case 1 | 2 | 3:
                await self.set("Expression", f"x > {value:.3f}")
                await self.set("Where it holds", chance.choice(["Set", "Add", "Remove", "Intersect"]))
            case 4:
                await self.set("Selected", chance.choice(["Delete", "Hide", "Lock"]))
            case 5:
                await self.set("Bring back", chance.choice(["Deleted", "Hidden", "Locked"]))
            case 6:
                row = chance.choice([label for label in ("cloud", "half") if label in self.widgets])
                await self.set(row, not self.widgets[row][1]["value"])
            case 7:
                await self.set("Position", [value, 0.0, 0.0])
            case 8:
                await self.set("Exposure", round(value, 2))
                await self.press("Apply grade")
            case 9 | 10:
                await self.trigger(chance.choice(["Undo", "Redo"]))
            case _:
                ids = [id for _, id, _ in (self.views[-1] if self.views else ()) if id]
                if ids:
                    await self.send("ButtonPressed", name="history switch", value=chance.choice(ids))


@dataclass
class Server:
    """A `splatview view` of its own."""

    files: list[Path]
    home: Path

    def __enter__(self) -> Server:
        words = [
            sys.executable,
            "-m",
            "splatview",
            "view",
            *map(str, self.files),
            "--port",
            "0",
            "--no-open",
            "--up",
            "z",
            "--backend",
            "cpu",
        ]
        environment = os.environ | {"XDG_STATE_HOME": str(self.home)}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout
        line = self.process.stdout.readline()
        if "http://" not in line:
            raise RuntimeError(f"the viewer did not start: {line} {self.process.communicate()[1]}")
        self.url = re.findall(r"http://\S+", line)[0]
        return self

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.communicate()


def journal_in(home: Path) -> Path:
    [path] = (home / "splatview" / "journals").glob("*.journal")
    return path


async def one_round(server: Server, chance: random.Random, found: Document | None, tally: Tally) -> list[View]:
    """Recover what was found, edit, and kill the server meanwhile; what the page showed."""
    async with Person.connect(server.url, width=160, height=90) as page:
        await page.orbit(0.5)
        await page.until(lambda: page.views and "Apply grade" in page.widgets and "half" in page.widgets and page.arrivals, 30)
        if found is not None and found.entries:
            label = await page.until(lambda: page.widget("Recover "), 10)
            if f" {len(found.entries)} " not in label:
                tally.wrong.append(f"{len(found.entries)} operations are in the journal, and the page says {label!r}")
            await page.press(label)
            await page.until(lambda: page.views[-1] == shown(found), 20)
            page.views = page.views[-1:]
            chosen = Editing(State(as_opened(server.files)), no_tools(), found).state.selected_count
            text = f"{chosen:,} splats" if chosen else "Nothing is selected."
            await page.until(lambda: any(text in str(properties.get("content")) for _, properties in page.widgets.values()), 10)
        loop = asyncio.get_running_loop()
        loop.call_later(chance.uniform(0.05, 1.2), server.kill)
        hurry = chance.random() < 0.5
        with suppress(ConnectionError, KeyError):  # it is gone
            while server.process.poll() is None:
                before = len(page.views)
                await page.act(chance)
                if hurry:
                    await asyncio.sleep(chance.uniform(0, 0.02))
                else:
                    await wait_a_little(page, lambda before=before: len(page.views) > before)
        await asyncio.sleep(0.05)  # what is on its way
        return page.views


async def wait_a_little(page: Person, true: Callable[[], bool]) -> None:
    with suppress(TimeoutError, ConnectionError):
        await page.until(true, 0.3)


def as_opened(files: list[Path]) -> Scene:
    scene = Scene()
    for file in files:
        scene = scene.joined(load(file).read_from(str(file.resolve())))
    return scene


def kill_servers(kills: int, folder: Path, seed: int = 0) -> Tally:
    """Kill a server `kills` times while somebody edits in its page, and recover what it left each time."""
    tally, chance = Tally(), random.Random(seed)
    files, home, found = [], folder / "state", None
    for name, layer in cloud().layers.items():
        files.append(folder / f"{name}.ply")
        save(Scene({name: layer}), files[-1])
    for number in range(kills):
        if found is not None and len(found.entries) > 80:  # begin again: a replay takes its time
            found, home = None, folder / f"state-{number}"
        with Server(files, home) as server:
            views = asyncio.run(one_round(server, chance, found, tally))
        tally.kills += 1
        if not list((home / "splatview").glob("journals/*.journal")):
            if any(id for view in views for _, id, _ in view):
                tally.wrong.append(f"kill {number}: there is no journal")
            continue
        documents, torn = documents_in(journal_in(home))
        tally.cut, tally.changes = tally.cut + torn, tally.changes + len(documents)
        # Every history that the page showed is that of a document in the journal, in this order.
        at, at_last = 0, [shown(document) for document in documents]
        for view in views:
            while at < len(at_last) and at_last[at] != view:
                at += 1
            if at == len(at_last):
                tally.wrong.append(f"kill {number}: the page showed what the journal does not hold: {view[:3]}")
                break
        tally.confirmed += len(views) - 1
        tally.beyond += max(0, len(at_last) - 1 - at)
        found = documents[-1]
        if not found.entries:
            found = None
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", type=int, default=0, metavar="KILLS")
    parser.add_argument("--server", type=int, default=0, metavar="KILLS")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    wrong = False
    for name, kills, kill in (("bare", flags.bare, kill_writers), ("server", flags.server, kill_servers)):
        if kills:
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                tally = kill(kills, Path(folder), flags.seed)
                print(f"{name}: {tally} ({time.monotonic() - began:.0f} s)")
                for text in tally.wrong:
                    print(f"  {text}")
                wrong = wrong or bool(tally.wrong)
    raise SystemExit(wrong)


if __name__ == "__main__":
    main()
