// The multiresolution hash encoding (Müller et al. 2022), sixteen points at a time, and its transpose.
// Included, after lanes.hpp, inside the namespace of one kernel build only.

// The remainder of a place that is `DIVIDE`d: rare, as trained tables are powers of two.
static inline I remainder(I place, uint32_t entries) {
    uint32_t lanes[16];
    storei(lanes, place);
    for (uint32_t& lane : lanes) lane %= entries;
    return loadi(lanes);
}

// The entries of the eight corners around each point, and their trilinear weights. Corner k: + (k & 1, k >> 1 & 1, k >> 2) cells.
struct Corners {
    I entry[8];
    F weight[8];

    // Every operation rounds as the specification's do: where a point is in its cell must not differ.
    // `unit` multiplies the weights.
    void find(const GridLevel& level, float offset, float unit, F x, F y, F z) {
        const F scale = set1(level.scale), shift = set1(offset), one = set1(1);
        x = x * scale + shift, y = y * scale + shift, z = z * scale + shift;
        const I x0 = floor_int(x), y0 = floor_int(y), z0 = floor_int(z);
        const F fx = x - to_float(x0), fy = y - to_float(y0), fz = z - to_float(z0);
        const F xs[2] = {one - fx, fx}, ys[2] = {one - fy, fy}, zs[2] = {(one - fz) * set1(unit), fz * set1(unit)};
        const bool hashed = level.resolution == 0;
        const I y_factor = set1i(static_cast<int32_t>(hashed ? 2654435761u : level.resolution));
        const I z_factor = set1i(static_cast<int32_t>(hashed ? 805459861u : level.resolution * level.resolution));
        const I px[2] = {x0, x0 + set1i(1)};
        const I first_y = y0 * y_factor, first_z = z0 * z_factor;
        const I py[2] = {first_y, first_y + y_factor}, pz[2] = {first_z, first_z + z_factor};
        const I entries = set1i(static_cast<int32_t>(level.entries)), mask = entries - set1i(1);
        for (int zy = 0; zy < 4; ++zy) {
            const I part = hashed ? py[zy & 1] ^ pz[zy >> 1] : py[zy & 1] + pz[zy >> 1];
            for (int i = 0; i < 2; ++i) {
                I place = hashed ? part ^ px[i] : part + px[i];
                if (level.wrap == GridLevel::MASK)
                    place = place & mask;
                else if (level.wrap == GridLevel::ONCE)
                    place = min_unsigned(place, place - entries);
                else
                    place = remainder(place, level.entries);
                entry[2 * zy + i] = place;
                weight[2 * zy + i] = xs[i] * ys[zy & 1] * zs[zy >> 1];
            }
        }
    }

    template <class T> void prefetch(const T* table, int stride) const {
        for (const I& entries : entry) {
            uint32_t lanes[16];
            storei(lanes, entries);
            for (const uint32_t lane : lanes) __builtin_prefetch(table + static_cast<size_t>(lane) * stride);
        }
    }
};

static constexpr size_t NEAR = 1 << 17;  // bytes of a level that is in a near cache anyway

// Sixteen points of the unit cube, fewer at the end; those outside are moved to its corner and not `inside`.
struct Points {
    F x, y, z;
    M inside;

    void read(const float* positions, size_t count) {
        float lanes[3][16];
        for (size_t i = 0; i < 16; ++i)
            for (int axis = 0; axis < 3; ++axis) lanes[axis][i] = i < count ? positions[3 * i + axis] : 0;
        take(load(lanes[0]), load(lanes[1]), load(lanes[2]));
    }

    void take(F px, F py, F pz) {
        const F zero = set1(0), one = set1(1);
        inside = both(both(both(lt(zero, px), lt(px, one)), both(lt(zero, py), lt(py, one))), both(lt(zero, pz), lt(pz, one)));
        x = zero_unless(inside, px), y = zero_unless(inside, py), z = zero_unless(inside, pz);
    }
};

