"""The diffusion style of the panel, with a model of a few hundred kilobytes on disk, loaded as a real one is."""

from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pytest
import tiny_diffusion
from test_viewer import coloured_ball, scripted

from splatview import Scene
from splatview.scene import Layer
from splatview.stylize.diffusing import Phrase, phrases_of, text_of
from splatview.viewer import Viewer, ViewerSettings

pytestmark = pytest.mark.xdist_group("diffusion")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_diffusion.write(folder / "ours" / "tiny")
    tiny_diffusion.write(folder / "ours" / "vision", "lcm")
    return folder


@pytest.fixture
def viewer(models, monkeypatch):
    monkeypatch.setenv("SPLATVIEW_MODELS", str(models))
    with Viewer(Scene({"ball": Layer(coloured_ball(500))}), ViewerSettings(port=0, open=False)) as viewer:
        yield viewer


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("an oil painting", [("an oil painting", 1)]),
        (" snow : 0.5 | a warm evening ", [("snow", 0.5), ("a warm evening", 1)]),
        ("title: a poem | 16:9 | |", [("title: a poem", 1), ("16", 9)]),
        ("", []),
    ],
)
def test_prompts_are_written_with_bars_and_weights(text, phrases):
    found = phrases_of(text)
    assert found == tuple(Phrase(*one) for one in phrases) and phrases_of(text_of(found)) == found


def test_a_model_is_opened_and_redraws_and_its_numbers_are_live(viewer):
    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.orbit(0.7)
        plain = (await client.rest()).pixels.astype(int)

        async def changed(before):
            """The next picture at rest that is another one."""
            await client.until(lambda: client.arrivals[-1].size == (320, 180) and apart(client.arrivals[-1].pixels, before) > 0.5, 60)
            return (await client.rest()).pixels.astype(int)

        await client.set("Kind", "diffusion")
        await client.until(lambda: any("ours/tiny on cpu" in html for html in htmls(client)), 60)
        assert client.widgets["Model"][1]["options"] == ["ours/tiny", "ours/vision"] and client.widgets["Steady"][1]["value"] is True
        await client.set("Steady", False)
        await client.set("Stylise", True)
        first = await changed(plain)
        await client.set("Seed mix", 1.0)
        [session] = viewer.sessions
        await client.set("Grain sticks to", "the screen")
        await client.set("Strength", 0.9)
        second = await changed(first)
        await client.set("Mix", 0.0)
        await client.until(lambda: client.arrivals[-1].size == (320, 180) and apart(client.arrivals[-1].pixels, plain) < 2, 60)
        return first, second, session

    first, second, session = scripted(viewer, script)
    assert apart(first, second) > 0.5 and session.styling.figures[0].failed == 0


def test_numbers_follow_the_model_but_for_those_that_people_chose(viewer):
    async def script(client):
        def numbers():
            return {name: client.widgets[name][1]["value"] for name in ("Steps", "Guidance", "Strength")}

        async def opened(model):
            await client.set("Model", model)
            await client.until(lambda: any(f"{model} on cpu" in html for html in htmls(client)), 60)

        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("ours/tiny on cpu" in html for html in htmls(client)), 60)
        await client.set("Strength", 0.7)
        await opened("ours/vision")
        await client.until(lambda: numbers() == {"Steps": 2, "Guidance": "self", "Strength": 0.7})
        await client.set("Saved styles", "winter (diffusion)")  # words, and no numbers
        await client.until(lambda: "deep winter" in client.widgets["Prompt"][1]["value"])
        assert numbers() == {"Steps": 2, "Guidance": "self", "Strength": 0.7}
        await client.set("Steps", 4)
        await opened("ours/tiny")
        await client.until(lambda: numbers() == {"Steps": 4, "Guidance": "none", "Strength": 0.7})
        await client.set("Stylise", False)
        await client.rest()

    scripted(viewer, script)


def test_a_page_cannot_name_a_folder_of_the_server(viewer, models):
    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("ours/tiny on cpu" in html for html in htmls(client)), 60)
        await client.set("Model", str(models / "ours"))
        await client.until(lambda: any("no model" in text for _, text in client.notices.values()))

    scripted(viewer, script)


