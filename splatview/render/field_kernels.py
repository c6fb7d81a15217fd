"""A field seen through a camera, on a GPU.

In rounds: every ray that is on its way blends what the field said about its last few samples and finds the next few (`advance`), about
which the field is asked: by kernels of our own (`field_triton_kernels`), or by tiny-cuda-nn (`field_tcnn_kernels`). Rays that have ended
leave the list, those that are left are given more samples at once: the GPU is as full in the last round as in the first.

Imports Triton, so it is imported only by who is about to draw with it.
"""

from __future__ import annotations

import triton
import triton.language as tl

OPAQUE = tl.constexpr(0.999)  # alpha behind which nothing is seen


@triton.jit
def distance_of(steps, step, rate, first, last, longest, GROWING: tl.constexpr):
    """`Marching.distance`."""
    if GROWING:
        end = tl.log(last / first) / rate
        grown = first * tl.exp(rate * tl.minimum(tl.maximum(steps, 0.0), end))
        return grown + tl.minimum(steps, 0.0) * step + tl.maximum(steps - end, 0.0) * longest
    return steps * step


@triton.jit
def count_of(distance, step, rate, first, last, longest, GROWING: tl.constexpr):
    """`Marching.count`."""
    if GROWING:
        growing = tl.log(tl.minimum(tl.maximum(distance, first), last) / first) / rate
        return growing + tl.minimum(distance - first, 0.0) / step + tl.maximum(distance - last, 0.0) / longest
    return distance / step


@triton.jit
def harmonic_rows(x, y, z):
    """[BLOCK, 16] of directions [BLOCK] each: `splatview.hashgrid.harmonic_columns`."""
    at = tl.arange(0, 16)[None, :]
    x, y, z = x[:, None], y[:, None], z[:, None]
    xx, yy, zz = x * x, y * y, z * z
    found = tl.where(at == 0, 0.28209479177387814, 0.0) + 0.0 * x
    found = tl.where(at == 1, -0.48860251190291987 * y, found)
    found = tl.where(at == 2, 0.48860251190291987 * z, found)
    found = tl.where(at == 3, -0.48860251190291987 * x, found)
    found = tl.where(at == 4, 1.0925484305920792 * x * y, found)
    found = tl.where(at == 5, -1.0925484305920792 * y * z, found)
    found = tl.where(at == 6, 0.94617469575755997 * zz - 0.31539156525251999, found)
    found = tl.where(at == 7, -1.0925484305920792 * x * z, found)
    found = tl.where(at == 8, 0.54627421529603959 * (xx - yy), found)
    found = tl.where(at == 9, 0.59004358992664352 * y * (yy - 3 * xx), found)
    found = tl.where(at == 10, 2.8906114426405538 * x * y * z, found)
    found = tl.where(at == 11, 0.45704579946446572 * y * (1 - 5 * zz), found)
    found = tl.where(at == 12, 0.37317633259011546 * z * (5 * zz - 3), found)
    found = tl.where(at == 13, 0.45704579946446572 * x * (1 - 5 * zz), found)
    found = tl.where(at == 14, 1.4453057213202769 * z * (xx - yy), found)
    return tl.where(at == 15, 0.59004358992664352 * x * (3 * yy - xx), found)