template <int FEATURES>
static void encode_features(const Grid& grid, const float* table, const float* positions, size_t count, float* out) {
    const int width = grid.count * FEATURES;
    float found[(MOST_LEVELS * 8 + 15) / 16 * 16][16];
    for (size_t first = 0; first < count; first += 16) {
        const size_t here = count - first < 16 ? count - first : 16;
        Points points;
        points.read(positions + 3 * first, here);
        // The entries of the next level are on their way while this one's are summed.
        Corners both_corners[2];
        auto prepare = [&](int number) {
            Corners& corners = both_corners[number & 1];
            corners.find(grid.levels[number], grid.offset, 1, points.x, points.y, points.z);
            if (grid.levels[number].entries * sizeof(float) * FEATURES > NEAR)
                corners.prefetch(table + grid.levels[number].first * FEATURES, FEATURES);
        };
        prepare(0);
        for (int number = 0; number < grid.count; ++number) {
            const float* base = table + grid.levels[number].first * FEATURES;
            if (number + 1 < grid.count) prepare(number + 1);
            const Corners& corners = both_corners[number & 1];
            F sum[FEATURES];
            for (F& each : sum) each = set1(0);
            for (int k = 0; k < 8; ++k) {
                if (FEATURES == 1) {
                    sum[0] = fma(corners.weight[k], gather(base, corners.entry[k]), sum[0]);
                    continue;
                }
                for (int pair = 0; pair < FEATURES / 2; ++pair) {
                    F even, odd;
                    gather_pair(base + 2 * pair, FEATURES == 2 ? corners.entry[k] : shift_left<FEATURES == 8 ? 2 : 1>(corners.entry[k]),
                                even, odd);
                    sum[2 * pair] = fma(corners.weight[k], even, sum[2 * pair]);
                    sum[2 * pair + 1] = fma(corners.weight[k], odd, sum[2 * pair + 1]);
                }
            }
            for (int f = 0; f < FEATURES; ++f) store(found[number * FEATURES + f], zero_unless(points.inside, sum[f]));
        }
        for (int column = 0; column < width; column += 16) {
            F in[16], rows[16];
            for (int i = 0; i < 16; ++i) in[i] = load(found[column + i]);
            transpose(in, rows);
            const int columns = width - column < 16 ? width - column : 16;
            for (size_t i = 0; i < here; ++i) {
                float* to = out + (first + i) * static_cast<size_t>(width) + column;
                if (columns == 16) {
                    store(to, rows[i]);
                    continue;
                }
                float row[16];
                store(row, rows[i]);
                for (int c = 0; c < columns; ++c) to[c] = row[c];
            }
        }
    }
}

template <int FEATURES>
static void scatter_features(const Grid& grid, int number, const float* positions, const float* dfeatures, size_t count, float* gradient) {
    const GridLevel& level = grid.levels[number];
    const size_t width = static_cast<size_t>(grid.count) * FEATURES;
    float* base = gradient + level.first * FEATURES;
    uint32_t entries[2][8][16];  // of this group and the next: those are on their way while these are added to
    float weights[2][8][16];
    auto prepare = [&](size_t first, int half) {
        Points points;
        points.read(positions + 3 * first, count - first < 16 ? count - first : 16);
        Corners corners;
        corners.find(level, grid.offset, 1, points.x, points.y, points.z);
        for (int k = 0; k < 8; ++k) {
            storei(entries[half][k], corners.entry[k]);
            store(weights[half][k], zero_unless(points.inside, corners.weight[k]));
            for (uint32_t entry : entries[half][k]) __builtin_prefetch(base + static_cast<size_t>(entry) * FEATURES, 1);
        }
    };
    if (count) prepare(0, 0);
    for (size_t first = 0, half = 0; first < count; first += 16, half ^= 1) {
        if (first + 16 < count) prepare(first + 16, static_cast<int>(half ^ 1));
        const size_t here = count - first < 16 ? count - first : 16;
        for (size_t i = 0; i < here; ++i) {
            const float* from = dfeatures + (first + i) * width + static_cast<size_t>(number) * FEATURES;
            float d[FEATURES];
            for (int f = 0; f < FEATURES; ++f) d[f] = from[f];
            for (int k = 0; k < 8; ++k) {
                const float weight = weights[half][k][i];
                if (weight == 0) continue;
                float* to = base + static_cast<size_t>(entries[half][k][i]) * FEATURES;
                for (int f = 0; f < FEATURES; ++f) to[f] += weight * d[f];
            }
        }
    }
}

static void encode(const Grid& grid, const float* table, const float* positions, size_t count, float* out) {
    auto run = grid.features == 1   ? encode_features<1>
               : grid.features == 2 ? encode_features<2>
               : grid.features == 4 ? encode_features<4>
                                    : encode_features<8>;
    run(grid, table, positions, count, out);
}

static void scatter(const Grid& grid, int level, const float* positions, const float* dfeatures, size_t count, float* gradient) {
    auto run = grid.features == 1   ? scatter_features<1>
               : grid.features == 2 ? scatter_features<2>
               : grid.features == 4 ? scatter_features<4>
                                    : scatter_features<8>;
    run(grid, level, positions, dfeatures, count, gradient);
}
