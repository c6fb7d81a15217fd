// A field at points: encoding and networks, sixteen points a register; numbers go from one to the next in registers and the first cache.
// Included, after encode.hpp, inside the namespace of one kernel build only. GROUPS groups of sixteen go through the networks together,
// and OUTPUTS outputs of a layer are summed at a time: as many as the registers hold.

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

#ifndef SPLATVIEW_BF16
// The layers of a network from `from` on; returns which of the two buffers holds the outputs.
static float* apply_from(const NetworkView& network, int from, float* x, float* y) {
    for (int number = from; number < network.count; ++number) {
        apply<false>(network.layers[number], number + 1 < network.count, x, y);
        float* const swap = x;
        x = y, y = swap;
    }
    return x;
}

static float* through_density(const NetworkView& network, float* x, float* y) { return apply_from(network, 0, x, y); }

// y: what the sums of the first layer begin with.
static float* through_colour(const NetworkView& network, float* x, float* y) {
    apply<true>(network.layers[0], network.count > 1, x, y);
    return apply_from(network, 1, y, x);
}
#endif

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

// What is at hand of one level: corners, then the words of their entries. Single loads, many of them on their way at once, are
// faster than gathers, which some processors do in a hundred steps.
struct Level {
    uint32_t entries[8][CHUNK], words[4][8][CHUNK];
    float weights[8][CHUNK];

    void find(const FieldView& field, const FieldLevel& level, const Points* points) {
        for (int g = 0; g < GROUPS; ++g) {
            Corners corners;
            corners.find(level.grid, field.offset, level.unit, points[g].x, points[g].y, points[g].z);
            for (int k = 0; k < 8; ++k) storei(entries[k] + 16 * g, corners.entry[k]), store(weights[k] + 16 * g, corners.weight[k]);
        }
    }

    template <int WORDS> void prefetch(const uint32_t* table) const {
        for (int k = 0; k < 8; k += 2)  // the next entry along x is mostly in the same line
            for (int i = 0; i < CHUNK; ++i) __builtin_prefetch(table + size_t{entries[k][i]} * WORDS);
    }

    typedef uint32_t Four __attribute__((vector_size(16)));

    // The words `at` and after it of four places.
    static inline void pairs(const uint32_t* const four[4], int at, uint32_t* first, uint32_t* second) {
        typedef uint64_t Two __attribute__((vector_size(16)));
        auto both = [](const uint32_t* from) {
            uint64_t word;
            __builtin_memcpy(&word, from, sizeof word);
            return word;
        };
        const Two ab = {both(four[0] + at), both(four[1] + at)}, cd = {both(four[2] + at), both(four[3] + at)};
#if defined(__clang__)
        const Four firsts = __builtin_shufflevector((Four)ab, (Four)cd, 0, 2, 4, 6);
        const Four seconds = __builtin_shufflevector((Four)ab, (Four)cd, 1, 3, 5, 7);
#else
        const Four firsts = __builtin_shuffle((Four)ab, (Four)cd, Four{0, 2, 4, 6});
        const Four seconds = __builtin_shuffle((Four)ab, (Four)cd, Four{1, 3, 5, 7});
#endif
        __builtin_memcpy(first, &firsts, sizeof firsts), __builtin_memcpy(second, &seconds, sizeof seconds);
    }

    template <int WORDS, bool ADJACENT> void fetch_from(const uint32_t* table) {
        for (int k = 0; k < 8; k += ADJACENT ? 2 : 1)
            for (int i = 0; i < CHUNK; i += 4) {
                const uint32_t* four[4];
                for (int j = 0; j < 4; ++j) four[j] = table + size_t{entries[k][i + j]} * WORDS;
                if (WORDS == 1 && !ADJACENT) {
                    const Four found = {*four[0], *four[1], *four[2], *four[3]};
                    __builtin_memcpy(words[0][k] + i, &found, sizeof found);
                }
                if (WORDS == 1 && ADJACENT) pairs(four, 0, words[0][k] + i, words[0][k + 1] + i);
                for (int word = 0; word + 1 < WORDS; word += 2) pairs(four, word, words[word][k] + i, words[word + 1][k] + i);
            }
    }

    // The words of all corners. A grid that is not hashed has the next corner along x behind each.
    void fetch(const FieldLevel& level) {
        if (level.words == 1) level.grid.resolution ? fetch_from<1, true>(level.table) : fetch_from<1, false>(level.table);
        if (level.words == 2) fetch_from<2, false>(level.table);
        if (level.words == 4) fetch_from<4, false>(level.table);
    }

    void sum(int features, float* x) const {
        for (int word = 0; 2 * word < features; ++word)
            for (int g = 0; g < GROUPS; ++g) {
                F even = set1(0), odd = set1(0);
                for (int k = 0; k < 8; ++k) {
                    // The bits of a half in those of a float are the number times 2^-112.
                    const I found = loadi(words[word][k] + 16 * g), bits = set1i(static_cast<int32_t>(0x8fffe000));
                    const F low = float_of(shift_right<3>(shift_left<16>(found)) & bits), high = float_of(shift_right<3>(found) & bits);
                    const F weight = load(weights[k] + 16 * g);
                    even = fma(weight, low, even), odd = fma(weight, high, odd);
                }
                store(x + 2 * word * CHUNK + 16 * g, even);
                if (2 * word + 1 < features) store(x + (2 * word + 1) * CHUNK + 16 * g, odd);
            }
    }
};

static void features_of(const FieldView& field, const Points* points, float* x) {
    Level levels[3];  // one whose lines are on their way to the cache, one whose words are to be had, one that is summed
    const int count = field.level_count;
    for (int number = 0; number < count + 2; ++number) {
        if (number < count) {
            const FieldLevel& from = field.levels[number];
            Level& level = levels[number % 3];
            level.find(field, from, points);
            if (size_t{from.grid.entries} * from.words * sizeof(uint32_t) > NEAR)
                from.words == 1   ? level.prefetch<1>(from.table)
                : from.words == 2 ? level.prefetch<2>(from.table)
                                  : level.prefetch<4>(from.table);
        }
        if (number >= 1 && number <= count) {
            const FieldLevel& from = field.levels[number - 1];
            levels[(number - 1) % 3].fetch(from);
        }
        if (number >= 2) {
            const int features = field.levels[number - 2].features;
            levels[(number - 2) % 3].sum(features, x);
            x += features * CHUNK;
        }
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
        const float* found = through_density(field.density, buffers[0], buffers[1]);
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
        const float* found = through_colour(field.colour, x, y);
        for (int channel = 0; channel < 3; ++channel)
            for (int g = 0; g < GROUPS; ++g) {
                const F raw = load(found + channel * CHUNK + 16 * g), one = set1(1);
                const F shown = field.hdr ? exp_of(clamp(raw, set1(-10), set1(10))) : one / (one + exp_of(set1(0) - raw));
                store(asked.rgb[channel] + first + 16 * g, shown);
            }
    }
}
