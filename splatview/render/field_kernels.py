"""A field seen through a camera, on a GPU.

One Triton program marches the rays of one tile, side by side, and asks the field about a sample of each at a time: encoding, both networks
(tensor cores, 16-bit operands, 32-bit sums) and blending, without a number in memory in between.

Imports Triton, so it is imported only by who is about to draw with it.
"""

from __future__ import annotations

import triton
import triton.language as tl

SECOND, THIRD = tl.constexpr(2654435761), tl.constexpr(805459861)  # primes of the hash


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
def corner_words(table, x, y, z, corners, last, begin, stride, there):
    """The words [BLOCK, C] of the table at a corner of each level's cell (uint32), two 16-bit features each."""
    dense = x + (y + z * corners) * corners
    dense = tl.where(dense > last, dense - last - 1, dense)
    hashed = (x ^ (y * SECOND) ^ (z * THIRD)) & last
    entry = tl.where(corners > 0, dense, hashed).to(tl.int32)
    return tl.load(table + begin + entry * stride, mask=there, other=0)


@triton.jit
def column_of(values, column: tl.constexpr, COLUMNS: tl.constexpr):
    """A column [BLOCK] of `values` [BLOCK, COLUMNS]."""
    return tl.sum(tl.where(tl.arange(0, COLUMNS)[None, :] == column, values, 0.0), 1)


@triton.jit
def matrix(weights, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    return tl.load(weights + tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])


@triton.jit
def row(biases, COLUMNS: tl.constexpr):
    return tl.load(biases + tl.arange(0, COLUMNS))[None, :]


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
def occupied_at(px, py, pz, cells, boxes, CASCADES: tl.constexpr, ACROSS: tl.constexpr, DOWN: tl.constexpr, DEEP: tl.constexpr):
    """Whether there may be something at points [BLOCK]; their cell in the first grid that holds them: its low corner and sides.

    A side of 0: no grid holds the point.
    """
    there = px < px  # nowhere
    low_x, low_y, low_z = 0.0 * px, 0.0 * px, 0.0 * px
    side_x, side_y, side_z = 0.0 * px, 0.0 * px, 0.0 * px
    known = px < px
    for cascade in tl.static_range(CASCADES):
        box = boxes + 6 * cascade
        bx, by, bz = tl.load(box), tl.load(box + 1), tl.load(box + 2)
        sx, sy, sz = (tl.load(box + 3) - bx) / ACROSS, (tl.load(box + 4) - by) / DOWN, (tl.load(box + 5) - bz) / DEEP
        ux, uy, uz = (px - bx) / sx, (py - by) / sy, (pz - bz) / sz
        here = (ux >= 0) & (ux < ACROSS) & (uy >= 0) & (uy < DOWN) & (uz >= 0) & (uz < DEEP) & (known == 0)
        ix, iy, iz = tl.floor(ux), tl.floor(uy), tl.floor(uz)
        place = ((cascade * ACROSS + ix.to(tl.int32)) * DOWN + iy.to(tl.int32)) * DEEP + iz.to(tl.int32)
        byte = tl.load(cells + (place >> 3), mask=here, other=0)
        there = there | (here & (((byte.to(tl.int32) >> (place & 7)) & 1) > 0))
        low_x, low_y, low_z = tl.where(here, bx + ix * sx, low_x), tl.where(here, by + iy * sy, low_y), tl.where(here, bz + iz * sz, low_z)
        side_x, side_y, side_z = tl.where(here, sx, side_x), tl.where(here, sy, side_y), tl.where(here, sz, side_z)
        known = known | here
    return there, low_x, low_y, low_z, side_x, side_y, side_z


