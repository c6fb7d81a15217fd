"""What a field says about samples, on a GPU: features gathered from the tables (`encode`), and sent through both networks (`ask`: tensor
cores, 16-bit operands, 32-bit sums).

Imports Triton, so it is imported only by who is about to draw with it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from splatview.render.field_kernels import coloured, covered, point_at, share_of, unit_of

SECOND, THIRD = tl.constexpr(2654435761), tl.constexpr(805459861)  # primes of the hash


@triton.jit
def samples_at(places, owners, filled, BLOCK: tl.constexpr):
    """A program's slots [BLOCK], whether they are filled, and of each: the distance of its sample, whether there is one, and its ray."""
    slot = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = slot < filled
    distance = tl.load(places + slot, mask=inside, other=-1.0)
    there = inside & (distance >= 0)
    return slot, inside, distance, there, tl.load(owners + slot, mask=there, other=0)


@triton.jit(do_not_specialize=["turn", "rays", "slots"])
def encode(
    features,  # [L, slots, FEATURES] float16, as words like the table's
    directions,
    counts,
    places,
    owners,
    view,
    box,  # [6] low corner of the unit cube, and 1 / its sides
    table,  # int32 of two 16-bit features, or int64 of four
    levels,  # [L, 4] float64 of each level: its scale, corners along an axis (0: hashed), last entry, where it begins
    turn,
    rays,
    slots,
    offset,
    CONTRACTED: tl.constexpr,
    FEATURES: tl.constexpr,  # of a level: 2, 4 or 8
    MOST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One level's features at all samples; 0 outside the unit cube."""
    filled = tl.load(counts + turn + 1) * share_of(slots, tl.load(counts + turn), MOST)
    level = tl.program_id(1)
    if tl.program_id(0) * BLOCK < filled:
        slot, inside, distance, there, ray = samples_at(places, owners, filled, BLOCK)
        x, y, z = point_at(distance, ray, there, directions, rays, view)
        x, y, z = unit_of(x, y, z, box, CONTRACTED)
        there = there & (x > 0) & (x < 1) & (y > 0) & (y < 1) & (z > 0) & (z < 1)
        scale, corners = tl.load(levels + 4 * level).to(tl.float32), tl.load(levels + 4 * level + 1).to(tl.uint32)
        final, begin = tl.load(levels + 4 * level + 2).to(tl.uint32), tl.load(levels + 4 * level + 3).to(tl.int32)
        x, y, z = x * scale + offset, y * scale + offset, z * scale + offset
        low_x, low_y, low_z = tl.floor(x), tl.floor(y), tl.floor(z)
        x, y, z = x - low_x, y - low_y, z - low_z
        dense = corners > 0
        # Hashed, y and z are multiplied by primes, and xor takes the place of the sum.
        step_y, step_z = tl.where(dense, corners, SECOND), tl.where(dense, corners * corners, THIRD)
        corner_x = low_x.to(tl.int32).to(tl.uint32)
        corner_y, corner_z = low_y.to(tl.int32).to(tl.uint32) * step_y, low_z.to(tl.int32).to(tl.uint32) * step_z
        WORDS: tl.constexpr = (FEATURES + 3) // 4
        zero = 0.0 * x
        f0, f1, f2, f3, f4, f5, f6, f7 = zero, zero, zero, zero, zero, zero, zero, zero
        for number in tl.static_range(8):
            weight = (x if number & 1 else 1 - x) * (y if number & 2 else 1 - y) * (z if number & 4 else 1 - z)
            cx, cy = (corner_x + 1 if number & 1 else corner_x), (corner_y + step_y if number & 2 else corner_y)
            cz = corner_z + step_z if number & 4 else corner_z
            straight = cx + cy + cz
            straight = tl.where(straight > final, straight - final - 1, straight)
            entry = tl.where(dense, straight, (cx ^ cy ^ cz) & final).to(tl.int32)
            word = tl.load(table + WORDS * (begin + entry), mask=there, other=0)
            f0 += weight * half_of(word, 0)
            f1 += weight * half_of(word, 1)
            if FEATURES >= 4:
                f2 += weight * half_of(word, 2)
                f3 += weight * half_of(word, 3)
            if FEATURES == 8:
                word = tl.load(table + WORDS * (begin + entry) + 1, mask=there, other=0)
                f4 += weight * half_of(word, 0)
                f5 += weight * half_of(word, 1)
                f6 += weight * half_of(word, 2)
                f7 += weight * half_of(word, 3)
        target = features + (level.to(tl.int64) * slots + slot) * WORDS
        if FEATURES == 2:
            tl.store(target, (bits_of(f0) | (bits_of(f1) << 16)).to(tl.int32), mask=inside)
        else:
            tl.store(target, bits_of(f0) | (bits_of(f1) << 16) | (bits_of(f2) << 32) | (bits_of(f3) << 48), mask=inside)
        if FEATURES == 8:
            tl.store(target + 1, bits_of(f4) | (bits_of(f5) << 16) | (bits_of(f6) << 32) | (bits_of(f7) << 48), mask=inside)


@triton.jit
def bits_of(value):
    """A number's 16-bit float, as an int64 of its own."""
    return value.to(tl.float16).to(tl.int16, bitcast=True).to(tl.int64) & 0xFFFF


@triton.jit
def half_of(word, number: tl.constexpr):
    """A 16-bit float out of a word of several."""
    return (word >> (16 * number)).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


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


@triton.jit(do_not_specialize=["turn", "rays", "slots", "many"])
def ask(
    answers,  # [4, slots] what each sample covers, and its colour
    features,
    seen,
    directions,
    counts,
    places,
    owners,
    view,
    box,
    weights,  # float16, [in, out] each: see `field_triton.packed`
    biases,  # float32
    cuts,
    many,
    turn,
    rays,
    slots,
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
    FEATURES: tl.constexpr,
    INPUTS: tl.constexpr,  # features of all levels, with those that fill them up to a power of two
    LEVELS: tl.constexpr,
    WIDTH: tl.constexpr,  # of the hidden layers
    OUTPUTS: tl.constexpr,  # of the density network
    DENSITY_LAYERS: tl.constexpr,  # hidden ones, at least one
    COLOUR_LAYERS: tl.constexpr,
    MOST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Both networks, and what they mean for a sample."""
    DENSITY_SIZE: tl.constexpr = INPUTS * WIDTH + (DENSITY_LAYERS - 1) * WIDTH * WIDTH + WIDTH * OUTPUTS
    colour_weights, colour_biases = weights + DENSITY_SIZE, biases + DENSITY_LAYERS * WIDTH + OUTPUTS
    filled = tl.load(counts + turn + 1) * share_of(slots, tl.load(counts + turn), MOST)
    if tl.program_id(0) * BLOCK < filled:
        slot, inside, distance, there, ray = samples_at(places, owners, filled, BLOCK)
        column = tl.arange(0, INPUTS)[None, :]
        source = features + ((column // FEATURES).to(tl.int64) * slots + slot[:, None]) * FEATURES + column % FEATURES
        values = tl.load(source, mask=there[:, None] & (column < LEVELS * FEATURES), other=0.0)
        hidden = tl.dot(values, matrix(weights, INPUTS, WIDTH)) + row(biases, WIDTH)
        at = weights + INPUTS * WIDTH
        for layer in tl.static_range(DENSITY_LAYERS - 1):
            hidden = tl.maximum(hidden, 0.0).to(tl.float16)
            hidden = tl.dot(hidden, matrix(at, WIDTH, WIDTH)) + row(biases + (layer + 1) * WIDTH, WIDTH)
            at += WIDTH * WIDTH
        raw = tl.dot(tl.maximum(hidden, 0.0).to(tl.float16), matrix(at, WIDTH, OUTPUTS)) + row(biases + DENSITY_LAYERS * WIDTH, OUTPUTS)
        looked = tl.load(seen + 16 * ray[:, None] + tl.arange(0, 16)[None, :], mask=there[:, None], other=0.0)
        hidden = tl.dot(looked, matrix(colour_weights + OUTPUTS * WIDTH, 16, WIDTH)) + row(colour_biases, WIDTH)
        hidden = tl.dot(raw.to(tl.float16), matrix(colour_weights, OUTPUTS, WIDTH), hidden)
        at = colour_weights + (OUTPUTS + 16) * WIDTH
        for layer in tl.static_range(COLOUR_LAYERS - 1):
            hidden = tl.maximum(hidden, 0.0).to(tl.float16)
            hidden = tl.dot(hidden, matrix(at, WIDTH, WIDTH)) + row(colour_biases + (layer + 1) * WIDTH, WIDTH)
            at += WIDTH * WIDTH
        colour = tl.dot(tl.maximum(hidden, 0.0).to(tl.float16), matrix(at, WIDTH, 16)) + row(colour_biases + COLOUR_LAYERS * WIDTH, 16)
        colour, log_density = coloured(colour, HDR), column_of(raw, 0, OUTPUTS)
        covers = covered(
            log_density,
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
        tl.store(answers + slot, covers, mask=inside)
        for number in tl.static_range(3):
            tl.store(answers + (number + 1) * slots + slot, column_of(colour, number, 16), mask=inside)
