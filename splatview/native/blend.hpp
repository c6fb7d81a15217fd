// The second kernel: a tile's records to pixels. Included after lanes.hpp, in the same way.

// What a tile needs of its next Gaussians: alpha at pixel (u, v) from the tile's centre is 2^(c0 + c1 u + c2 v + uu u^2 + uv u v + vv v^2).
struct Batch {
    alignas(64) float c0[BATCH], c1[BATCH], c2[BATCH], uu[BATCH], uv[BATCH], vv[BATCH], r[BATCH], g[BATCH], b[BATCH], z[BATCH];
    alignas(64) float rim_low[BATCH], rim_high[BATCH];  // the powers between which an outline is drawn
    alignas(64) int32_t touched[BATCH];                 // the 4 x 4 blocks that it reaches, a bit each
    alignas(64) float tinted[BATCH];                    // 1 or 0, where the coverage is wanted
    bool capped;                                        // whether an alpha may pass the cap
    bool has_tinted;
};

static inline void load_batch(const TileTask& task, const uint32_t* list, int count, Batch& batch) {
    const float left = static_cast<float>(task.column * TILE), top = static_cast<float>(task.row * TILE), half = 0.5f * (TILE - 1);
    batch.capped = batch.has_tinted = false;
    for (int at = 0; at < count; at += LANES) {
        F lanes[16], f[16];
        for (int i = 0; i < LANES; ++i) lanes[i] = load(&task.records[list[at + i]].x);
        transpose(lanes, f);
        const F x = f[0], y = f[1], a = f[2], h = f[3], e = f[4], peak = f[5];
        const F dy = set1(top + half) - y, dx = fma(h, dy, set1(left + half) - x);
        store(batch.c0 + at, peak - fma(a * dx, dx, e * dy * dy));
        const F slope = set1(-2) * a * dx;
        store(batch.c1 + at, slope);
        store(batch.c2 + at, fma(h, slope, set1(-2) * e * dy));
        store(batch.uu + at, set1(0) - a);
        store(batch.uv + at, set1(-2) * a * h);
        store(batch.vv + at, set1(0) - fma(a * h, h, e));
        store(batch.r + at, f[6]);
        store(batch.g + at, f[7]);
        store(batch.b + at, f[8]);
        store(batch.z + at, f[9]);
        if (task.images.coverage) {
            const M tinted = le(bits_of(f[15]), set1i(-1));
            store(batch.tinted + at, zero_unless(tinted, set1(1)));
            batch.has_tinted |= bits(tinted) != 0;
        }
        if (task.view->outlines) {
            const F end = min(set1(RIM_END), peak - set1(MIN_ALPHA_LOG2)), radius = sqrt(end / sqrt(a * e));
            const F inside = max(set1(1) - set1(RIM_WIDTH) / radius, set1(0));
            store(batch.rim_low + at, peak - end);
            store(batch.rim_high + at, fnma(end * inside, inside, peak));
        }
        batch.capped |= bits(lt(set1(MAX_ALPHA_LOG2), peak)) != 0;
        const Ellipses ellipses = Ellipses::of(x, y, a, h, e, peak);
        I touched = set1i(0);
        for (int row = 0; row < 4; ++row) {
            I first, last;
            const F strip = set1(top + static_cast<float>(4 * row));
            M reached = ellipses.columns(strip, strip + set1(3), set1(left - 1), set1(left + TILE), first, last);
            const I origin = set1i(task.column * TILE);
            const I from = max(shift_right<2>(first - origin), set1i(0)), to = min(shift_right<2>(last - origin), set1i(3));
            reached = both(reached, le(from, to));
            touched =
                touched | shift_left(select(reached, shift_left(set1i(2), to) - shift_left(set1i(1), from), set1i(0)), set1i(4 * row));
        }
        storei(batch.touched + at, select(mask_of(count - at >= LANES ? 0xffffu : (1u << (count - at)) - 1), touched, set1i(0)));
    }
}

struct FlushDenormals {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#else
    FlushDenormals() {}
#endif
};

