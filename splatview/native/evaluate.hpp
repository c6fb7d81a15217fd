// A field at points: encoding and networks, sixteen points a register; numbers go from one to the next in registers and the first cache.
// Included, after encode.hpp, inside the namespace of one kernel build only. GROUPS groups of sixteen go through the networks together,
// and OUTPUTS outputs of a layer are summed at a time: as many as the registers hold.

constexpr int CHUNK = GROUPS * 16;
static_assert(CHUNK <= MOST_CHUNK && MOST_CHUNK % CHUNK == 0);

static inline F exp_of(F a) { return exp2_fast(clamp(a * set1(1.44269504f), set1(-126), set1(126))); }

// y = W x + b for [inputs][CHUNK] x and [outputs][CHUNK] y, max(0, y) where `rectified`. FROM_Y: y holds what is there instead of b.
template <int COUNT, bool FROM_Y>
static inline void some_outputs(const LayerView& layer, int first, bool rectified, const float* x, float* y) {
    F sums[COUNT][GROUPS];
    for (int o = 0; o < COUNT; ++o)
        for (int g = 0; g < GROUPS; ++g) sums[o][g] = FROM_Y ? load(y + (first + o) * CHUNK + 16 * g) : set1(layer.biases[first + o]);
    const float* weights = layer.weights + first / 4 * 4 * layer.inputs + first % 4;
    for (int i = 0; i < layer.inputs; ++i) {
        F in[GROUPS];
        for (int g = 0; g < GROUPS; ++g) in[g] = load(x + i * CHUNK + 16 * g);
        for (int o = 0; o < COUNT; ++o) {
            const F weight = set1(weights[o / 4 * 4 * layer.inputs + 4 * i + o % 4]);
            for (int g = 0; g < GROUPS; ++g) sums[o][g] = fma(weight, in[g], sums[o][g]);
        }
    }
    for (int o = 0; o < COUNT; ++o)
        for (int g = 0; g < GROUPS; ++g) store(y + (first + o) * CHUNK + 16 * g, rectified ? max(sums[o][g], set1(0)) : sums[o][g]);
}

template <bool FROM_Y> static void apply(const LayerView& layer, bool rectified, const float* x, float* y) {
    int first = 0;
    for (; first + OUTPUTS <= layer.outputs; first += OUTPUTS) some_outputs<OUTPUTS, FROM_Y>(layer, first, rectified, x, y);
    constexpr int FEW = OUTPUTS < 4 ? OUTPUTS : 4;
    for (; first < layer.outputs; first += FEW) some_outputs<FEW, FROM_Y>(layer, first, rectified, x, y);
}

// The layers of a network from `from` on; returns which of the two buffers holds the outputs.
static float* apply_from(const NetworkView& network, int from, float* x, float* y) {
    for (int number = from; number < network.count; ++number) {
        apply<false>(network.layers[number], number + 1 < network.count, x, y);
        float* const swap = x;
        x = y, y = swap;
    }
    return x;
}

// Sixteen rows of `columns` numbers, a multiple of 16, as columns of x, and back.
static inline void columns_of(const float* rows, const uint32_t* which, int columns, float* x) {
    for (int column = 0; column < columns; column += 16) {
        F in[16], out[16];
        for (int i = 0; i < 16; ++i) in[i] = load(rows + static_cast<size_t>(which[i]) * columns + column);
        transpose(in, out);
        for (int i = 0; i < 16; ++i) store(x + (column + i) * CHUNK, out[i]);
    }
}

static inline void rows_of(const float* x, int columns, float* rows) {
    for (int column = 0; column < columns; column += 16) {
        F in[16], out[16];
        for (int i = 0; i < 16; ++i) in[i] = load(x + (column + i) * CHUNK);
        transpose(in, out);
        for (int i = 0; i < 16; ++i) store(rows + i * columns + column, out[i]);
    }
}