@triton.jit
def features_at(ux, uy, uz, hit, table, scales, corners_of, lasts, begins, strides, offset, COLUMNS: tl.constexpr):
    """The features [BLOCK, COLUMNS] at points of the unit cube [BLOCK]: those with even numbers, and those with odd ones."""
    at = tl.arange(0, COLUMNS)
    scale, corners, last = tl.load(scales + at)[None, :], tl.load(corners_of + at)[None, :], tl.load(lasts + at)[None, :]
    begin, stride = tl.load(begins + at)[None, :], tl.load(strides + at)[None, :]
    there = hit[:, None] & (scale > 0)
    x, y, z = ux[:, None] * scale + offset, uy[:, None] * scale + offset, uz[:, None] * scale + offset
    low_x, low_y, low_z = tl.floor(x), tl.floor(y), tl.floor(z)
    x, y, z = x - low_x, y - low_y, z - low_z
    corner_x, corner_y, corner_z = low_x.to(tl.int32).to(tl.uint32), low_y.to(tl.int32).to(tl.uint32), low_z.to(tl.int32).to(tl.uint32)
    even, odd = 0.0 * x, 0.0 * x
    for number in tl.static_range(8):
        dx, dy, dz = number & 1, number >> 1 & 1, number >> 2 & 1
        weight = (x if dx else 1 - x) * (y if dy else 1 - y) * (z if dz else 1 - z)
        word = corner_words(table, corner_x + dx, corner_y + dy, corner_z + dz, corners, last, begin, stride, there)
        even += weight * (word & 0xFFFF).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
        odd += weight * (word >> 16).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    return even.to(tl.float16), odd.to(tl.float16)


