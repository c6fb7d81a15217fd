"""What outlives the viewer, and what happens when the file that holds it is broken."""

from __future__ import annotations

import json
import logging
import math
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_viewer_world import dots

from splatview import Camera, Scene
from splatview.geometry import Similarity
from splatview.scene import Layer
from splatview.viewer.remembered import LARGEST, MOST, Bookmark, Memory, Remembered, Standing, state_folder


@pytest.fixture(autouse=True)
def state_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def view(name="View 1"):
    camera = Camera.look_at((1, -4, 2), (0.5, 0, 0), (0, 0, 1), 0.7, 640, 360)
    return Bookmark.of(name, camera, (0.5, 0.0, 0.0)), camera


def the_file(folder):
    [path] = (folder / "splatview" / "scenes").iterdir()
    return path


def test_what_was_set_is_there_again_and_only_for_this_scene():
    bookmark, _ = view()
    placement = Similarity((0.4, 0.1, -0.8, 0.3), (1, 2, 3), 2.5)
    scene = Scene({"garden": Layer(dots(), source="/a/garden.ply"), "free": Layer(dots())})
    first = Remembered("/a/garden.ply")
    first.set("Splat scale", 0.5)
    first.set("Background", (255, 0, 10))
    first.set_bookmarks((bookmark,))
    first.note(scene.placed("garden", placement).placed("free", placement))
    first.close()
    again = Remembered("/a/garden.ply")
    assert again.memory == Memory(
        {"Splat scale": 0.5, "Background": [255, 0, 10]}, (bookmark,), {"/a/garden.ply": Standing("garden", placement)}
    )
    restored = again.restored(scene)
    assert restored.layers["garden"].placement == placement and restored.layers["free"].placement == Similarity()
    assert Remembered("/another").memory == Memory() == Remembered().memory


def test_a_renamed_layer_has_its_name_again():
    scene = Scene({"a": Layer(dots(), source="/a.ply"), "b": Layer(dots(), source="/b.ply")})
    remembered = Remembered("x")
    remembered.note(Scene({"stage": scene.layers["a"], "b": scene.layers["b"]}))
    assert list(remembered.restored(scene).layers) == ["stage", "b"]
    twice = Scene({"a": scene.layers["a"], "a 2": scene.layers["a"]})  # which of them was it?
    assert remembered.restored(twice) == twice


def test_a_bookmark_is_the_camera_that_it_was_made_of():
    bookmark, camera = view()
    back = bookmark.camera(640, 360)
    assert np.allclose(back.camera_from_world, camera.camera_from_world) and np.allclose(back.K, camera.K)


def test_without_a_key_nothing_is_written(state_home):
    remembered = Remembered()
    remembered.set("Splat scale", 0.5)
    remembered.set_bookmarks((view()[0],))
    remembered.close()
    assert remembered.memory.bookmarks and not remembered.memory.settings and not list(state_home.iterdir())


def test_nothing_is_written_where_nothing_was_changed(state_home):
    Remembered("x").close()
    assert not list(state_home.iterdir())


def test_it_is_written_by_itself_after_a_while(state_home, monkeypatch):
    monkeypatch.setattr("splatview.viewer.remembered.DELAY", 0.05)
    remembered, written = Remembered("x"), threading.Event()
    write = remembered._write
    monkeypatch.setattr(remembered, "_write", lambda: (write(), written.set()))
    remembered.set("Splat scale", 0.5)
    remembered.set("Splat scale", 0.6)
    assert written.wait(5) and Remembered("x").memory.settings == {"Splat scale": 0.6}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"splatview": 99, "settings": {}, "bookmarks": [], "layers": {}}',
        b'{"splatview": 1, "settings": [], "bookmarks": [], "layers": {}}',
        b'{"splatview": 1, "settings": {}, "bookmarks": [1], "layers": {}}',
        b'{"splatview": 1, "settings": {"a": NaN}, "bookmarks": [], "layers": {}}',
        b'{"splatview": 1, "settings": {}, "bookmarks": [], "layers": {"a": {"name": "b", "placement": {"scale": -1}}}}',
        b"[" * 100_000,
        b" " * (LARGEST + 1),
    ],
    ids=lambda content: repr(content[:60]),
)
def test_a_file_that_is_not_ours_is_left_out_and_said_so(content, state_home, caplog):
    first = Remembered("x")
    first.set("a", 1)
    first.close()
    the_file(state_home).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = Remembered("x")
    assert again.memory == Memory() and "not read" in caplog.text
    again.set("a", 2)  # and is replaced
    again.close()
    assert Remembered("x").memory.settings == {"a": 2}


NUMBER = st.one_of(st.floats(), st.integers(-(10**400), 10**400), st.none(), st.text(max_size=3))


@settings(max_examples=60)
@given(st.lists(NUMBER, min_size=3, max_size=4), st.lists(NUMBER, min_size=4, max_size=4), NUMBER, NUMBER)
def test_no_numbers_of_a_file_make_a_view_that_cannot_be_drawn(position, quat, fov, scale):
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    first = Remembered("fuzz")
    bookmark = {"name": "a", "position": position, "quat": quat, "look_at": [0, 0, 0], "fov_y": fov}
    layer = {"name": "b", "placement": {"quat": quat, "translation": position[:3], "scale": scale}}
    content = {"splatview": 1, "settings": {}, "bookmarks": [bookmark], "layers": {"/b": layer}}
    first._path.write_text(json.dumps(content))
    memory = Remembered("fuzz").memory
    for kept in memory.bookmarks:
        assert np.isfinite(kept.camera(64, 64).camera_from_world).all() and 0 < kept.fov_y < math.pi
    for standing in memory.layers.values():
        assert np.isfinite(standing.placement.matrix).all()


def test_two_viewers_of_a_scene_leave_a_whole_file(state_home):
    many = [Remembered("x") for _ in range(2)]

    def write(which):
        for step in range(40):
            many[which].set("a", [which, step])
            many[which]._write()

    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in many:
        one.close()
    assert Remembered("x").memory.settings["a"][1] == 39 and the_file(state_home)  # one file, no leftovers


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_no_fault(state_home, caplog):
    state_home.chmod(0o500)
    closed_folder(caplog)
    state_home.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_no_fault(state_home, caplog):
    (state_home / "splatview").write_text("in the way")
    closed_folder(caplog)


def closed_folder(caplog):
    with caplog.at_level(logging.WARNING):
        remembered = Remembered("x")
        remembered.set("a", 1)
        remembered.close()
    assert "not remembered" in caplog.text and remembered.memory.settings == {"a": 1}


def test_the_file_is_bounded(state_home, caplog):
    remembered = Remembered("x")
    with pytest.raises(ValueError, match=f"at most {MOST} bookmarks"):
        remembered.set_bookmarks(tuple(view(str(number))[0] for number in range(MOST + 1)))
    remembered.set("a", "x" * LARGEST)
    with caplog.at_level(logging.WARNING):
        remembered.close()
    assert "at most" in caplog.text and not list(state_home.iterdir())


def test_many_files_do_not_make_it_grow():
    remembered = Remembered()
    for number in range(300):
        remembered.note(Scene({"a": Layer(dots(1), source=f"/{number}")}))
    assert len(remembered.memory.layers) == 100 and "/299" in remembered.memory.layers


def test_a_relative_state_home_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "somewhere")
    assert state_folder().is_absolute() and state_folder().parts[-4:] == (".local", "state", "splatview", "scenes")
