// Pictures of before, carried to where they are seen now. Included inside the namespace of one kernel build, after reproject.hpp.

template <int SHIFT> static inline F byte_of(I words) { return to_float(shift_right<SHIFT>(words) & set1i(255)); }

static inline I level(F c) { return floor_int(clamp(c, set1(0), set1(255)) + set1(0.5f)); }
static inline I packed(F red, F green, F blue) { return level(red) | shift_left<8>(level(green)) | shift_left<16>(level(blue)); }

// Sixteen pixels of an `Averaging`.
struct AveragePixels {
    const float *depth, *alpha;
    const uint8_t *rendered, *style;
    const float *rendered_finer, *style_finer;
    float *marks, *average;
    uint8_t* rounded;
};

static inline void average_pixels(const Averaging& task, const TapWeights& weights, const AveragePixels& pixels, int x, int y) {
    const Warp& warp = task.warp;
    const int width = warp.from_width;
    const Places at = places(warp, pixels.depth, pixels.alpha, x, y);
    Corners corners;
    find_corners<4>(warp, at, 1, 2, corners);
    alignas(64) float row_weights[4][16];
    for (int j = 0; j < 4; ++j) {
        const F factors[4] = {set1(CUBIC[j][0]), set1(CUBIC[j][1]), set1(CUBIC[j][2]), set1(CUBIC[j][3])};
        store(row_weights[j], polynomial(factors, corners.fraction_y));
    }
    F known[4], old[4];  // of pixels, then of channels
    for (int i = 0; i < 4; ++i) {
        F marks[4], average[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const int p = 4 * k + i;
            const F right = set1(corners.right[p]);
            F row[4], square;
            if (__builtin_expect(corners.whole >> p & 1, 1)) {
                for (int j = 0; j < 4; ++j) row[j] = load(task.average + corners.corner[j][p] - 4);
                square = load_pair(task.marks + corners.corner[1][p], task.marks + corners.corner[2][p]);
            } else {
                alignas(64) float taps[16];
                for (int j = 0; j < 4; ++j) {
                    copy_kept<4>(taps, task.average, corners, j, p, 1, width);
                    row[j] = load(taps);
                }
                for (int j = 0; j < 2; ++j) copy_kept<2>(taps + 8 * j, task.marks, corners, 1 + j, p, 0, width);
                square = load(taps);
            }
            F sum = row[0] * set1(row_weights[0][p]);
            for (int j = 1; j < 4; ++j) sum = fma(row[j], set1(row_weights[j][p]), sum);
            average[k] = sum * weights.across(right);
            marks[k] = square * weights.square(right, set1(corners.down[p]));
        }
        known[i] = quarter_sums(marks), old[i] = quarter_sums(average);
    }
    transpose_quarters(known), transpose_quarters(old);

    const I rendered = load_triples(pixels.rendered), style = load_triples(pixels.style);
    const F marks[3] = {byte_of<0>(rendered), byte_of<8>(rendered), byte_of<16>(rendered)};
    const F fresh[3] = {byte_of<0>(style), byte_of<8>(style), byte_of<16>(style)};
    if (pixels.rendered_finer) {
        const I triple = floor_int(lanes() * set1(3));
        for (int c = 0; c < 3; ++c) {
            known[c] = known[c] + gather(pixels.rendered_finer + c, triple);
            old[c] = old[c] + gather(pixels.style_finer + c, triple);
        }
    }
    F difference = set1(0);
    for (int c = 0; c < 3; ++c) difference = max(difference, max(known[c] - marks[c], marks[c] - known[c]));
    const I nearest = nearest_pixel(warp, at);
    const M seen = both(le(set1i(0), nearest), alike(at.expected, known[3], task.tolerance));
    F count = gather(task.average + 3, shift_left<2>(max(nearest, set1i(0))));
    count = count * clamp(fnma(difference, set1(1 / task.change), set1(1.5f)), set1(0), set1(1));  // by degrees, or it would flicker itself
    count = min(zero_unless(seen, count) + set1(1), set1(task.most));
    const F share = set1(1) / count;
    F average[3];
    for (int c = 0; c < 3; ++c) {
        average[c] = clamp(fma(share, fresh[c] - old[c], old[c]), set1(0), set1(255));
        known[c] = fma(share, marks[c] - known[c], known[c]);
    }
    store_interleaved(pixels.marks, known[0], known[1], known[2], at.nearness);
    store_interleaved(pixels.average, average[0], average[1], average[2], max(count * set1(task.weight), set1(1)));
    store_triples(pixels.rounded, packed(average[0], average[1], average[2]));
}

// Copies of what fewer than sixteen pixels have, with room for sixteen.
static inline void copy_in(const float*& from, float* room, int numbers) {
    if (!from) return;
    __builtin_memcpy(room, from, sizeof(float) * static_cast<size_t>(numbers));
    from = room;
}

