"""Fields made into splats, and how much these look like them."""

from __future__ import annotations

from statistics import mean

from splatview.cli.faults import users_fault
from splatview.cli.loading import renderer
from splatview.cli.waiting import waiting
from splatview.frame import RenderOptions
from splatview.scene import Layer, Scene

VIEWS = 24


def with_splats(scene: Scene, count: int, seed: int) -> Scene:
    """The scene with `count` Gaussians in the place of each field that is shown; UserError if nothing is seen of one."""
    from splatview.render.splatted import splatted

    fields = scene.visible_fields
    for number, (name, layer) in enumerate(fields.items()):
        with users_fault(ValueError), waiting(f"making splats of {name}") as progress:
            splats = splatted(
                layer, count, seed=seed, progress=lambda share, text, done=number: progress((done + share) / len(fields), text)
            )
        scene = scene.with_layer(name, Layer(splats, layer.placement, notes=layer.notes))
    return scene


def likeness(fields: Scene, splats: Scene) -> str:
    """The PSNR of one scene against the other over an orbit, in words."""
    from splatview.edit.quality import orbit, psnr
    from splatview.framing import frame_scene

    draw, options, found = renderer("cpu"), RenderOptions(outputs=("rgb",)), []
    with waiting("comparing") as progress:
        for number, camera in enumerate(orbit(frame_scene(fields), VIEWS)):
            progress(number / VIEWS, f"view {number + 1} of {VIEWS}")
            found.append(psnr(draw.render(splats, camera, options).rgb, draw.render(fields, camera, options).rgb))
    return f"; {mean(found):.1f} dB against the field over an orbit of {VIEWS} views, {min(found):.1f} in the worst"
