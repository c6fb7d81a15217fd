// Where the surfaces of sixteen neighbouring pixels are in a picture of before, and what is read there. Included inside the namespace of
// one kernel build.
//
// Places are computed with a pixel to a lane. What is around one of them is read with a number of a tap to a lane, four taps at once: they
// are neighbours in memory. Gathers, a tap of sixteen pixels to a register, take three times as long.

constexpr float FAR_OUT = 2;        // pixels outside of a picture, from where on all taps are its edge
constexpr float SHARPNESS = -0.5f;  // the a of Keys' cubic convolution: OpenCV and PyTorch have -0.75, which keeps pictures less well

// The factors of 1, t, t^2 and t^3 in the weight of each tap, t from the second to the third.
constexpr float CUBIC[4][4] = {{0, SHARPNESS, -2 * SHARPNESS, SHARPNESS},
                               {1, 0, -SHARPNESS - 3, SHARPNESS + 2},
                               {0, -SHARPNESS, 2 * SHARPNESS + 3, -SHARPNESS - 2},
                               {0, 0, SHARPNESS, -SHARPNESS}};

static inline F polynomial(const F factors[4], F t) { return fma(fma(fma(factors[3], t, factors[2]), t, factors[1]), t, factors[0]); }

// Weights by lane, for quarters that are taps.
struct TapWeights {
    F cubic[4];           // factors, of four taps in a row
    F column[2], row[2];  // factors of two taps in each of two rows
    F across(F t) const { return polynomial(cubic, t); }
    F square(F right, F down) const { return fma(column[1], right, column[0]) * fma(row[1], down, row[0]); }
};

static inline TapWeights tap_weights() {
    float cubic[4][16], column[2][16], row[2][16];
    for (int i = 0; i < 16; ++i) {
        const int tap = i / 4;
        for (int power = 0; power < 4; ++power) cubic[power][i] = CUBIC[tap][power];
        column[0][i] = tap % 2 ? 0 : 1, column[1][i] = tap % 2 ? 1 : -1;
        row[0][i] = tap / 2 ? 0 : 1, row[1][i] = tap / 2 ? 1 : -1;
    }
    TapWeights weights;
    for (int power = 0; power < 4; ++power) weights.cubic[power] = load(cubic[power]);
    for (int power = 0; power < 2; ++power) weights.column[power] = load(column[power]), weights.row[power] = load(row[power]);
    return weights;
}

// Where sixteen pixels' surfaces are in the picture of before.
struct Places {
    F x, y;      // at most FAR_OUT outside of it; what was behind the camera is
    F nearness;  // that they have now
    F expected;  // that they had then
};

static inline F lanes() {
    static const float numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load(numbers);
}

static inline Places places(const Warp& warp, const float* depth, const float* alpha, int x, int y) {
    F near = set1(0);
    if (depth) {
        const F z = load(depth);
        M there = lt(set1(0), z);
        if (alpha) there = both(there, le(set1(SOLID), load(alpha)));
        near = zero_unless(there, set1(1) / z);
    }
    const F column = lanes() + set1(static_cast<float>(x));
    auto along = [&](const float (&row)[4]) {
        return fma(near, set1(row[3]), fma(column, set1(row[0]), set1(row[1] * static_cast<float>(y) + row[2])));
    };
    const F ratio = along(warp.matrix[2]), inverse = set1(1) / ratio;
    const M ahead = lt(set1(0), ratio);
    auto inside = [&](F at, int size) {
        return clamp(select(ahead, at * inverse, set1(-FAR_OUT)), set1(-FAR_OUT), set1(static_cast<float>(size - 1) + FAR_OUT));
    };
    return {inside(along(warp.matrix[0]), warp.from_width), inside(along(warp.matrix[1]), warp.from_height), near, near * inverse};
}

// What is read around places: the columns from the left of the place, or from one before, and rows from one before the upper.
struct Corners {
    alignas(64) int32_t column[16];         // at the left of the place
    alignas(64) int32_t corner[4][16];      // pixel at that column of the rows, which are kept within the picture; times its numbers
    alignas(64) float right[16], down[16];  // how far the place is from there, 0..1
    F fraction_y;
    unsigned whole;  // which places have all their taps in the picture
};

template <int NUMBERS> static inline void find_corners(const Warp& warp, const Places& at, int before, int after, Corners& corners) {
    const I x = floor_int(at.x), y = floor_int(at.y);
    const F down = at.y - to_float(y);
    for (int j = 0; j < 4; ++j) {
        const I row = clamp(y + set1i(j - 1), set1i(0), set1i(warp.from_height - 1));
        storei(corners.corner[j], (row * set1i(warp.from_width) + x) * set1i(NUMBERS));
    }
    storei(corners.column, x), store(corners.right, at.x - to_float(x)), store(corners.down, down);
    corners.fraction_y = down;
    corners.whole = bits(both(le(set1i(before), x), le(x, set1i(warp.from_width - 1 - after))));
}

static inline int kept(int column, int width) { return column < 0 ? 0 : column < width ? column : width - 1; }

// COUNT neighbours of four numbers each, the first `before` the place, where some are out of the picture.
template <int COUNT>
static __attribute__((noinline)) void copy_kept(float* to, const float* image, const Corners& corners, int row, int p, int before,
                                                int width) {
    const int column = corners.column[p], first = corners.corner[row][p] - 4 * column;
    for (int k = 0; k < COUNT; ++k) __builtin_memcpy(to + 4 * k, image + first + 4 * kept(column - before + k, width), 16);
}

// The pixels whose centre is next to the places, or -1 where that is out of the picture.
static inline I nearest_pixel(const Warp& warp, const Places& at) {
    const I x = round_int(at.x), y = round_int(at.y);
    const M in_x = both(le(set1i(0), x), le(x, set1i(warp.from_width - 1)));
    const M in_y = both(le(set1i(0), y), le(y, set1i(warp.from_height - 1)));
    return select(both(in_x, in_y), y * set1i(warp.from_width) + x, set1i(-1));
}

// Where a surface that is expected at one nearness is seen at another that is about the same. Not where either is not a number.
static inline M alike(F expected, F there, float tolerance) { return le(max(expected - there, there - expected), set1(tolerance) * there); }