struct {
    alignas(64) float u[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}, v[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
} static const BLOCK_COORDINATES;

// The state of a tile's pixels, by 4 x 4 blocks.
struct Pixels {
    // t: the transmittance, going on below the threshold at which a pixel ends; weight: the sum of the weights, 1 - its final value.
    alignas(64) float t[16][16], weight[16][16], r[16][16], g[16][16], b[16][16], z[16][16], median[16][16], best[16][16], coverage[16][16];
    alignas(64) int32_t id[16][16], overdraw[16][16];
    alignas(64) float divide[16][16], front[Images::FRONT][16][16];
};

// The members of a batch of `count` that reach block `k`, in order; returns how many. `picks` has room for a group more.
static inline int pick(const Batch& batch, int count, int k, int32_t* picks) {
    int picked = 0;
    for (int at = 0; at < count; at += LANES) picked += store_indices(test(loadi(batch.touched + at), 1u << k), at, picks + picked);
    return picked;
}

// Alpha of member `i` of a batch at sixteen pixels (u, v) from the tile's centre.
template <bool CAPPED, bool RIMS> static inline F alpha_at(const Batch& batch, int32_t i, F u, F v, F uu, F uv, F vv) {
    F power = fma(u, set1(batch.c1[i]), set1(batch.c0[i]));
    power = fma(v, set1(batch.c2[i]), power);
    power = fma(vv, set1(batch.vv[i]), power);
    power = fma(uv, set1(batch.uv[i]), power);
    power = fma(uu, set1(batch.uu[i]), power);
    const F uncapped = exp2_fast(power);
    const F alpha = zero_unless(le(set1(MIN_ALPHA_LOG2), power), CAPPED ? min(uncapped, set1(MAX_ALPHA)) : uncapped);
    if (!RIMS) return alpha;
    return select(both(le(set1(batch.rim_low[i]), power), le(power, set1(batch.rim_high[i]))), set1(RIM_ALPHA), alpha);
}

static inline F block_u(int k) { return load(BLOCK_COORDINATES.u) + set1(static_cast<float>(4 * (k & 3)) - 7.5f); }
static inline F block_v(int k) { return load(BLOCK_COORDINATES.v) + set1(static_cast<float>(4 * (k >> 2)) - 7.5f); }

// Blends the picked members of a batch into block `k`, front to back. Returns whether any pixel can still change.
template <bool DEPTH, bool EXTRA, bool CAPPED, bool RIMS, bool COVERED, bool DIVIDED>
static inline bool blend_block(const Batch& batch, const uint32_t* list, const int32_t* picks, int picked, int k, Pixels& pixels) {
    const F u = block_u(k), v = block_v(k), uu = u * u, uv = u * v, vv = v * v;
    F t = load(pixels.t[k]), sum = load(pixels.weight[k]), r = load(pixels.r[k]), g = load(pixels.g[k]), b = load(pixels.b[k]), z, median,
      best, coverage, divide, front[Images::FRONT];
    I id, overdraw;
    if (DIVIDED) {
        divide = load(pixels.divide[k]);
        for (int i = 0; i < Images::FRONT; ++i) front[i] = load(pixels.front[i][k]);
    }
    if (DEPTH) z = load(pixels.z[k]);
    if (COVERED) coverage = load(pixels.coverage[k]);
    if (EXTRA) median = load(pixels.median[k]), best = load(pixels.best[k]), id = loadi(pixels.id[k]), overdraw = loadi(pixels.overdraw[k]);
    const int32_t* const end = picks + picked;
    M open = lt(set1(MIN_TRANSMITTANCE), t);
    while (picks != end && bits(open)) {
        for (const int32_t* const stop = end - picks > CHECK ? picks + CHECK : end; picks != stop; ++picks) {
            const int32_t i = *picks;
            const F alpha = alpha_at<CAPPED, RIMS>(batch, i, u, v, uu, uv, vv);
            const F next = fnma(alpha, t, t);
            // t only falls: once a Gaussian would end a pixel, so would every later one that touches it.
            const F weight = zero_unless(lt(set1(MIN_TRANSMITTANCE), next), alpha * t);
            if (EXTRA) {
                const M more = lt(best, weight);
                best = select(more, weight, best);
                overdraw = overdraw + select(lt(set1(0), weight), set1i(1), set1i(0));
                id = select(more, set1i(static_cast<int32_t>(list[i])), id);
                median = select(both(lt(set1(0.5f), t), le(next, set1(0.5f))), set1(batch.z[i]), median);
            }
            t = next;
            F rest = weight;
            if (DIVIDED) {
                const M nearer = lt(set1(batch.z[i]), divide);
                const F before = zero_unless(nearer, weight);
                rest = select(nearer, set1(0), weight);
                front[0] = fma(before, set1(batch.r[i]), front[0]);
                front[1] = fma(before, set1(batch.g[i]), front[1]);
                front[2] = fma(before, set1(batch.b[i]), front[2]);
                front[3] = front[3] + before;
                front[4] = fma(before, set1(batch.z[i]), front[4]);
            }
            sum = sum + rest;
            r = fma(rest, set1(batch.r[i]), r);
            g = fma(rest, set1(batch.g[i]), g);
            b = fma(rest, set1(batch.b[i]), b);
            if (DEPTH) z = fma(rest, set1(batch.z[i]), z);
            if (COVERED) coverage = fma(weight, set1(batch.tinted[i]), coverage);
        }
        open = lt(set1(MIN_TRANSMITTANCE), t);
    }
    store(pixels.t[k], t), store(pixels.weight[k], sum), store(pixels.r[k], r), store(pixels.g[k], g), store(pixels.b[k], b);
    if (DEPTH) store(pixels.z[k], z);
    if (COVERED) store(pixels.coverage[k], coverage);
    if (DIVIDED)
        for (int i = 0; i < Images::FRONT; ++i) store(pixels.front[i][k], front[i]);
    if (EXTRA) store(pixels.median[k], median), store(pixels.best[k], best), storei(pixels.id[k], id), storei(pixels.overdraw[k], overdraw);
    return bits(open) != 0;
}

// COUNT neighbouring pixels, lanes `i` and on of block `k`, to the pictures from pixel `at` on.
template <int COUNT>
static inline void write_pixels(const TileTask& task, const Pixels& pixels, const int32_t* packed, int k, int i, size_t at) {
    const Images& to = task.images;
    if (to.rgb) {
        float row[3 * COUNT];
        for (int j = 0; j < COUNT; ++j)
            row[3 * j] = pixels.r[k][i + j], row[3 * j + 1] = pixels.g[k][i + j], row[3 * j + 2] = pixels.b[k][i + j];
        __builtin_memcpy(to.rgb + 3 * at, row, sizeof row);
    }
    if (to.rgb8) {
        uint8_t row[3 * COUNT + 1];
        for (int j = 0; j < COUNT; ++j) __builtin_memcpy(row + 3 * j, packed + j, 4);
        __builtin_memcpy(to.rgb8 + 3 * at, row, 3 * COUNT);
    }
    if (to.alpha) __builtin_memcpy(to.alpha + at, &pixels.weight[k][i], 4 * COUNT);
    if (to.depth) __builtin_memcpy(to.depth + at, &pixels.z[k][i], 4 * COUNT);
    if (to.median_depth) __builtin_memcpy(to.median_depth + at, &pixels.median[k][i], 4 * COUNT);
    if (to.coverage) __builtin_memcpy(to.coverage + at, &pixels.coverage[k][i], 4 * COUNT);
    if (to.overdraw) __builtin_memcpy(to.overdraw + at, &pixels.overdraw[k][i], 4 * COUNT);
    if (to.front)
        for (int j = 0; j < COUNT; ++j)
            for (int n = 0; n < Images::FRONT; ++n) to.front[Images::FRONT * (at + j) + n] = pixels.front[n][k][i + j];
    if (to.ids)
        for (int j = 0; j < COUNT; ++j) {
            const int32_t record = pixels.id[k][i + j];
            to.ids[at + j] = record < 0 ? -1 : static_cast<int32_t>(task.records[record].id);
            to.id_layers[at + j] = record < 0 ? -1 : static_cast<int32_t>(task.records[record].layer & ~TINTED);
        }
}

static inline void write_tile(const TileTask& task, Pixels& pixels) {
    const View& view = *task.view;
    const Images& to = task.images;
    const int left = task.column * TILE, top = task.row * TILE;
    const int columns = view.width - left < TILE ? view.width - left : TILE, rows = view.height - top < TILE ? view.height - top : TILE;
    alignas(64) int32_t packed[16][16];
    for (int k = 0; k < 16; ++k) {
        const F alpha = load(pixels.weight[k]), t = set1(1) - alpha;
        const F r = fma(t, set1(task.background[0]), load(pixels.r[k]));
        const F g = fma(t, set1(task.background[1]), load(pixels.g[k]));
        const F b = fma(t, set1(task.background[2]), load(pixels.b[k]));
        store(pixels.r[k], r), store(pixels.g[k], g), store(pixels.b[k], b);
        if (to.depth) store(pixels.z[k], select(lt(set1(0), alpha), load(pixels.z[k]) / alpha, set1(0)));
        if (to.rgb8) {
            auto level = [](F c) { return floor_int(clamp(c, set1(0), set1(1)) * set1(255) + set1(0.5f)); };
            storei(packed[k], level(r) | shift_left<8>(level(g)) | shift_left<16>(level(b)));
        }
    }
    for (int y = 0; y < rows; ++y) {
        for (int x = 0; x < columns; x += 4) {
            const int k = (y >> 2) * 4 + (x >> 2), i = (y & 3) * 4;
            const size_t at = static_cast<size_t>(top + y) * view.width + left + x;
            if (columns - x >= 4)
                write_pixels<4>(task, pixels, packed[k] + i, k, i, at);
            else
                for (int j = 0; j < columns - x; ++j) write_pixels<1>(task, pixels, packed[k] + i + j, k, i + j, at + j);
        }
    }
}

// The divides of a tile's pixels; those beyond the picture's edges have none.
static inline void load_divides(const TileTask& task, Pixels& pixels) {
    const int left = task.column * TILE, top = task.row * TILE;
    for (int k = 0; k < 16; ++k)
        for (int i = 0; i < 16; ++i) {
            const int x = left + 4 * (k & 3) + (i & 3), y = top + 4 * (k >> 2) + (i >> 2);
            const bool inside = x < task.view->width && y < task.view->height;
            pixels.divide[k][i] = inside ? task.images.divide[static_cast<size_t>(y) * task.view->width + x] : 0;
        }
}

template <bool DEPTH, bool EXTRA, bool RIMS, bool COVERED, bool DIVIDED = false> static void blend_tile(const TileTask& task) {
    Pixels pixels;
    if (DIVIDED) load_divides(task, pixels);
    for (int k = 0; k < 16; ++k) {
        const F zero = set1(0);
        store(pixels.t[k], set1(1)), store(pixels.weight[k], zero), store(pixels.r[k], zero), store(pixels.g[k], zero),
            store(pixels.b[k], zero), store(pixels.z[k], zero);
        if (COVERED) store(pixels.coverage[k], zero);
        if (DIVIDED)
            for (int i = 0; i < Images::FRONT; ++i) store(pixels.front[i][k], zero);
        if (EXTRA)
            store(pixels.median[k], zero), store(pixels.best[k], zero), storei(pixels.id[k], set1i(-1)),
                storei(pixels.overdraw[k], set1i(0));
    }
    Batch batch;
    int32_t picks[BATCH + LANES];
    unsigned alive = 0xffff;  // blocks
    for (uint32_t from = 0; from < task.count && alive; from += BATCH) {
        const int count = static_cast<int>(task.count - from < BATCH ? task.count - from : BATCH);
        const uint32_t* list = task.list + from;
        for (uint32_t ahead = from + BATCH; ahead < task.count && ahead < from + 2 * BATCH; ++ahead)
            __builtin_prefetch(&task.records[task.list[ahead]]);
        load_batch(task, list, count, batch);
        for (unsigned rest = alive; rest; rest &= rest - 1) {
            const int k = __builtin_ctz(rest), picked = pick(batch, count, k, picks);
            if (!picked) continue;
            const bool open =
                COVERED && batch.has_tinted ? blend_block<DEPTH, EXTRA, true, RIMS, COVERED, DIVIDED>(batch, list, picks, picked, k, pixels)
                : EXTRA || batch.capped     ? blend_block<DEPTH, EXTRA, true, RIMS, false, DIVIDED>(batch, list, picks, picked, k, pixels)
                                            : blend_block<DEPTH, EXTRA, false, RIMS, false, DIVIDED>(batch, list, picks, picked, k, pixels);
            if (!open) alive &= ~(1u << k);
        }
    }
    write_tile(task, pixels);
}

static void blend(const TileTask& task) {
    const FlushDenormals flush;  // the transmittance of a pixel that has ended falls on towards 0
    const Images& to = task.images;
    const bool outlines = task.view->outlines, extra = to.ids || to.median_depth || to.overdraw;
    if (to.front) return outlines ? blend_tile<true, false, true, false, true>(task) : blend_tile<true, false, false, false, true>(task);
    if (to.coverage)
        return outlines ? blend_tile<true, true, true, true>(task)
               : extra  ? blend_tile<true, true, false, true>(task)
                        : blend_tile<true, false, false, true>(task);
    if (outlines) return blend_tile<true, true, true, false>(task);
    if (extra) return blend_tile<true, true, false, false>(task);
    return to.depth ? blend_tile<true, false, false, false>(task) : blend_tile<false, false, false, false>(task);
}

// Which of the picked members of a batch weigh at least `least` at a pixel of block `k`, a bit each. `light`: the transmittance there, 0
// outside the region. `open`: whether a later one may, as none weighs more than the light that reaches it.
template <bool CAPPED, bool RIMS>
static inline uint64_t search_block(const Batch& batch, const int32_t* picks, int picked, int k, float least, float* light, bool& open) {
    const F u = block_u(k), v = block_v(k), uu = u * u, uv = u * v, vv = v * v, enough = set1(least);
    const F end = set1(least < MIN_TRANSMITTANCE ? MIN_TRANSMITTANCE : least);
    F t = load(light);
    uint64_t found = 0;
    for (int from = 0; from < picked && (open = bits(le(end, t)) != 0); from += CHECK) {
        for (int p = from; p < (picked - from > CHECK ? from + CHECK : picked); ++p) {
            const int32_t i = picks[p];
            const F alpha = alpha_at<CAPPED, RIMS>(batch, i, u, v, uu, uv, vv), next = fnma(alpha, t, t);
            const F weight = zero_unless(lt(set1(MIN_TRANSMITTANCE), next), alpha * t);
            found |= static_cast<uint64_t>(bits(le(enough, weight)) != 0) << i;
            t = next;
        }
    }
    open = bits(le(end, t)) != 0;
    store(light, t);
    return found;
}

template <bool RIMS> static void search_tile(const TileTask& task, const Search& search) {
    alignas(64) float light[16][16];
    const View& view = *task.view;
    const int left = task.column * TILE, top = task.row * TILE;
    const int columns = view.width - left < TILE ? view.width - left : TILE, rows = view.height - top < TILE ? view.height - top : TILE;
    unsigned alive = 0;  // blocks
    for (int k = 0; k < 16; ++k) store(light[k], set1(0));
    for (int y = 0; y < rows; ++y) {
        const uint8_t* row = search.region + static_cast<size_t>(top + y) * search.stride + left;
        for (int x = 0; x < columns; ++x)
            if (row[x]) light[(y >> 2) * 4 + (x >> 2)][(y & 3) * 4 + (x & 3)] = 1, alive |= 1u << ((y >> 2) * 4 + (x >> 2));
    }
    Batch batch;
    int32_t picks[BATCH + LANES];
    for (uint32_t from = 0; from < task.count && alive; from += BATCH) {
        const int count = static_cast<int>(task.count - from < BATCH ? task.count - from : BATCH);
        const uint32_t* list = task.list + from;
        for (uint32_t ahead = from + BATCH; ahead < task.count && ahead < from + 2 * BATCH; ++ahead)
            __builtin_prefetch(&task.records[task.list[ahead]]);
        load_batch(task, list, count, batch);
        uint64_t found = 0;
        for (unsigned rest = alive; rest; rest &= rest - 1) {
            const int k = __builtin_ctz(rest), picked = pick(batch, count, k, picks);
            bool open = true;
            if (picked)
                found |= batch.capped ? search_block<true, RIMS>(batch, picks, picked, k, search.least, light[k], open)
                                      : search_block<false, RIMS>(batch, picks, picked, k, search.least, light[k], open);
            if (!open) alive &= ~(1u << k);
        }
        for (; found; found &= found - 1) {
            const Record& record = task.records[list[__builtin_ctzll(found)]];
            __atomic_store_n(&search.found[record.layer & ~TINTED][record.id], uint8_t{1}, __ATOMIC_RELAXED);
        }
    }
}

static void search(const TileTask& task, const Search& search) {
    const FlushDenormals flush;
    task.view->outlines ? search_tile<true>(task, search) : search_tile<false>(task, search);
}
