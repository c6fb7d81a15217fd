"""What lies on both sides of tiny-cuda-nn, on a GPU: the samples as its networks want them (`place`), and what they mean (`cover`).

Imports Triton, so it is imported only by who is about to draw with it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from splatview.render.field_kernels import coloured, covered, point_at, unit_of


@triton.jit(do_not_specialize=["rays", "some"])
def place(
    at,  # [S, 3] places in the unit cube
    seen,  # [S, OUTPUTS + 3] whose last three are directions, from 0 to 1
    which,  # [S] int64 slots of the samples
    directions,
    places,
    owners,
    view,
    box,
    rays,
    some,  # S
    CONTRACTED: tl.constexpr,
    SHIFTED: tl.constexpr,
    OUTPUTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = lane < some
    slot = tl.load(which + lane, mask=there, other=0)
    distance, ray = tl.load(places + slot, mask=there, other=0.0), tl.load(owners + slot, mask=there, other=0)
    px, py, pz = point_at(distance, ray, there, directions, rays, view)  # pyright: ignore[reportGeneralTypeIssues]
    x, y, z = unit_of(px, py, pz, box, CONTRACTED)
    tl.store(at + 3 * lane, tl.minimum(tl.maximum(x, 0.0), 1.0), mask=there)
    tl.store(at + 3 * lane + 1, tl.minimum(tl.maximum(y, 0.0), 1.0), mask=there)
    tl.store(at + 3 * lane + 2, tl.minimum(tl.maximum(z, 0.0), 1.0), mask=there)
    # The harmonics are taken of twice these numbers less one: of d, or of (d + 1) / 2.
    shift: tl.constexpr = 3.0 if SHIFTED else 1.0
    scale: tl.constexpr = 0.25 if SHIFTED else 0.5
    target = seen + (OUTPUTS + 3) * lane + OUTPUTS
    for axis in tl.static_range(3):
        along = tl.load(directions + axis * rays + ray, mask=there, other=0.0)
        tl.store(target + axis, scale * (along + shift), mask=there)


@triton.jit(do_not_specialize=["rays", "slots", "some", "many", "density_row", "colour_row"])
def cover(
    answers,  # [4, slots]
    density,  # [S, ...] the density network's outputs
    colour,  # [S, ...] the colour network's
    density_row,  # numbers from one sample to the next
    colour_row,
    which,
    directions,
    places,
    owners,
    view,
    box,
    cuts,
    many,
    rays,
    slots,
    some,
    step,
    rate,
    first,
    last,
    longest,
    least_alpha,
    density_factor,
    GROWING: tl.constexpr,
    CROPPED: tl.constexpr,
    CONTRACTED: tl.constexpr,
    HDR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = lane < some
    slot = tl.load(which + lane, mask=there, other=0)
    distance, ray = tl.load(places + slot, mask=there, other=0.0), tl.load(owners + slot, mask=there, other=0)
    covers = covered(
        tl.load(density + lane * density_row, mask=there, other=0.0).to(tl.float32),
        distance,
        ray,
        there,
        directions,
        rays,
        view,
        box,
        cuts,
        many,
        step,
        rate,
        first,
        last,
        longest,
        least_alpha,
        density_factor,
        GROWING,
        CROPPED,
        CONTRACTED,
    )
    tl.store(answers + slot, covers, mask=there)
    for number in tl.static_range(3):
        value = tl.load(colour + lane * colour_row + number, mask=there, other=0.0).to(tl.float32)
        tl.store(answers + (number + 1) * slots + slot, coloured(value, HDR), mask=there)