@triton.jit(do_not_specialize=["across", "width", "height"])
def march_tiles(
    rgb_out,
    alpha_out,
    distance_out,
    samples_out,
    view,  # fx fy cx cy, then the eye [3] and the rotation into the field's frame [9], row by row
    bounds,  # [6] low and high corner of where rays are followed
    box,  # [6] low corner of the unit cube, and 1 / its sides
    table,
    scales,
    corners_of,
    lasts,
    begins,
    strides,
    cells,
    boxes,
    weights,  # float16, [in, out] each: see `field_cuda.packed`
    biases,  # float32
    across,
    width,
    height,
    offset,
    step,
    rate,
    first,
    last,
    longest,
    near,
    far,  # along the view axis
    least_alpha,
    density_factor,
    GROWING: tl.constexpr,
    CONTRACTED: tl.constexpr,
    OCCUPIED: tl.constexpr,  # whether there is a grid
    HDR: tl.constexpr,
    SHIFTED: tl.constexpr,
    CASCADES: tl.constexpr,
    CELLS_X: tl.constexpr,
    CELLS_Y: tl.constexpr,
    CELLS_Z: tl.constexpr,
    COLUMNS: tl.constexpr,  # words of features
    WIDTH: tl.constexpr,  # of the hidden layers
    OUTPUTS: tl.constexpr,  # of the density network
    DENSITY_LAYERS: tl.constexpr,  # hidden ones, at least one
    COLOUR_LAYERS: tl.constexpr,
    TILE_X: tl.constexpr,
    TILE_Y: tl.constexpr,
    SEARCH: tl.constexpr,  # empty cells that a ray leaves behind before the others go on
    LAST_TRANSMITTANCE: tl.constexpr,
):
    tile = tl.program_id(0)
    lane = tl.arange(0, TILE_X * TILE_Y)
    column = tile % across * TILE_X + lane % TILE_X
    line = tile // across * TILE_Y + lane // TILE_X
    inside = (column < width) & (line < height)

    # The ray.
    ax = (column.to(tl.float32) + 0.5 - tl.load(view + 2)) / tl.load(view)
    ay = (line.to(tl.float32) + 0.5 - tl.load(view + 3)) / tl.load(view + 1)
    shrink = 1 / tl.sqrt(ax * ax + ay * ay + 1)  # also the cosine to the view axis
    ox, oy, oz = tl.load(view + 4), tl.load(view + 5), tl.load(view + 6)
    dx = (tl.load(view + 7) * ax + tl.load(view + 8) * ay + tl.load(view + 9)) * shrink
    dy = (tl.load(view + 10) * ax + tl.load(view + 11) * ay + tl.load(view + 12)) * shrink
    dz = (tl.load(view + 13) * ax + tl.load(view + 14) * ay + tl.load(view + 15)) * shrink
    ix = 1 / tl.where(tl.abs(dx) < 1e-12, 1e-12, dx)
    iy = 1 / tl.where(tl.abs(dy) < 1e-12, 1e-12, dy)
    iz = 1 / tl.where(tl.abs(dz) < 1e-12, 1e-12, dz)
    lx, hx = (tl.load(bounds) - ox) * ix, (tl.load(bounds + 3) - ox) * ix
    ly, hy = (tl.load(bounds + 1) - oy) * iy, (tl.load(bounds + 4) - oy) * iy
    lz, hz = (tl.load(bounds + 2) - oz) * iz, (tl.load(bounds + 5) - oz) * iz
    enter = tl.maximum(tl.maximum(tl.minimum(lx, hx), tl.minimum(ly, hy)), tl.minimum(lz, hz))
    leave = tl.minimum(tl.minimum(tl.maximum(lx, hx), tl.maximum(ly, hy)), tl.maximum(lz, hz))
    enter, leave = tl.maximum(enter, near / shrink), tl.minimum(leave, far / shrink)
    alive = inside & (enter < leave)
    steps = count_of(tl.minimum(enter, tl.maximum(leave, 0.0)), step, rate, first, last, longest, GROWING) + 0.5

    # What the colour network makes of the direction is the same for all samples of a ray.
    seen = harmonic_rows((dx + 1) / 2, (dy + 1) / 2, (dz + 1) / 2) if SHIFTED else harmonic_rows(dx, dy, dz)
    DENSITY_SIZE: tl.constexpr = 2 * COLUMNS * WIDTH + (DENSITY_LAYERS - 1) * WIDTH * WIDTH + WIDTH * OUTPUTS
    colour_weights, colour_biases = weights + DENSITY_SIZE, biases + DENSITY_LAYERS * WIDTH + OUTPUTS
    seen = tl.dot(seen.to(tl.float16), matrix(colour_weights + OUTPUTS * WIDTH, 16, WIDTH)) + row(colour_biases, WIDTH)

    light = 1.0 + 0.0 * ax
    red, green, blue, reach = 0.0 * light, 0.0 * light, 0.0 * light, 0.0 * light
    samples = tl.zeros(light.shape, tl.int32)
    while tl.max(alive.to(tl.int32), 0) > 0:
        # On to the next sample in a cell that may hold something.
        hit = alive
        distance = distance_of(steps, step, rate, first, last, longest, GROWING)
        if OCCUPIED:
            hit = inside & (light < 0)
            searching = alive
            tries = 0
            while (tl.max(searching.to(tl.int32), 0) > 0) & (tries < SEARCH):
                distance = distance_of(steps, step, rate, first, last, longest, GROWING)
                going = searching & (distance < leave)
                there, qx, qy, qz, sx, sy, sz = occupied_at(
                    ox + distance * dx, oy + distance * dy, oz + distance * dz, cells, boxes, CASCADES, CELLS_X, CELLS_Y, CELLS_Z
                )
                beyond_x = (tl.where(dx > 0, qx + sx, qx) - ox) * ix
                beyond_y = (tl.where(dy > 0, qy + sy, qy) - oy) * iy
                beyond_z = (tl.where(dz > 0, qz + sz, qz) - oz) * iz
                beyond = tl.minimum(tl.minimum(beyond_x, beyond_y), beyond_z)
                beyond = tl.maximum(tl.where(sx > 0, beyond, distance), 0.0)
                left = tl.ceil(count_of(beyond, step, rate, first, last, longest, GROWING) - steps)
                hit = hit | (going & there)
                alive = alive & ((searching == 0) | (distance < leave))
                searching = going & (there == 0)
                steps = tl.where(searching, steps + tl.maximum(left, 1.0), steps)
                tries += 1
            distance = distance_of(steps, step, rate, first, last, longest, GROWING)
        else:
            alive = alive & (distance < leave)
            hit = alive

        # The field there.
        px, py, pz = ox + distance * dx, oy + distance * dy, oz + distance * dz
        if CONTRACTED:
            size = tl.maximum(tl.maximum(tl.maximum(tl.abs(px), tl.abs(py)), tl.abs(pz)), 1.0)
            factor = (2 - 1 / size) / size
            px, py, pz = (px * factor + 2) / 4, (py * factor + 2) / 4, (pz * factor + 2) / 4
        else:
            px = (px - tl.load(box)) * tl.load(box + 3)
            py = (py - tl.load(box + 1)) * tl.load(box + 4)
            pz = (pz - tl.load(box + 2)) * tl.load(box + 5)
        known = hit & (px > 0) & (px < 1) & (py > 0) & (py < 1) & (pz > 0) & (pz < 1)
        even, odd = features_at(px, py, pz, known, table, scales, corners_of, lasts, begins, strides, offset, COLUMNS)
        hidden = tl.dot(even, matrix(weights, COLUMNS, WIDTH))
        hidden = tl.dot(odd, matrix(weights + COLUMNS * WIDTH, COLUMNS, WIDTH), hidden) + row(biases, WIDTH)
        at = weights + 2 * COLUMNS * WIDTH
        for layer in tl.static_range(DENSITY_LAYERS - 1):
            hidden = tl.maximum(hidden, 0.0).to(tl.float16)
            hidden = tl.dot(hidden, matrix(at, WIDTH, WIDTH)) + row(biases + (layer + 1) * WIDTH, WIDTH)
            at += WIDTH * WIDTH
        raw = tl.dot(tl.maximum(hidden, 0.0).to(tl.float16), matrix(at, WIDTH, OUTPUTS)) + row(biases + DENSITY_LAYERS * WIDTH, OUTPUTS)
        hidden = tl.dot(raw.to(tl.float16), matrix(colour_weights, OUTPUTS, WIDTH)) + seen
        at = colour_weights + (OUTPUTS + 16) * WIDTH
        for layer in tl.static_range(COLOUR_LAYERS - 1):
            hidden = tl.maximum(hidden, 0.0).to(tl.float16)
            hidden = tl.dot(hidden, matrix(at, WIDTH, WIDTH)) + row(colour_biases + (layer + 1) * WIDTH, WIDTH)
            at += WIDTH * WIDTH
        colour = tl.dot(tl.maximum(hidden, 0.0).to(tl.float16), matrix(at, WIDTH, 16)) + row(colour_biases + COLOUR_LAYERS * WIDTH, 16)
        colour = tl.exp(tl.minimum(tl.maximum(colour, -10.0), 10.0)) if HDR else 1 / (1 + tl.exp(-colour))

        # What it adds.
        length = distance_of(steps + 0.5, step, rate, first, last, longest, GROWING)
        length -= distance_of(steps - 0.5, step, rate, first, last, longest, GROWING)
        covers = 1 - tl.exp(-density_factor * tl.exp(column_of(raw, 0, OUTPUTS)) * length)
        covers = tl.where(known & (covers >= least_alpha), covers, 0.0)
        weight = light * covers
        red += weight * column_of(colour, 0, 16)
        green += weight * column_of(colour, 1, 16)
        blue += weight * column_of(colour, 2, 16)
        reach += weight * distance
        light *= 1 - covers
        samples += hit.to(tl.int32)
        steps = tl.where(hit, steps + 1, steps)
        alive = alive & (light >= LAST_TRANSMITTANCE)

    pixel = line * width + column
    tl.store(rgb_out + 3 * pixel, red, mask=inside)
    tl.store(rgb_out + 3 * pixel + 1, green, mask=inside)
    tl.store(rgb_out + 3 * pixel + 2, blue, mask=inside)
    tl.store(alpha_out + pixel, 1 - light, mask=inside)
    tl.store(distance_out + pixel, reach * shrink, mask=inside)
    tl.store(samples_out + pixel, samples, mask=inside)