// From the field's frame into the unit cube, rounded as in `HashGrid.warped`.
static inline void warp(const FieldView& field, F& x, F& y, F& z) {
    F* const axes[3] = {&x, &y, &z};
    if (!field.contraction) {
        for (int axis = 0; axis < 3; ++axis) *axes[axis] = (*axes[axis] - set1(field.low[axis])) / set1(field.extent[axis]);
        return;
    }
    const F zero = set1(0), one = set1(1), two = set1(2);
    const F size = max(max(max(max(x, zero - x), max(y, zero - y)), max(z, zero - z)), one);
    const F factor = two - one / size;
    for (F* axis : axes) *axis = (factor * (*axis / size) + two) / set1(4);
}

template <int FEATURES> static inline void sum_features(const uint32_t* table, const Corners& corners, float* x) {
    constexpr int PAIRS = FEATURES < 2 ? 1 : FEATURES / 2;
    F sums[2 * PAIRS];
    for (F& each : sums) each = set1(0);
    const float* words = reinterpret_cast<const float*>(table);
    for (int k = 0; k < 8; ++k) {
        I found[PAIRS < 2 ? 2 : PAIRS];
        if (PAIRS == 1) found[0] = bits_of(gather(words, corners.entry[k]));
        for (int pair = 0; pair + 1 < PAIRS; pair += 2) {
            F even, odd;
            gather_pair(words + pair, PAIRS == 2 ? corners.entry[k] : shift_left<1>(corners.entry[k]), even, odd);
            found[pair] = bits_of(even), found[pair + 1] = bits_of(odd);
        }
        for (int pair = 0; pair < PAIRS; ++pair) {
            F low, high;
            halves(found[pair], low, high);
            sums[2 * pair] = fma(corners.weight[k], low, sums[2 * pair]);
            sums[2 * pair + 1] = fma(corners.weight[k], high, sums[2 * pair + 1]);
        }
    }
    for (int f = 0; f < FEATURES; ++f) store(x + f * CHUNK, sums[f]);
}

static void features_of(const FieldView& field, const Points* points, float* x) {
    Corners corners[2][GROUPS];
    auto prepare = [&](int number) {
        const FieldLevel& level = field.levels[number];
        const bool far = size_t{level.grid.entries} * level.words * sizeof(uint32_t) > NEAR;
        for (int g = 0; g < GROUPS; ++g) {
            Corners& each = corners[number & 1][g];
            each.find(level.grid, field.offset, points[g].x, points[g].y, points[g].z);
            if (far) each.prefetch(level.table, level.words);
        }
    };
    prepare(0);
    for (int number = 0; number < field.level_count; ++number) {
        if (number + 1 < field.level_count) prepare(number + 1);
        const FieldLevel& level = field.levels[number];
        for (int g = 0; g < GROUPS; ++g) {
            const Corners& each = corners[number & 1][g];
            if (level.features == 1) sum_features<1>(level.table, each, x + 16 * g);
            if (level.features == 2) sum_features<2>(level.table, each, x + 16 * g);
            if (level.features == 4) sum_features<4>(level.table, each, x + 16 * g);
            if (level.features == 8) sum_features<8>(level.table, each, x + 16 * g);
        }
        x += level.features * CHUNK;
    }
}

static void density(const FieldView& field, const Samples& samples, float* scratch) {
    float* const buffers[2] = {scratch, scratch + field.widest * CHUNK};
    for (size_t first = 0; first < samples.count; first += CHUNK) {
        Points points[GROUPS];
        for (int g = 0; g < GROUPS; ++g) {
            const size_t at = first + 16 * g;
            F x = load(samples.x + at), y = load(samples.y + at), z = load(samples.z + at);
            warp(field, x, y, z);
            points[g].take(x, y, z);
        }
        features_of(field, points, buffers[0]);
        const float* found = apply_from(field.density, 0, buffers[0], buffers[1]);
        for (int g = 0; g < GROUPS; ++g) {
            const size_t at = first + 16 * g;
            const F here = zero_unless(points[g].inside, set1(field.density_factor) * exp_of(load(found + 16 * g)));
            if (samples.density) store(samples.density + at, here);
            if (samples.covers) {
                const F depth = here * load(samples.length + at), one = set1(1);  // optical
                const F thick = one - exp_of(set1(0) - depth);
                F thin = fnma(depth, set1(1.0f / 24), set1(1.0f / 6));
                thin = depth * fnma(depth, fnma(depth, thin, set1(0.5f)), one);
                const F covers = select(lt(depth, set1(0.1f)), thin, thick);
                store(samples.covers + at, zero_unless(le(set1(field.least_alpha), covers), covers));
            }
            rows_of(found + 16 * g, field.row, samples.rows + at * field.row);
        }
    }
}