static inline void copy_in(const uint8_t*& from, uint8_t* room, int numbers) {
    __builtin_memcpy(room, from, static_cast<size_t>(numbers));
    from = room;
}

static void average(const Averaging& task, int top, int bottom) {
    const TapWeights weights = tap_weights();
    const int width = task.warp.width;
    for (int y = top; y < bottom; ++y)
        for (int x = 0; x < width; x += 16) {
            const size_t at = static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
            auto from = [&](auto* image, size_t channels) { return image ? image + channels * at : nullptr; };
            AveragePixels pixels{from(task.warp.depth, 1),  from(task.warp.alpha, 1),     from(task.rendered, 3),
                                 from(task.style, 3),       from(task.rendered_finer, 3), from(task.style_finer, 3),
                                 from(task.marks_after, 4), from(task.average_after, 4),  from(task.rounded, 3)};
            const int count = width - x;
            if (count >= 16) {
                average_pixels(task, weights, pixels, x, y);
                continue;
            }
            const AveragePixels to = pixels;
            float surfaces[2][16] = {}, finer[2][48] = {}, marks[64], averages[64];
            uint8_t bytes[2][48] = {}, rounded[48];
            copy_in(pixels.depth, surfaces[0], count), copy_in(pixels.alpha, surfaces[1], count);
            copy_in(pixels.rendered, bytes[0], 3 * count), copy_in(pixels.style, bytes[1], 3 * count);
            copy_in(pixels.rendered_finer, finer[0], 3 * count), copy_in(pixels.style_finer, finer[1], 3 * count);
            pixels.marks = marks, pixels.average = averages, pixels.rounded = rounded;
            average_pixels(task, weights, pixels, x, y);
            __builtin_memcpy(to.marks, marks, sizeof(float) * 4 * static_cast<size_t>(count));
            __builtin_memcpy(to.average, averages, sizeof(float) * 4 * static_cast<size_t>(count));
            __builtin_memcpy(to.rounded, rounded, 3 * static_cast<size_t>(count));
        }
}

static inline void lay_pixels(const Laying& task, const TapWeights& weights, const float* depth, const float* alpha, uint8_t* found,
                              uint8_t* known, int x, int y) {
    const Warp& warp = task.warp;
    const int width = warp.from_width, last = width * warp.from_height - 3;  // of the pixels behind which eight bytes can be read
    const Places at = places(warp, depth, alpha, x, y);
    Corners corners;
    find_corners<1>(warp, at, 0, 1, corners);
    F there[4];  // of pixels, then of channels
    for (int i = 0; i < 4; ++i) {
        F square[4];
        for (int k = 0; k < 4; ++k) {
            const int p = 4 * k + i, upper = corners.corner[1][p], lower = corners.corner[2][p];
            F patch;
            if ((corners.whole >> p & 1) && lower <= last) {
                patch = load_patch(task.picture + 3 * static_cast<ptrdiff_t>(upper), task.picture + 3 * static_cast<ptrdiff_t>(lower),
                                   task.nearness + upper, task.nearness + lower);
            } else {
                uint8_t triples[2][8] = {};
                float numbers[2][2];
                for (int j = 0; j < 2; ++j)
                    for (int tap = 0; tap < 2; ++tap) {
                        const int column = corners.column[p], from = corners.corner[1 + j][p] - column + kept(column + tap, width);
                        __builtin_memcpy(triples[j] + 3 * tap, task.picture + 3 * static_cast<size_t>(from), 3);
                        numbers[j][tap] = task.nearness[from];
                    }
                patch = load_patch(triples[0], triples[1], numbers[0], numbers[1]);
            }
            square[k] = patch * weights.square(set1(corners.right[p]), set1(corners.down[p]));
        }
        there[i] = quarter_sums(square);
    }
    transpose_quarters(there);
    store_triples(found, packed(there[0], there[1], there[2]));
    store_mask(known, both(le(set1i(0), nearest_pixel(warp, at)), alike(at.expected, there[3], task.tolerance)));
}

static void lay(const Laying& task, int top, int bottom) {
    const TapWeights weights = tap_weights();
    const int width = task.warp.width;
    for (int y = top; y < bottom; ++y)
        for (int x = 0; x < width; x += 16) {
            const size_t at = static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
            const float *depth = task.warp.depth ? task.warp.depth + at : nullptr,
                        *alpha = task.warp.alpha ? task.warp.alpha + at : nullptr;
            const int count = width - x;
            if (count >= 16) {
                lay_pixels(task, weights, depth, alpha, task.found + 3 * at, task.known + at, x, y);
                continue;
            }
            float surfaces[2][16] = {};
            uint8_t found[48], known[16];
            copy_in(depth, surfaces[0], count), copy_in(alpha, surfaces[1], count);
            lay_pixels(task, weights, depth, alpha, found, known, x, y);
            __builtin_memcpy(task.found + 3 * at, found, 3 * static_cast<size_t>(count));
            __builtin_memcpy(task.known + at, known, static_cast<size_t>(count));
        }
}
