"""The folders Clean-up and Simplify."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from edit_visits import edited, told
from test_viewer import coloured_ball, scripted
from test_viewer_panels import ready, seen, value

from splatview import Scene
from splatview.scene import Layer
from splatview.viewer.panels.cleanup import summed_up


@pytest.fixture
def viewer(tmp_path):
    with edited(tmp_path) as running:
        yield running


def test_finders_show_what_goes_and_delete_it(viewer):
    splats = coloured_ball(400)
    scales, means = splats.log_scales.copy(), splats.means.copy()
    scales[:3] = np.log(5.0)
    scales[5:9] = -6, -2, -6
    means[10] = np.nan
    means[20:24] = [[50, 0, 0], [0, 50, 0], [0, 0, 50], [0, 70, 0]]
    ill = replace(splats, log_scales=scales, means=means)
    viewer.show(Scene({"ball": Layer(ill)}))

    async def script(client):
        await ready(client, "Find")
        selected = lambda: set(np.flatnonzero(viewer.world.edited.selected.get("ball", np.zeros(400, bool))))
        for kind, wanted in (("Giant", {0, 1, 2}), ("Broken", {10}), ("Needles", {5, 6, 7, 8})):
            await client.set("Find", kind)
            await client.set("What is found", "Preview")
            await seen(lambda wanted=wanted: selected() == wanted)
            await client.until(lambda wanted=wanted: told(client, f"{len(wanted)} ") and told(client, "they are selected"))
        await client.set("Find", "Floaters")
        await client.set("What is found", "Preview")
        await seen(lambda: {20, 21, 22, 23} <= selected())
        await client.set("What is found", "Delete")
        await seen(lambda: viewer.world.edited.living_count <= 396)
        assert viewer.world.document.entries[-1].operation.label == "Remove floaters"
        await client.set("Find", "Broken")
        await client.set("What is found", "Delete")  # without a preview
        await client.until(lambda: told(client, "1 broken splats deleted"))
        await client.set("Find", "Duplicates")
        await client.set("What is found", "Delete")
        await client.until(lambda: told(client, "nothing is selected"))
        await client.set("Find", "Low contribution")
        await client.set("Seen from", "the saved views")
        await client.set("What is found", "Preview")
        await client.until(lambda: told(client, "no view is saved"))
        await client.set("Seen from", "an orbit")
        await client.set("What is found", "Preview")
        await client.until(lambda: told(client, "splats that nobody sees found"))

    scripted(viewer, script)


def test_simplifying_tells_how_the_views_differ(viewer):
    async def script(client):
        await ready(client, "Simplify to")
        assert value(client, "Simplify to") == 225
        await client.set("Simplify to", 300)
        await client.press("Simplify")
        await client.until(lambda: told(client, "PSNR over 12 views"), timeout=60)

    scripted(viewer, script)
    assert viewer.world.edited.living_count == 350  # 300 of the layer that is shown
    assert summed_up([math.inf] * 3).endswith("the same.") and "20.0 dB at worst" in summed_up([20.0, 40.0])