@triton.jit
def occupied_at(px, py, pz, cells, blocks, boxes, CASCADES: tl.constexpr, ACROSS: tl.constexpr, DOWN: tl.constexpr, DEEP: tl.constexpr):
    """Whether there may be something at points [BLOCK], and the box around each in which nothing changes: its low corner and its sides.

    That is a cell of the first grid that holds the point, or a block of 4 x 4 x 4 empty ones. Sides of 0: no grid holds the point.
    """
    low_x, low_y, low_z, side_x, side_y, side_z = 0.0 * px, 0.0 * px, 0.0 * px, 0.0 * px, 0.0 * px, 0.0 * px
    which = tl.zeros(px.shape, tl.int32) - 1
    for cascade in tl.static_range(CASCADES):
        box = boxes + 6 * cascade
        bx, by, bz = tl.load(box), tl.load(box + 1), tl.load(box + 2)
        ex, ey, ez = tl.load(box + 3), tl.load(box + 4), tl.load(box + 5)
        here = (which < 0) & (px >= bx) & (px < ex) & (py >= by) & (py < ey) & (pz >= bz) & (pz < ez)
        which = tl.where(here, cascade, which)
        low_x, low_y, low_z = tl.where(here, bx, low_x), tl.where(here, by, low_y), tl.where(here, bz, low_z)
        side_x, side_y = tl.where(here, (ex - bx) / ACROSS, side_x), tl.where(here, (ey - by) / DOWN, side_y)
        side_z = tl.where(here, (ez - bz) / DEEP, side_z)
    inside = which >= 0
    cell_x = tl.minimum(((px - low_x) / tl.where(inside, side_x, 1.0)).to(tl.int32), ACROSS - 1)
    cell_y = tl.minimum(((py - low_y) / tl.where(inside, side_y, 1.0)).to(tl.int32), DOWN - 1)
    cell_z = tl.minimum(((pz - low_z) / tl.where(inside, side_z, 1.0)).to(tl.int32), DEEP - 1)
    place = ((which * ACROSS + cell_x) * DOWN + cell_y) * DEEP + cell_z
    byte = tl.load(cells + (place >> 3), mask=inside, other=0).to(tl.int32)
    BLOCKS_X: tl.constexpr = (ACROSS + 3) // 4
    BLOCKS_Y: tl.constexpr = (DOWN + 3) // 4
    BLOCKS_Z: tl.constexpr = (DEEP + 3) // 4
    block = ((which * BLOCKS_X + (cell_x >> 2)) * BLOCKS_Y + (cell_y >> 2)) * BLOCKS_Z + (cell_z >> 2)
    wide = tl.load(blocks + block, mask=inside, other=1) == 0
    there = ((byte >> (place & 7)) & 1) > 0
    cell_x, cell_y, cell_z = tl.where(wide, cell_x & -4, cell_x), tl.where(wide, cell_y & -4, cell_y), tl.where(wide, cell_z & -4, cell_z)
    low_x, low_y, low_z = low_x + cell_x * side_x, low_y + cell_y * side_y, low_z + cell_z * side_z
    width = tl.where(wide, 4.0, 1.0)
    return there, low_x, low_y, low_z, width * side_x, width * side_y, width * side_z


@triton.jit
def left_by(px, py, pz, cuts, many):
    """How much the cuts leave at points [BLOCK]: `splatview.volumes.left_by`, of `many` `packed` ones."""
    kept, gone, keeping = 0.0 * px, 0.0 * px, 0.0
    for number in range(many):
        cut = cuts + 18 * number
        ax, ay, az = px - tl.load(cut), py - tl.load(cut + 1), pz - tl.load(cut + 2)
        squared = 0.0 * px
        for axis in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
            along = tl.load(cut + 3 + 3 * axis) * ax + tl.load(cut + 4 + 3 * axis) * ay + tl.load(cut + 5 + 3 * axis) * az
            beyond = tl.maximum(tl.abs(along) - tl.load(cut + 12 + axis), 0.0)
            squared += beyond * beyond
        outside, falloff, keeps = tl.sqrt(squared) - tl.load(cut + 15), tl.load(cut + 16), tl.load(cut + 17)
        part = 1 - tl.minimum(tl.maximum(outside, 0.0) / tl.where(falloff > 0, falloff, 1.0), 1.0)
        weight = tl.where(outside <= 0, 1.0, tl.where(falloff > 0, part * part * (3 - 2 * part), 0.0))
        kept, gone = tl.maximum(kept, keeps * weight), tl.maximum(gone, (1 - keeps) * weight)
        keeping = tl.maximum(keeping, keeps)
    return tl.where(keeping > 0, kept, 1.0) * (1 - gone)