// The sixteen functions of `hashgrid.harmonics_of`.
static inline void harmonics(F x, F y, F z, float* to) {
    const F xx = x * x, yy = y * y, zz = z * z, one = set1(1);
    auto put = [&](int number, F value) { store(to + number * CHUNK, value); };
    put(0, set1(0.28209479177387814f));
    put(1, set1(-0.48860251190291987f) * y);
    put(2, set1(0.48860251190291987f) * z);
    put(3, set1(-0.48860251190291987f) * x);
    put(4, set1(1.0925484305920792f) * x * y);
    put(5, set1(-1.0925484305920792f) * y * z);
    put(6, set1(0.94617469575755997f) * zz - set1(0.31539156525251999f));
    put(7, set1(-1.0925484305920792f) * x * z);
    put(8, set1(0.54627421529603959f) * (xx - yy));
    put(9, set1(0.59004358992664352f) * y * (yy - set1(3) * xx));
    put(10, set1(2.8906114426405538f) * x * y * z);
    put(11, set1(0.45704579946446572f) * y * (one - set1(5) * zz));
    put(12, set1(0.37317633259011546f) * z * (set1(5) * zz - set1(3)));
    put(13, set1(0.45704579946446572f) * x * (one - set1(5) * zz));
    put(14, set1(1.4453057213202769f) * z * (xx - yy));
    put(15, set1(0.59004358992664352f) * x * (set1(3) * yy - xx));
}

static void directions(const FieldView& field, const Directions& given, float* scratch) {
    float *x = scratch, *y = scratch + field.widest * CHUNK;
    for (size_t first = 0; first < given.count; first += CHUNK) {
        for (int g = 0; g < GROUPS; ++g) {
            F along[3];
            for (int axis = 0; axis < 3; ++axis) {
                along[axis] = load(given.axes[axis] + first + 16 * g);
                if (field.shifted_directions) along[axis] = (along[axis] + set1(1)) * set1(0.5f);
            }
            harmonics(along[0], along[1], along[2], x + 16 * g);
        }
        apply<false>(field.seen, false, x, y);
        for (int g = 0; g < GROUPS; ++g) rows_of(y + 16 * g, field.head, given.heads + (first + 16 * g) * field.head);
    }
}

static void colour(const FieldView& field, const Colours& asked, float* scratch) {
    float *x = scratch, *y = scratch + field.widest * CHUNK;
    for (size_t first = 0; first < asked.count; first += CHUNK) {
        for (int g = 0; g < GROUPS; ++g) {
            columns_of(asked.rows, asked.row_of + first + 16 * g, field.row, x + 16 * g);
            columns_of(asked.heads, asked.head_of + first + 16 * g, field.head, y + 16 * g);
        }
        apply<true>(field.colour.layers[0], field.colour.count > 1, x, y);
        const float* found = apply_from(field.colour, 1, y, x);
        for (int channel = 0; channel < 3; ++channel)
            for (int g = 0; g < GROUPS; ++g) {
                const F raw = load(found + channel * CHUNK + 16 * g), one = set1(1);
                const F shown = field.hdr ? exp_of(clamp(raw, set1(-10), set1(10))) : one / (one + exp_of(set1(0) - raw));
                store(asked.rgb[channel] + first + 16 * g, shown);
            }
    }
}
