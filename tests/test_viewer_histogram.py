"""The folder Data: a histogram on which ranges are selected."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from edit_visits import edited, told
from hypothesis import given
from hypothesis import strategies as st
from test_viewer import coloured_ball, scripted
from test_viewer_panels import ready, seen

from splatview import Scene
from splatview.edit.attributes import in_range
from splatview.edit.state import State
from splatview.frame import Masks
from splatview.scene import Layer
from splatview.viewer.panels.data import columns, counted


@pytest.fixture
def viewer(tmp_path):
    with edited(tmp_path) as running:
        yield running


def test_the_histogram_counts_all_that_is_there():
    scene = Scene({"a": Layer(coloured_ball(1000)), "b": Layer(coloured_ball(50), visible=False)})
    chosen, gone, unseen = (np.arange(1000) < count for count in (400, 100, 250))
    state = State(scene, selected=Masks({"a": chosen}), deleted=Masks({"a": gone}), hidden=Masks({"a": unseen}))
    values = columns("x", scene, None)
    assert list(values) == ["a"]
    for shown_only, chosen_only, total, marked in ((True, False, 750, 150), (False, False, 900, 300), (True, True, 150, 150)):
        found = counted(values, state, shown_only, chosen_only)
        assert found.every.sum() == total and found.chosen.sum() == marked and (found.chosen <= found.every).all()
    assert counted({}, State(Scene()), True, False) is None


@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=300),
    st.integers(0, 127),
    st.integers(0, 127),
)
def test_a_range_selects_what_its_bins_have_counted(numbers, one, other):
    values = np.array(numbers, np.float32)
    scene = Scene({"a": Layer(coloured_ball(len(values)))})
    found = counted({"a": values}, State(scene), True, False)
    if found is None:
        assert not np.isfinite(values).any()
        return
    assert found.every.sum() == np.isfinite(values).sum() and found.broken == (~np.isfinite(values)).sum()
    low, high = found.stretched(found.edges[0], found.edges[-1])
    assert in_range(values, low, high).sum() == found.every.sum()  # the whole width holds all, also what lies beyond the bins
    first, last = sorted((one, other))
    low, high = found.stretched(found.edges[first], found.edges[last + 1])
    assert in_range(values, low, high).sum() >= found.every[first : last + 1].sum() - 1


def test_a_range_is_dragged_with_modifiers_and_the_bars_follow(viewer):
    async def script(client):
        await ready(client, "Histogram of")
        assert not told(client, "splatview-histogram")
        await client.set("Histogram of", "Position x")
        await client.until(lambda: told(client, "splatview-histogram"))
        x = viewer.scene.layers["ball"].content.means[:, 0]
        html = next(props["content"] for _, props in client.widgets.values() if "splatview-histogram" in str(props.get("content")))
        edges = json.loads(re.search(r'data-edges="([^"]*)"', html)[1])
        await client.send("HistogramRange", name="data", low=edges[0], high=edges[64], modifiers=[])
        await seen(lambda: viewer.world.edited.selected_count == (x <= edges[64]).sum() > 0)
        await client.until(lambda: told(client, f"{(x <= edges[64]).sum():,} ("))
        await client.send("HistogramRange", name="data", low=edges[100], high=edges[128], modifiers=["shift"])
        wanted = (x <= edges[64]) | (x >= edges[100])
        await seen(lambda: viewer.world.edited.selected_count == wanted.sum())
        await client.send("HistogramRange", name="data", low=edges[0], high=edges[32], modifiers=["ctrl"])
        wanted &= ~(x <= edges[32])
        await seen(lambda: viewer.world.edited.selected_count == wanted.sum())
        await client.send("HistogramRange", name="other", low=edges[0], high=edges[32], modifiers=[])
        await client.set("Histogram of", "Depth")
        await client.until(lambda: told(client, "splatview-histogram"))
        await client.set("Histogram of", "nothing")
        await client.until(lambda: not told(client, "splatview-histogram"))
        return wanted

    assert np.array_equal(scripted(viewer, script), viewer.world.edited.selected["ball"])