def test_a_style_is_saved_and_chosen_again(viewer):
    async def script(client):
        await client.until(lambda: "Style name" in client.widgets and client.arrivals)
        await client.set("Kind", "kuwahara")
        await client.press("Save this style")
        await client.until(lambda: any("a name first" in text for _, text in client.notices.values()))
        await client.set("Radius", 9.5)
        await client.set("Style name", "broad")
        await client.press("Save this style")
        await client.until(lambda: "broad (kuwahara)" in client.widgets["Saved styles"][1]["options"])
        for _ in range(2):  # once more after it was changed
            await client.set("Radius", 2)
            await client.set("Saved styles", "broad (kuwahara)")
            await client.until(lambda: client.widgets["Radius"][1]["value"] == 9.5)
        await client.until(lambda: viewer.sessions[0].view.shown == "style")

    scripted(viewer, script)


def test_numbers_that_change_nothing_are_not_seen_and_seeds_can_be_given(viewer):
    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("ours/tiny on cpu" in html for html in htmls(client)), 60)
        labels = "Not", "Guidance scale", "Delta", "Depth", "Edges"

        def seen():
            return {label for label in labels if client.widgets[label][1]["visible"]}

        assert not seen(), "without guidance and ControlNets"
        await client.set("Guidance", "initialize")
        await client.until(lambda: seen() == {"Not", "Guidance scale", "Delta"})
        await client.set("Guidance", "full")
        await client.until(lambda: seen() == {"Not", "Guidance scale"})
        await client.set("Seed", 7)
        async with asyncio.timeout(10):
            while viewer.sessions[0].styling.stylizer._stylizer.controls.seed != 7:
                await asyncio.sleep(0.02)

    scripted(viewer, script)


def test_of_a_model_that_is_told_its_guidance_only_the_scale_is_turned(models, viewer):
    folder = models / "ours" / "told"
    tiny_diffusion.write(folder, "lcm", time_cond_proj_dim=8)

    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: "ours/told" in client.widgets["Model"][1]["options"], 60)
        await client.set("Model", "ours/told")
        await client.until(lambda: any("ours/told on cpu" in html for html in htmls(client)), 60)
        seen = {label for label in ("Guidance", "Guidance scale", "Delta", "Not") if client.widgets[label][1]["visible"]}
        return seen, client.widgets["Guidance scale"][1]["value"]

    try:
        assert scripted(viewer, script) == ({"Guidance scale"}, 8)
    finally:
        shutil.rmtree(folder)


def test_numbers_that_are_none_and_texts_that_are_too_long_are_no_trouble(viewer, capfd):
    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("ours/tiny on cpu" in html for html in htmls(client)), 60)
        await client.set("Stylise", True)
        await client.set("Prompt", "word " * 300)
        for seed in (-3, 7.9):  # what is typed on the way to 37.9, say
            await client.set("Seed", seed)
        said = await client.until(lambda: next((html for html in htmls(client) if "too long" in html), None), 30)
        async with asyncio.timeout(10):
            while viewer.sessions[0].styling.stylizer._stylizer.controls.seed != 7:
                await asyncio.sleep(0.02)
        await client.set("Where", "a range of depth")
        await client.set("From depth", -1.0)
        await client.set("Steady", False)
        await client.until(lambda: not client.widgets["Newest counts"][1]["visible"])
        return said

    assert scripted(viewer, script).count("word") < 40
    assert "Traceback" not in capfd.readouterr().err


def test_a_model_that_fails_in_a_way_that_nobody_thought_of_may_be_opened_again(viewer, monkeypatch):
    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        with monkeypatch.context() as patch:
            patch.setattr("splatview.viewer.panels.diffuse.open_diffusion", lambda *_: 1 / 0)
            await client.set("Kind", "diffusion")
            await client.until(lambda: any(text == "division by zero" for _, text in client.notices.values()), 60)
        await client.set("Kind", "oil")
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("ours/tiny on cpu" in html for html in htmls(client)), 60)

    scripted(viewer, script)


def test_a_model_that_is_not_here_is_one_line_that_says_how_it_is_had(viewer, monkeypatch, tmp_path):
    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path))

    async def script(client):
        await client.until(lambda: "Kind" in client.widgets and client.arrivals)
        await client.set("Kind", "diffusion")
        await client.until(lambda: any("splatview models --fetch sd-turbo" in text for _, text in client.notices.values()), 60)

    scripted(viewer, script)


def apart(one, other):
    return np.abs(one.astype(int) - other).mean() if one.shape == other.shape else 0.0


def htmls(client):
    return [properties.get("content", "") for _, properties in client.widgets.values() if isinstance(properties.get("content"), str)]
