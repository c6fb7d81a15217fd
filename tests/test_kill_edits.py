"""Programs that edit are killed at random moments. `tools/kill_edits.py` does the same a hundred times."""

from __future__ import annotations

import subprocess
import sys

import kill_edits
from kill_edits import cloud, kill_servers, shown, view_of

from splatview.edit.document import Do, Document, Entry, Jump, Switch
from splatview.edit.operations import Rename
from splatview.viewer.panels.history import listed


def test_a_writer_that_is_killed_has_kept_what_it_told():
    command = [sys.executable, kill_edits.__file__, "--bare", "20"]  # it forks, which a process with threads had better not
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "20 kills" in done.stdout and "nothing lost, nothing torn" in done.stdout, done.stdout + done.stderr


def test_a_server_that_is_killed_has_kept_what_its_page_showed(tmp_path):
    tally = kill_servers(10, tmp_path)
    assert not tally.wrong and tally.kills == 10 and tally.confirmed > 10, tally.wrong


def test_what_the_page_shows_tells_documents_apart():
    """Otherwise the kills would show nothing."""
    document = Document()
    for name in "abcdefghijklmnopqrstuvwxyz":
        document = document.after(Do(Entry.new(Rename(name, name * 2))))
    last = document.entries[-1]
    others = [document.after(Jump(25)), document.after(Switch(last.id, False)), document.after(Do(Entry.new(Rename("x", "y")))), Document()]
    views = [shown(one) for one in (document, *others)]
    assert len(set(views)) == 5 and all(views)
    assert (26, last.id, "now jump") in views[0] and (26, last.id, "jump undone") in views[1] and (26, last.id, "now jump off") in views[2]
    assert view_of(listed(document, 25)) == views[0] and len(cloud(30).layers) == 2
