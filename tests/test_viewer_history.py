"""The folder History, and what takes long; and that nothing a page says is in anybody else's way."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import threading
import time
from html import unescape

import pytest
from edit_visits import edited, told
from hypothesis import given
from hypothesis import strategies as st
from scripted_client import ScriptedClient
from test_viewer import scripted
from test_viewer_panels import ready, seen, value

from splatview.edit.document import Document, Entry
from splatview.edit.operations import Rename, ShowLayer
from splatview.edit.select import OfLayer
from splatview.viewer.panels.history import WINDOW, clock, listed, window
from splatview.viewer.world import Cancelled


@pytest.fixture
def viewer(tmp_path):
    with edited(tmp_path) as running:
        yield running


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 20))
def test_the_window_holds_its_middle_and_wastes_no_row(count, middle, rows):
    first, last = window(count, middle, rows)
    assert 0 <= first <= last <= count and last - first == min(rows, count)
    assert not count or first <= min(middle, count - 1) < last


def described(html):
    """What a list says: the buttons by their names and values, and the text."""
    pressed = [json.loads(unescape(one)) for one in re.findall(r'data-splatview-press="([^"]*)"', html)]
    return pressed, re.sub(r"<style>[^<]*</style>|<[^>]*>", " ", html)


def test_the_list_is_short_says_who_and_when_and_trusts_no_name():
    author = "<img onerror=alert(1)>"
    entries = tuple(Entry(Rename("a", f"<b>{n}</b>"), author, 1e9 + n, f"id{n}", on=n != 49) for n in range(100))
    html = listed(Document((), entries, 50), 49, ("person 2", "undid 'Delete' of <u>"), now=1e9)
    assert "<img" not in html and "<b>" not in html and "<u>" not in html and "onerror=alert(1)&gt;" in html
    pressed, text = described(html)
    assert len([one for one in pressed if one[0] == "history jump"]) == WINDOW
    assert ["history jump", "50"] in pressed and ["history switch", "id49"] in pressed and "older" in text and "newer" in text
    assert 'class="jump off"' in html and 'class="jump undone"' in html and "person 2 undid" in text and clock(1e9 + 49, 1e9) in text
    assert len(html) < 15_000
    assert "As it was opened" in listed(Document(), 0) and clock(0.0) == "" and "2001-09-09" in clock(1e9, 2e9)


def test_a_page_jumps_switches_moves_and_cancels(viewer):
    names = ["a", "b", "c"]
    for old, new in itertools.pairwise(["ball", *names]):
        viewer.world.do(Rename(old, new), "somebody").result()
    ids = [entry.id for entry in viewer.world.document.entries]

    async def script(client):
        await ready(client, "Download")

        async def press(name, value):
            await client.send("ButtonPressed", name=name, value=value)

        await client.until(lambda: told(client, "Rename b to c"))
        await press("history jump", "1")
        await seen(lambda: viewer.world.document.cursor == 1 and "a" in viewer.scene.layers)
        for name, wrong in (("history jump", "99"), ("history jump", "-1"), ("history switch", "none"), ("history later", ids[2])):
            await press(name, wrong)
        for bad in (None, 5, [], {"a": 1}, "x" * 1000):
            await press("history jump", bad)
            await press(bad, "1")
        await press("history jump", "3")
        await seen(lambda: viewer.world.document.cursor == 3)
        await press("history switch", ids[0])  # the later ones would not work
        await client.until(lambda: told(client, "would no longer work"))
        await press("history switch", ids[2])
        await seen(lambda: "b" in viewer.scene.layers)
        await client.until(lambda: told(client, "person 1 switched off"))
        await press("history switch", ids[2])
        await seen(lambda: "c" in viewer.scene.layers)
        await press("history sooner", ids[1])
        await client.until(lambda: sum("would no longer work" in text for _, text in client.notices.values()) == 2)
        await press("history edit", ids[1])  # a rename has no numbers
        viewer.world.do(ShowLayer("c", False)).result()
        viewer.world.do(ShowLayer("twin", True)).result()
        last = viewer.world.document.entries[-1].id
        await press("history sooner", last)
        await seen(lambda: viewer.world.document.entries[3].id == last)
        viewer.world.undo("somebody else").result()
        await client.until(lambda: told(client, "somebody else undid"))

    scripted(viewer, script)
    assert [entry.on for entry in viewer.world.document.entries] == [True] * 5


def test_what_takes_long_is_shown_and_can_be_cancelled(viewer):
    began = threading.Event()

    def long():
        began.set()
        for step in range(2000):
            viewer.world.tools.progress(step / 2000, "going on")
            time.sleep(0.01)

    async def script(client):
        await ready(client, "Download")
        running = viewer.world.call(long, "A long thing")
        await client.until(lambda: any("A long thing: going on" in one for one in client.scripts))
        await client.send("ButtonPressed", name="cancel", value="")
        await client.until(lambda: client.scripts[-1].endswith("busy(null, 0.000)") or "busy(null" in "".join(client.scripts[-3:]))
        with pytest.raises(Cancelled):
            await asyncio.to_thread(running.result)

    scripted(viewer, script)
    assert viewer.world.busy is None


NONSENSE = ("nonsense", "", "Lamp x", "9" * 50)


def test_what_a_page_says_is_in_nobody_elses_way(viewer, caplog):
    choices = ["Format", "spz version", "Max SH degree", "What", "Find", "Seen from", "Lamp", "Within", "Histogram of", "Path"]
    choices.append("Document file")
    numbers = ["Exposure", "Opacity", "Hue shift", "Azimuth", "Sun strength", "Lamp reach", "Simplify to", "Lonely within", "New amount"]
    buttons = ["Download", "Write on the server", "Save", "Apply grade", "Preview lights", "Add lights", "Simplify", "Reset grade"]

    async def script(client):
        async with ScriptedClient.connect(viewer.url) as other:
            await other.orbit(1.0)
            await ready(client, "Lamp reach")
            await ready(other, "Lamp reach")
            for text in NONSENSE:
                for label in choices:
                    await client.set(label, text)
                for label in ("What is found", "Lamps", "This paint", "Replace the file?", "Replace the document?"):
                    await client.set(label, text)
            for number in (math.nan, math.inf, -1e300, 0.0):
                for label in numbers:
                    await client.set(label, number)
                for label in ("Tint", "Black and white", "Lamp position"):
                    await client.set(label, [number] * len(value(client, label)))
                for label in buttons:
                    await client.press(label)
            await client.set("Splat scale", 0.5)
            await client.until(lambda: any(session.view.splat_scale == 0.5 for session in viewer.sessions), 60)  # all has arrived
            await asyncio.wrap_future(viewer.world.do(ShowLayer("twin", True)))  # after all that was pressed
            await asyncio.wrap_future(viewer.world.select(OfLayer("twin")))
            await other.until(lambda: told(other, "50 selected"), 60)
            await client.set("Exposure", 0.0)
            await client.until(lambda: told(client, "Grades the 50 selected"))

    scripted(viewer, script)
    assert not [record for record in caplog.records if "could not show" in record.message]
