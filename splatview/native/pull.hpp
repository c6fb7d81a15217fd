// The adjoint of blending: from weights of the pixels' channels back to the Gaussians that they show. Included after blend.hpp.
//
// With p = sum of w_i c_i along a pixel, w_i = alpha_i T_i, and a sum S over all pixels of given . (p, alpha):
// dS/dc_i = w_i given, and dS/d(ln alpha_i) = alpha_i (T_i s_i - (what is behind i) / (1 - alpha_i)) with s_i = given . (c_i, 1), where
// what is behind is the sum of w_j s_j over j > i: the whole, which is given, less what came so far.

// Where the pixels of a tile lie in the standard deviations of a batch's members: X = xu u + xv v + x0, Y = yv v + y0.
struct Whitened {
    alignas(64) float xu[BATCH], xv[BATCH], x0[BATCH], yv[BATCH], y0[BATCH];
};

static inline void whiten(const TileTask& task, const uint32_t* list, int count, Whitened& white) {
    const float left = static_cast<float>(task.column * TILE), top = static_cast<float>(task.row * TILE), half = 0.5f * (TILE - 1);
    constexpr float TWO_LN_2 = 1.3862943611f;
    for (int i = 0; i < count; ++i) {
        const Record& record = task.records[list[i]];
        const float x = __builtin_sqrtf(TWO_LN_2 * record.a), y = __builtin_sqrtf(TWO_LN_2 * record.e);
        const float dx = left + half - record.x, dy = top + half - record.y;
        white.xu[i] = x, white.xv[i] = x * record.h, white.x0[i] = x * (dx + record.h * dy);
        white.yv[i] = y, white.y0[i] = y * dy;
    }
}

struct Given {
    alignas(64) float channel[Pull::GIVEN][16][16];  // by 4 x 4 blocks
};

template <bool CAPPED>
static inline bool pull_block(const Batch& batch, const Whitened& white, const Given& given, const int32_t* picks, int picked, int k,
                              float* light, float* passed, F sums[BATCH][Pull::SUMS]) {
    const F u = block_u(k), v = block_v(k), uu = u * u, uv = u * v, vv = v * v;
    const F r = load(given.channel[0][k]), g = load(given.channel[1][k]), b = load(given.channel[2][k]), a = load(given.channel[3][k]);
    F t = load(light), behind = load(passed);
    const int32_t* const end = picks + picked;
    M open = lt(set1(MIN_TRANSMITTANCE), t);
    while (picks != end && bits(open)) {
        for (const int32_t* const stop = end - picks > CHECK ? picks + CHECK : end; picks != stop; ++picks) {
            const int32_t i = *picks;
            const F alpha = alpha_at<CAPPED, false>(batch, i, u, v, uu, uv, vv);
            const F next = fnma(alpha, t, t);
            const M counts = lt(set1(MIN_TRANSMITTANCE), next);
            const F weight = zero_unless(counts, alpha * t);
            const F shade = fma(set1(batch.r[i]), r, fma(set1(batch.g[i]), g, fma(set1(batch.b[i]), b, a)));
            behind = fnma(weight, shade, behind);
            F pull = fnma(alpha, behind / (set1(1) - alpha), weight * shade);
            pull = zero_unless(counts, CAPPED ? zero_unless(lt(alpha, set1(MAX_ALPHA)), pull) : pull);
            t = next;
            const F x = fma(u, set1(white.xu[i]), fma(v, set1(white.xv[i]), set1(white.x0[i]))),
                    y = fma(v, set1(white.yv[i]), set1(white.y0[i]));
            const F px = pull * x, py = pull * y;
            F* to = sums[i];
            to[0] = fma(weight, r, to[0]), to[1] = fma(weight, g, to[1]), to[2] = fma(weight, b, to[2]);
            to[3] = to[3] + pull, to[4] = to[4] + px, to[5] = to[5] + py;
            to[6] = fma(px, x, to[6]), to[7] = fma(px, y, to[7]), to[8] = fma(py, y, to[8]);
        }
        open = lt(set1(MIN_TRANSMITTANCE), t);
    }
    store(light, t), store(passed, behind);
    return bits(open) != 0;
}

static void pull(const TileTask& task, const Pull& ask) {
    const FlushDenormals flush;
    const View& view = *task.view;
    const int left = task.column * TILE, top = task.row * TILE;
    const int columns = view.width - left < TILE ? view.width - left : TILE, rows = view.height - top < TILE ? view.height - top : TILE;
    Given given;
    alignas(64) float light[16][16];
    for (int k = 0; k < 16; ++k) {
        store(light[k], set1(0));
        for (int channel = 0; channel < Pull::GIVEN; ++channel) store(given.channel[channel][k], set1(0));
    }
    unsigned alive = 0;  // blocks
    for (int y = 0; y < rows; ++y) {
        const float* row =
            ask.given + (static_cast<size_t>(top + y) * static_cast<size_t>(view.width) + static_cast<size_t>(left)) * Pull::GIVEN;
        for (int x = 0; x < columns; ++x) {
            const int k = (y >> 2) * 4 + (x >> 2), lane = (y & 3) * 4 + (x & 3);
            light[k][lane] = 1, alive |= 1u << k;
            for (int channel = 0; channel < Pull::GIVEN; ++channel) given.channel[channel][k][lane] = row[Pull::GIVEN * x + channel];
        }
    }
    Batch batch;
    Whitened white;
    int32_t picks[BATCH + LANES];
    F sums[BATCH][Pull::SUMS];
    for (uint32_t from = 0; from < task.count && alive; from += BATCH) {
        const int count = static_cast<int>(task.count - from < BATCH ? task.count - from : BATCH);
        const uint32_t* list = task.list + from;
        for (uint32_t ahead = from + BATCH; ahead < task.count && ahead < from + 2 * BATCH; ++ahead)
            __builtin_prefetch(&task.records[task.list[ahead]]);
        load_batch(task, list, count, batch);
        whiten(task, list, count, white);
        for (int i = 0; i < count; ++i)
            for (F& sum : sums[i]) sum = set1(0);
        uint64_t reached = 0;
        for (unsigned rest = alive; rest; rest &= rest - 1) {
            const int k = __builtin_ctz(rest), picked = pick(batch, count, k, picks);
            if (!picked) continue;
            for (int p = 0; p < picked; ++p) reached |= uint64_t{1} << picks[p];
            const bool open = batch.capped ? pull_block<true>(batch, white, given, picks, picked, k, light[k], given.channel[4][k], sums)
                                           : pull_block<false>(batch, white, given, picks, picked, k, light[k], given.channel[4][k], sums);
            if (!open) alive &= ~(1u << k);
        }
        for (; reached; reached &= reached - 1) {
            const int i = __builtin_ctzll(reached);
            F lanes[16], columns_of[16];
            for (int j = 0; j < 16; ++j) lanes[j] = j < Pull::SUMS ? sums[i][j] : set1(0);
            transpose(lanes, columns_of);
            for (int width = 8; width; width /= 2)
                for (int j = 0; j < width; ++j) columns_of[j] = columns_of[j] + columns_of[j + width];
            alignas(64) float total[16];
            store(total, columns_of[0]);
            const Record& record = task.records[list[i]];
            int64_t* to = ask.sums[record.layer & ~TINTED] + static_cast<size_t>(record.id) * Pull::SUMS;
            for (int j = 0; j < Pull::SUMS; ++j)
                if (total[j] != 0)
                    __atomic_fetch_add(to + j, static_cast<int64_t>(static_cast<double>(total[j]) * Pull::UNIT), __ATOMIC_RELAXED);
        }
    }
}