@triton.jit
def share_of(slots, rays, MOST: tl.constexpr):
    """How many samples each of `rays` rays may have at once."""
    return tl.minimum(slots // tl.maximum(rays, 1), MOST)


@triton.jit(do_not_specialize=["begin", "rays", "across", "width", "height"])
def begin_rays(
    directions,  # [3, N]
    steps_of,  # [N] where the next sample may be
    leaves,  # [N]
    lights,  # [N]
    sums,  # [4, N] colour and distance, weighted
    asked,  # [N] int32 samples
    seen,  # [N, 16] float16 harmonics of the direction
    listed,  # [N] int32 rays on their way
    view,  # fx fy cx cy, then the eye [3] and the rotation into the field's frame [9], row by row
    bounds,  # [6] low and high corner of where rays are followed
    divide,  # [H, W] along the view axis: where rays are divided
    front,  # [H, W] alpha of what was drawn before it
    begin,  # the first of these rays among those of all tiles
    rays,  # N
    across,  # tiles
    width,
    height,
    step,
    rate,
    first,
    last,
    longest,
    start,  # along the ray
    near,  # along the view axis, as far
    far,
    GROWING: tl.constexpr,
    SHIFTED: tl.constexpr,
    PART: tl.constexpr,  # 0: whole rays, 1: before the divide, 2: behind it, where it is seen
    TILE: tl.constexpr,  # pixels a side: neighbours in a picture are neighbours in memory
    BLOCK: tl.constexpr,
):
    ray = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = ray < rays
    tile, place = (begin + ray) // (TILE * TILE), (begin + ray) % (TILE * TILE)
    column, line = tile % across * TILE + place % TILE, tile // across * TILE + place // TILE
    ax = (column.to(tl.float32) + 0.5 - tl.load(view + 2)) / tl.load(view)
    ay = (line.to(tl.float32) + 0.5 - tl.load(view + 3)) / tl.load(view + 1)
    shrink = 1 / tl.sqrt(ax * ax + ay * ay + 1)  # also the cosine to the view axis
    dx = (tl.load(view + 7) * ax + tl.load(view + 8) * ay + tl.load(view + 9)) * shrink
    dy = (tl.load(view + 10) * ax + tl.load(view + 11) * ay + tl.load(view + 12)) * shrink
    dz = (tl.load(view + 13) * ax + tl.load(view + 14) * ay + tl.load(view + 15)) * shrink
    ox, oy, oz = tl.load(view + 4), tl.load(view + 5), tl.load(view + 6)
    ix, iy, iz = inverse_of(dx), inverse_of(dy), inverse_of(dz)
    lx, hx = (tl.load(bounds) - ox) * ix, (tl.load(bounds + 3) - ox) * ix
    ly, hy = (tl.load(bounds + 1) - oy) * iy, (tl.load(bounds + 4) - oy) * iy
    lz, hz = (tl.load(bounds + 2) - oz) * iz, (tl.load(bounds + 5) - oz) * iz
    enter = tl.maximum(tl.maximum(tl.minimum(lx, hx), tl.minimum(ly, hy)), tl.minimum(lz, hz))
    leave = tl.minimum(tl.minimum(tl.maximum(lx, hx), tl.maximum(ly, hy)), tl.maximum(lz, hz))
    enter, leave = tl.maximum(enter, tl.maximum(near / shrink, start)), tl.minimum(leave, far / shrink)
    if PART > 0:
        pixel, within = line * width + column, inside & (column < width) & (line < height)
        place = tl.load(divide + pixel, mask=within, other=0.0) / shrink
        if PART == 1:
            leave = tl.minimum(leave, place)
        else:
            enter = tl.maximum(enter, place)
            leave = tl.where(tl.load(front + pixel, mask=within, other=1.0) < OPAQUE, leave, -1.0)
    leave = tl.where((enter < leave) & (column < width) & (line < height), leave, -1.0)
    tl.store(directions + ray, dx, mask=inside)
    tl.store(directions + rays + ray, dy, mask=inside)
    tl.store(directions + 2 * rays + ray, dz, mask=inside)
    steps = count_of(tl.minimum(enter, tl.maximum(leave, 0.0)), step, rate, first, last, longest, GROWING) + 0.5
    tl.store(steps_of + ray, steps, mask=inside)
    tl.store(leaves + ray, leave, mask=inside)
    tl.store(lights + ray, 1.0 + 0.0 * dx, mask=inside)
    for number in tl.static_range(4):
        tl.store(sums + number * rays + ray, 0.0 * dx, mask=inside)
    tl.store(asked + ray, 0 * ray, mask=inside)
    tl.store(listed + ray, ray, mask=inside)
    found = harmonic_rows((dx + 1) / 2, (dy + 1) / 2, (dz + 1) / 2) if SHIFTED else harmonic_rows(dx, dy, dz)
    tl.store(seen + 16 * ray[:, None] + tl.arange(0, 16)[None, :], found.to(tl.float16), mask=inside[:, None])


@triton.jit
def inverse_of(value):
    return 1 / tl.where(tl.abs(value) < 1e-12, 1e-12, value)


@triton.jit(do_not_specialize=["turn", "rays", "slots", "many"])
def advance(
    directions,
    steps_of,
    leaves,
    lights,
    sums,
    asked,
    listed,  # [N] int32 rays that were on their way in this round
    going,  # [N] int32 those that are in the next
    counts,  # [rounds] int32 how many those are; the number of rays stands first
    before,  # [slots] distances of the samples that were asked about; below 0: none
    answers,  # [4, slots] what each of them covers, and its colour
    places,  # [slots] distances of the next
    owners,  # [slots] int32 whose they are
    view,
    cells,
    blocks,
    boxes,
    cuts,  # [many, 18]
    many,
    turn,
    rays,
    slots,
    step,
    rate,
    first,
    last,
    longest,
    last_transmittance,
    GROWING: tl.constexpr,
    CROPPED: tl.constexpr,  # whether there are cuts
    OCCUPIED: tl.constexpr,  # whether there is a grid
    CASCADES: tl.constexpr,
    CELLS_X: tl.constexpr,
    CELLS_Y: tl.constexpr,
    CELLS_Z: tl.constexpr,
    MOST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = tl.load(counts + turn)
    if tl.program_id(0) * BLOCK < count:
        alive = lane < count
        ray = tl.load(listed + lane, mask=alive, other=0)
        light = tl.load(lights + ray, mask=alive, other=0.0)
        steps, leave = tl.load(steps_of + ray, mask=alive, other=0.0), tl.load(leaves + ray, mask=alive, other=-1.0)
        if turn > 0:
            red, green = tl.load(sums + ray, mask=alive, other=0.0), tl.load(sums + rays + ray, mask=alive, other=0.0)
            blue, reach = tl.load(sums + 2 * rays + ray, mask=alive, other=0.0), tl.load(sums + 3 * rays + ray, mask=alive, other=0.0)
            samples = tl.load(asked + ray, mask=alive, other=0)
            share = share_of(slots, tl.load(counts + turn - 1), MOST)
            for number in range(share):
                slot = lane * share + number
                place = tl.load(before + slot, mask=alive, other=-1.0)
                there = alive & (place >= 0) & (light > 0)
                covers = tl.load(answers + slot, mask=there, other=0.0)
                covers = tl.where(there & (light * (1 - covers) < last_transmittance), 1.0, covers)
                weight = light * covers
                red += weight * tl.load(answers + slots + slot, mask=there, other=0.0)
                green += weight * tl.load(answers + 2 * slots + slot, mask=there, other=0.0)
                blue += weight * tl.load(answers + 3 * slots + slot, mask=there, other=0.0)
                reach += weight * place
                light *= 1 - covers
                samples += there.to(tl.int32)
            tl.store(lights + ray, light, mask=alive)
            tl.store(sums + ray, red, mask=alive)
            tl.store(sums + rays + ray, green, mask=alive)
            tl.store(sums + 2 * rays + ray, blue, mask=alive)
            tl.store(sums + 3 * rays + ray, reach, mask=alive)
            tl.store(asked + ray, samples, mask=alive)

        alive = alive & (light > 0) & (distance_of(steps, step, rate, first, last, longest, GROWING) < leave)
        target = tl.atomic_add(counts + turn + 1, tl.sum(alive.to(tl.int32), 0)) + tl.cumsum(alive.to(tl.int32), 0) - 1
        tl.store(going + target, ray, mask=alive)
        share = share_of(slots, count, MOST)
        dx, dy = tl.load(directions + ray, mask=alive, other=1.0), tl.load(directions + rays + ray, mask=alive, other=1.0)
        dz = tl.load(directions + 2 * rays + ray, mask=alive, other=1.0)
        ox, oy, oz = tl.load(view + 4), tl.load(view + 5), tl.load(view + 6)
        ix, iy, iz = inverse_of(dx), inverse_of(dy), inverse_of(dz)
        found, searching = lane * 0, alive
        while tl.max(searching.to(tl.int32), 0) > 0:
            distance = distance_of(steps, step, rate, first, last, longest, GROWING)
            searching = searching & (distance < leave)
            empty = 0.0 * distance
            hit = searching
            px, py, pz = ox + distance * dx, oy + distance * dy, oz + distance * dz
            if CROPPED:
                hit = hit & (left_by(px, py, pz, cuts, many) > 0)
            if OCCUPIED:
                there, qx, qy, qz, sx, sy, sz = occupied_at(px, py, pz, cells, blocks, boxes, CASCADES, CELLS_X, CELLS_Y, CELLS_Z)
                hit = hit & there
                beyond_x = (tl.where(dx > 0, qx + sx, qx) - ox) * ix
                beyond_y = (tl.where(dy > 0, qy + sy, qy) - oy) * iy
                beyond_z = (tl.where(dz > 0, qz + sz, qz) - oz) * iz
                beyond = tl.maximum(tl.where(sx > 0, tl.minimum(tl.minimum(beyond_x, beyond_y), beyond_z), distance), 0.0)
                empty = tl.where(there, 0.0, tl.ceil(count_of(beyond, step, rate, first, last, longest, GROWING) - steps))
            tl.store(places + target * share + found, distance, mask=hit)
            tl.store(owners + target * share + found, ray, mask=hit)
            found += hit.to(tl.int32)
            steps = tl.where(searching, steps + tl.maximum(empty, 1.0), steps)
            searching = searching & (found < share)
        tl.store(steps_of + ray, steps, mask=alive)
        for number in range(share):
            tl.store(places + target * share + number, -1.0 + 0.0 * steps, mask=alive & (number >= found))


@triton.jit
def point_at(distance, ray, there, directions, rays, view):
    """What is so far away on a ray, in the field's frame."""
    px = tl.load(view + 4) + distance * tl.load(directions + ray, mask=there, other=0.0)
    py = tl.load(view + 5) + distance * tl.load(directions + rays + ray, mask=there, other=0.0)
    pz = tl.load(view + 6) + distance * tl.load(directions + 2 * rays + ray, mask=there, other=0.0)
    return px, py, pz


@triton.jit
def unit_of(px, py, pz, box, CONTRACTED: tl.constexpr):
    """The places of points in the unit cube."""
    if CONTRACTED:
        size = tl.maximum(tl.maximum(tl.maximum(tl.abs(px), tl.abs(py)), tl.abs(pz)), 1.0)
        factor = (2 - 1 / size) / size
        px, py, pz = (px * factor + 2) / 4, (py * factor + 2) / 4, (pz * factor + 2) / 4
    else:
        px = (px - tl.load(box)) * tl.load(box + 3)
        py = (py - tl.load(box + 1)) * tl.load(box + 4)
        pz = (pz - tl.load(box + 2)) * tl.load(box + 5)
    return px, py, pz


@triton.jit
def covered(
    log_density,  # [BLOCK] what the network says
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
    GROWING: tl.constexpr,
    CROPPED: tl.constexpr,
    CONTRACTED: tl.constexpr,
):
    """What samples [BLOCK] cover of what is behind them: 0 where there is none, and outside the unit cube."""
    px, py, pz = point_at(distance, ray, there, directions, rays, view)  # pyright: ignore[reportGeneralTypeIssues]
    x, y, z = unit_of(px, py, pz, box, CONTRACTED)
    there = there & (x > 0) & (x < 1) & (y > 0) & (y < 1) & (z > 0) & (z < 1)
    steps = count_of(distance, step, rate, first, last, longest, GROWING)
    length = distance_of(steps + 0.5, step, rate, first, last, longest, GROWING)
    length -= distance_of(steps - 0.5, step, rate, first, last, longest, GROWING)
    if CROPPED:
        length *= left_by(px, py, pz, cuts, many)  # less density over a length is as much over less of it
    covers = 1 - tl.exp(-density_factor * tl.exp(log_density) * length)
    return tl.where(there & (covers >= least_alpha), covers, 0.0)


@triton.jit
def coloured(outputs, HDR: tl.constexpr):
    """The colours that the network's outputs stand for."""
    return tl.exp(tl.minimum(tl.maximum(outputs, -10.0), 10.0)) if HDR else 1 / (1 + tl.exp(-outputs))


@triton.jit(do_not_specialize=["begin", "rays", "across", "width", "height"])
def finish(
    rgb_out,  # [H, W, 3]
    alpha_out,
    distance_out,
    samples_out,
    lights,
    sums,
    asked,
    view,
    begin,
    rays,
    across,
    width,
    height,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The rays as a picture."""
    ray = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tile, place = (begin + ray) // (TILE * TILE), (begin + ray) % (TILE * TILE)
    column, line = tile % across * TILE + place % TILE, tile // across * TILE + place // TILE
    inside = (ray < rays) & (column < width) & (line < height)
    ax = (column.to(tl.float32) + 0.5 - tl.load(view + 2)) / tl.load(view)
    ay = (line.to(tl.float32) + 0.5 - tl.load(view + 3)) / tl.load(view + 1)
    pixel = line * width + column
    for number in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
        tl.store(rgb_out + 3 * pixel + number, tl.load(sums + number * rays + ray, mask=inside, other=0.0), mask=inside)
    tl.store(alpha_out + pixel, 1 - tl.load(lights + ray, mask=inside, other=1.0), mask=inside)
    reach = tl.load(sums + 3 * rays + ray, mask=inside, other=0.0)
    tl.store(distance_out + pixel, reach / tl.sqrt(ax * ax + ay * ay + 1), mask=inside)
    tl.store(samples_out + pixel, tl.load(asked + ray, mask=inside, other=0), mask=inside)
