"""Documents on the command line: what their operations have made of a scene is what is drawn and written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from style_words import a_path, a_scene, drawn, picture, stylize

from splatview import RenderOptions, Scene, load, open_renderer, save
from splatview.cli import main
from splatview.edit import archive
from splatview.edit.document import Document
from splatview.edit.editing import Editing
from splatview.edit.operations import Delete, Hide, Place, SaveSet
from splatview.edit.select import Range, Tools
from splatview.edit.state import State
from splatview.formats import load_cameras
from splatview.geometry import Similarity
from splatview.stylize.filters import FILTERS
from splatview.stylize.masks import Layers, Mask, Masked, Selection
from splatview.viewer.desk import sources_of


@pytest.fixture
def scene(tmp_path):
    return a_scene(tmp_path)


@pytest.fixture
def path_file(tmp_path):
    return a_path(tmp_path)


@pytest.fixture
def document(tmp_path, scene):
    """The ball without its lower third, a part of it hidden and another selected and kept, and moved."""
    content = load(scene).read_from(str(scene))
    editing = Editing(State(content), Tools(lambda: open_renderer("cpu"), lambda *_: Scene()), Document(sources_of(content)))
    for query, operation in ((Range("z", -9, -0.3), Delete()), (Range("x", 0.5, 9.0), Hide())):
        editing.select(query)
        editing.do(operation)
    editing.select(Range("y", -9, 0.0))
    editing.do(SaveSet("front"))
    editing.select(Range("z", 0.2, 9.0))
    editing.do(Place("ball", Similarity(translation=(0.3, 0, 0))))
    archive.write(tmp_path / "ball.splatview", editing.document)
    return tmp_path / "ball.splatview", editing.state


@pytest.mark.parametrize(
    ("words", "of"),
    [
        ([], None),
        (["--where", "selection"], "selected"),
        (["--where", "selection", "within(front)"], "front"),
        (["--where", "layer", "ball"], "all"),
    ],
)
def test_a_document_is_redrawn_as_it_is_shown(capsys, tmp_path, document, path_file, words, of):
    path, state = document
    masks = {"selected": state.selected, "front": state.sets["front"]}.get(of, {})
    options = RenderOptions(outputs=("rgb8", "alpha", "depth", "ids", "coverage"), hidden=state.undrawn, tinted=masks, tint=None)
    frame, style = open_renderer("cpu").render(state.scene, load_cameras(path_file)[0], options), FILTERS["pixel"]()
    place = {None: None, "all": Layers.named(state.scene, ["ball"])}.get(of, Selection())
    expected = style.style(frame) if place is None else Masked((Mask(place), style)).style(frame)
    assert stylize(path, "--camera", path_file, "--frames", "1", "--style", "pixel", "-o", tmp_path / "out.png", *words) == 0
    np.testing.assert_array_equal(picture(tmp_path / "out.png"), expected)
    assert (f"selected: {state.count(masks)} of " in capsys.readouterr().out) == bool(masks)
    assert main(["render", str(path), "--camera", str(path_file), "-o", str(tmp_path / "as_it_is.png")]) == 0
    np.testing.assert_array_equal(picture(tmp_path / "as_it_is_0000.png"), frame.rgb8)
    assert (frame.rgb8 != drawn(state.scene, [frame.camera])[0].rgb8).any(), "the document changes something"


def test_a_document_is_converted_as_its_operations_have_made_it(capsys, tmp_path, document):
    path, state = document
    assert main(["convert", str(path), str(tmp_path / "out.ply")]) == 0
    save(state.result(), tmp_path / "expected.ply")
    assert (tmp_path / "out.ply").read_bytes() == (tmp_path / "expected.ply").read_bytes()
    left = state.result().count
    assert left < 800 and f"{left:,} Gaussians," in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.spz"), "--level", "1"]) == 2
    assert "a document knows itself" in capsys.readouterr().err


def test_a_document_is_photographed_as_it_is_shown(tmp_path, document, path_file):
    path, state = document
    assert main(["capture", str(path), str(tmp_path / "photos"), "--camera", str(path_file), "--size", "64x36"]) == 0
    options = RenderOptions(outputs=("rgb8", "alpha"), hidden=state.undrawn)
    for number, camera in enumerate(load_cameras(path_file)):
        expected = open_renderer("cpu").render(state.scene, camera, options)
        found = picture(tmp_path / "photos" / "images" / f"{number:04d}.png")
        assert np.abs(found[..., 3] / 255 - expected.alpha).max() < 0.01


def test_a_document_is_measured_as_it_was_made(capsys, tmp_path, document):
    path, state = document
    words = ["--size", "64x36", "--frames", "1", "--backend", "cpu", "--json", str(tmp_path / "x.json")]
    assert main(["bench", str(path), *words]) == 0
    assert json.loads((tmp_path / "x.json").read_text())["gaussians"] == state.result().count
