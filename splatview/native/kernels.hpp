// The two kernels of the splat renderer, written once over sixteen lanes. Included, after one of simd_*.hpp, inside an
// unnamed namespace, so that every instruction set has its own copy. Uses nothing of the standard library: an inline
// function compiled here with AVX-512 could otherwise be the one that the linker keeps for everybody.

#ifdef SPLATVIEW_GENERIC_EXP2
static inline F exp2_fast(F a) {
    const I n = floor_int(a);
    const F f = a - to_float(n);
    F p = set1(EXP2_C4);
    p = fma(p, f, set1(EXP2_C3));
    p = fma(p, f, set1(EXP2_C2));
    p = fma(p, f, set1(EXP2_C1));
    p = fma(p, f, set1(EXP2_C0));
    return float_of(bits_of(p) + shift_left<23>(n));
}
#endif

#ifdef SPLATVIEW_GENERIC_STORES
static inline void transpose(const F in[16], F out[16]) {
    float from[16][16], to[16][16];
    for (int i = 0; i < 16; ++i) store(from[i], in[i]);
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) to[i][j] = from[j][i];
    for (int i = 0; i < 16; ++i) out[i] = load(to[i]);
}

static inline void store_compressed(I a, unsigned keep, uint32_t* out) {
    int32_t lanes[16];
    storei(lanes, a);
    for (; keep; keep &= keep - 1) *out++ = static_cast<uint32_t>(lanes[__builtin_ctz(keep)]);
}

static inline int store_indices(unsigned keep, int first, int32_t* out) {
    int count = 0;
    for (; keep; keep &= keep - 1) out[count++] = first + __builtin_ctz(keep);
    return count;
}
#endif

static inline float max_of(float a, float b) { return a > b ? a : b; }
static inline int max_of(int a, int b) { return a > b ? a : b; }
static inline F clamp(F a, F low, F high) { return min(max(a, low), high); }
static inline I clamp(I a, I low, I high) { return min(max(a, low), high); }

// a b - c d without cancellation (Kahan), exact to about one rounding where the processor fuses.
static inline F difference_of_products(F a, F b, F c, F d) {
    const F cd = c * d;
    return fma(a, b, set1(0) - cd) + fnma(c, d, cd);
}

// log2 of positive normal numbers, absolute error 2e-7: atanh series about the nearest power of two.
static inline F log2_fast(F a) {
    const I exponent = shift_right<23>(bits_of(a) - set1i(0x3f3504f3));
    const F m = float_of(bits_of(a) - shift_left<23>(exponent));
    const F t = (m - set1(1)) / (m + set1(1)), tt = t * t;
    F p = set1(2.885390082f / 9);
    p = fma(p, tt, set1(2.885390082f / 7));
    p = fma(p, tt, set1(2.885390082f / 5));
    p = fma(p, tt, set1(2.885390082f / 3));
    p = fma(p, tt, set1(2.885390082f));
    return fma(p, t, to_float(exponent));
}

// The ellipses a (dx + h dy)^2 + e dy^2 <= q of sixteen Gaussians, ready to be cut by horizontal strips. Roots and reciprocals are
// good to 2^-14, which costs q less than its slack.
struct Ellipses {
    F x, y, h, e, q, inverse_a, half_height, half_width, tip;  // tip: dy where dx is largest

    static Ellipses of(F x, F y, F a, F h, F e, F peak) {
        Ellipses s;
        s.x = x, s.y = y, s.h = h, s.e = e;
        s.q = max(peak - set1(MIN_ALPHA_LOG2 - SLACK), set1(0));
        s.inverse_a = rough_reciprocal(a);
        const F qe = s.q * rough_reciprocal(e);
        s.half_height = rough_sqrt(qe);
        s.half_width = rough_sqrt(fma(h * h, qe, s.q * s.inverse_a));
        s.tip = set1(0) - h * qe * rough_reciprocal(max(s.half_width, set1(1e-20f)));
        return s;
    }

    // First and last pixel column that the ellipse reaches within pixel rows top .. bottom; M: whether it does at all.
    M columns(F top, F bottom, F limit_low, F limit_high, I& first, I& last) const {
        const F low = max(top - y, set1(0) - half_height), high = min(bottom - y, half_height);
        const F right_y = clamp(tip, low, high), left_y = clamp(set1(0) - tip, low, high);
        const F right = fnma(h, right_y, x) + rough_sqrt(max(fnma(e * right_y, right_y, q), set1(0)) * inverse_a);
        const F left = fnma(h, left_y, x) - rough_sqrt(max(fnma(e * left_y, left_y, q), set1(0)) * inverse_a);
        first = ceil_int(clamp(left, limit_low, limit_high));
        last = floor_int(clamp(right, limit_low, limit_high));
        return both(le(low, high), le(first, last));
    }
};

// Sixteen blocks at a time: bit k is set if block `first + k` may hold a visible Gaussian (spheres against the frustum).
static inline unsigned blocks_in_view(const View& view, const LayerView& layer, uint32_t first) {
    const uint32_t stride = layer.blocks.padded;
    const float* at = layer.blocks.bounds + first;
    const F x = load(at), y = load(at + stride), z = load(at + 2 * stride);
    const F radius = load(at + 3 * stride) * set1(layer.scale);
    const F reach = load(at + 4 * stride) * set1(layer.scale * view.splat_scale * 3.34f);
    const float *w = layer.linear, *t = layer.translation;
    const F cx = fma(set1(w[0]), x, fma(set1(w[1]), y, fma(set1(w[2]), z, set1(t[0]))));
    const F cy = fma(set1(w[3]), x, fma(set1(w[4]), y, fma(set1(w[5]), z, set1(t[1]))));
    const F cz = fma(set1(w[6]), x, fma(set1(w[7]), y, fma(set1(w[8]), z, set1(t[2]))));
    M in = both(lt(set1(view.near), cz + radius), lt(cz - radius, set1(view.far)));

    // A Gaussian at z > 0 lies right of the picture if fx x / z + cx - width exceeds its reach in pixels, at most
    // 3.34 (fx / z sqrt(1 + limit^2) sigma + 0.55); times z that is a plane, and likewise on the other sides.
    auto beside = [&](F across, float focal, float centre, float size) {
        const float half = 0.5f * size / focal, most = max_of((size - centre) / focal, centre / focal) + 0.3f * half;
        const float stretch = focal * __builtin_sqrtf(1 + most * most);
        for (int side = 0; side < 2; ++side) {
            const float sign = side ? -1.0f : 1.0f, slope = (side ? -centre : centre - size) - 1.84f;
            const float length = __builtin_sqrtf(focal * focal + slope * slope);
            const F distance = fma(set1(sign * focal), across, set1(slope) * cz);
            in = both(in, le(distance, fma(set1(length), radius, set1(stretch) * reach)));
        }
    };
    beside(cx, view.fx, view.cx, static_cast<float>(view.width));
    beside(cy, view.fy, view.cy, static_cast<float>(view.height));
    return bits(in);
}

// View-dependent colour before the offset of 0.5, for unit directions x y z.
static inline void add_harmonics(const uint16_t* rest, int coefficients, F x, F y, F z, F colour[3]) {
    auto add = [&](int k, F basis) {
        const uint16_t* at = rest + (k - 1) * 48;
        for (int c = 0; c < 3; ++c) colour[c] = fma(load_half(at + 16 * c), basis, colour[c]);
    };
    if (coefficients < 4) return;
    add(1, set1(-0.48860251190291987f) * y);
    add(2, set1(0.48860251190291987f) * z);
    add(3, set1(-0.48860251190291987f) * x);
    if (coefficients < 9) return;
    const F xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
    add(4, set1(1.0925484305920792f) * xy);
    add(5, set1(-1.0925484305920792f) * yz);
    add(6, fma(set1(3 * 0.31539156525252005f), zz, set1(-0.31539156525252005f)));
    add(7, set1(-1.0925484305920792f) * xz);
    add(8, set1(0.5462742152960396f) * (xx - yy));
    if (coefficients < 16) return;
    const F five = fma(set1(5), zz, set1(-1)), three_xx = fma(set1(3), xx, set1(0) - yy), three_yy = fnma(set1(3), yy, xx);
    add(9, set1(-0.5900435899266435f) * y * three_xx);
    add(10, set1(2.890611442640554f) * xy * z);
    add(11, set1(-0.4570457994644658f) * y * five);
    add(12, set1(0.3731763325901154f) * z * (five - set1(2)));
    add(13, set1(-0.4570457994644658f) * x * five);
    add(14, set1(1.445305721320277f) * z * (xx - yy));
    add(15, set1(-0.5900435899266435f) * x * three_yy);
    if (coefficients < 25) return;
    const F seven = fma(set1(7), zz, set1(-1));
    add(16, set1(2.5033429417967046f) * xy * (xx - yy));
    add(17, set1(-1.7701307697799304f) * yz * three_xx);
    add(18, set1(0.9461746957575601f) * xy * seven);
    add(19, set1(-0.6690465435572892f) * yz * (seven - set1(2)));
    add(20, set1(0.10578554691520431f) * fma(fma(set1(35), zz, set1(-30)), zz, set1(3)));
    add(21, set1(-0.6690465435572892f) * xz * (seven - set1(2)));
    add(22, set1(0.47308734787878004f) * (xx - yy) * seven);
    add(23, set1(-1.7701307697799304f) * xz * three_yy);
    add(24, set1(0.6258357354491761f) * (xx * three_yy - yy * three_xx));
}

static inline unsigned flagged(const uint8_t* flags, const uint32_t* order) {
    unsigned m = 0;
    for (int i = 0; i < LANES; ++i) m |= static_cast<unsigned>(order[i] != UINT32_MAX && flags[order[i]] != 0) << i;
    return m;
}

// Projects one block (EWA splatting, Zwicker et al. 2001, as in 3D Gaussian Splatting, Kerbl et al. 2023). Returns how many are visible.
static inline int project_block(const View& view, const LayerView& layer, uint32_t block, Record* records, uint32_t* depths) {
    const float* g = layer.blocks.geometry + static_cast<size_t>(block) * 160;
    const uint32_t* order = layer.blocks.order + static_cast<size_t>(block) * LANES;
    const float *w = layer.linear, *t = layer.translation;
    const F mx = load(g), my = load(g + 16), mz = load(g + 32);
    // The depth decides the order, so it is rounded alike on every processor: no fused operations.
    const F z = (set1(w[6]) * mx + set1(w[7]) * my) + (set1(w[8]) * mz + set1(t[2]));
    M visible = both(lt(set1(view.near), z), lt(z, set1(view.far)));
    if (layer.hidden) visible = without(visible, mask_of(flagged(layer.hidden, order)));
    if (!bits(visible)) return 0;
    const F x = fma(set1(w[0]), mx, fma(set1(w[1]), my, fma(set1(w[2]), mz, set1(t[0]))));
    const F y = fma(set1(w[3]), mx, fma(set1(w[4]), my, fma(set1(w[5]), mz, set1(t[1]))));

    // Rows of J W, with J taken at a direction that is at most 15 % of the picture outside (as all implementations do).
    const float width = static_cast<float>(view.width), height = static_cast<float>(view.height);
    const float out_x = 0.15f * width / view.fx, out_y = 0.15f * height / view.fy;
    const F rz = set1(1) / z, xz = x * rz, yz = y * rz;
    const F jx = clamp(xz, set1(-view.cx / view.fx - out_x), set1((width - view.cx) / view.fx + out_x));
    const F jy = clamp(yz, set1(-view.cy / view.fy - out_y), set1((height - view.cy) / view.fy + out_y));
    const F sx = set1(view.fx * view.splat_scale) * rz, sy = set1(view.fy * view.splat_scale) * rz;
    F p[3], q[3];
    for (int i = 0; i < 3; ++i) {
        p[i] = sx * fnma(jx, set1(w[6 + i]), set1(w[i]));
        q[i] = sy * fnma(jy, set1(w[6 + i]), set1(w[3 + i]));
    }
    const F xx = load(g + 48), xy = load(g + 64), xz3 = load(g + 80), yy = load(g + 96), yz3 = load(g + 112), zz = load(g + 128);
    const F sp[3] = {fma(xx, p[0], fma(xy, p[1], xz3 * p[2])), fma(xy, p[0], fma(yy, p[1], yz3 * p[2])),
                     fma(xz3, p[0], fma(yz3, p[1], zz * p[2]))};
    const F sq[3] = {fma(xx, q[0], fma(xy, q[1], xz3 * q[2])), fma(xy, q[0], fma(yy, q[1], yz3 * q[2])),
                     fma(xz3, q[0], fma(yz3, q[1], zz * q[2]))};
    const F va0 = fma(p[0], sp[0], fma(p[1], sp[1], p[2] * sp[2])), vc0 = fma(q[0], sq[0], fma(q[1], sq[1], q[2] * sq[2]));
    const F vb = fma(p[0], sq[0], fma(p[1], sq[1], p[2] * sq[2]));
    const F va = va0 + set1(DILATION), vc = vc0 + set1(DILATION);
    const F det = difference_of_products(va, vc, vb, vb);
    visible = both(visible, both(lt(set1(0), det), lt(det, set1(1e37f))));

    F peak = load(g + 144);
    if (layer.antialiased) {
        const F kept = max(difference_of_products(va0, vc0, vb, vb), set1(0)) / det;
        peak = fma(set1(0.5f), log2_fast(max(kept, set1(1e-30f))), peak);
    }
    const F half_log2e = set1(0.72134752f);
    const F e = half_log2e / vc, a = half_log2e * vc / det, h = set1(0) - vb / vc;
    const F px = fma(set1(view.fx), xz, set1(view.cx - 0.5f)), py = fma(set1(view.fy), yz, set1(view.cy - 0.5f));
    const F reach2 = max(peak - set1(MIN_ALPHA_LOG2 - SLACK), set1(0)) * set1(1.38629436f);
    const F reach_x = sqrt(va * reach2), reach_y = sqrt(vc * reach2);
    visible = both(visible, le(set1(MIN_ALPHA_LOG2), peak));

    // Pixels, then tiles, of the bounding box; an ellipse that holds no pixel centre is gone.
    const F right = set1(width), bottom = set1(height);
    const I x0 = max(ceil_int(clamp(px - reach_x, set1(-1), right)), set1i(0)),
            x1 = min(floor_int(clamp(px + reach_x, set1(-1), right)), set1i(view.width - 1));
    const I y0 = max(ceil_int(clamp(py - reach_y, set1(-1), bottom)), set1i(0)),
            y1 = min(floor_int(clamp(py + reach_y, set1(-1), bottom)), set1i(view.height - 1));
    visible = both(visible, both(le(x0, x1), le(y0, y1)));
    const unsigned keep = bits(visible);
    if (!keep) return 0;

    const I tx0 = shift_right<4>(x0), ty0 = shift_right<4>(y0), columns = shift_right<4>(x1) - tx0 + set1i(1),
            rows = shift_right<4>(y1) - ty0 + set1i(1);
    I low_mask = set1i(0), high_mask = set1i(0);
    int most_rows = 0;
    {
        int32_t each[16];
        storei(each, rows);
        for (unsigned m = keep; m; m &= m - 1) most_rows = max_of(most_rows, each[__builtin_ctz(m)]);
    }
    const Ellipses ellipses = Ellipses::of(px, py, a, h, e, peak);
    for (int row = 0; row < (most_rows < MASK_SIDE ? most_rows : MASK_SIDE); ++row) {
        const F top = to_float(max(shift_left<4>(ty0 + set1i(row)), y0)),
                last_row = to_float(min(shift_left<4>(ty0 + set1i(row)) + set1i(15), y1));
        I first, last;
        M reached = ellipses.columns(top, last_row, to_float(x0 - set1i(1)), to_float(x1 + set1i(1)), first, last);
        first = max(first, x0), last = min(last, x1);
        reached = both(reached, le(first, last));
        const I from = min(shift_right<4>(first) - tx0, set1i(7)), to = min(shift_right<4>(last) - tx0, set1i(7));
        const I run = select(reached, shift_left(set1i(2), to) - shift_left(set1i(1), from), set1i(0));
        (row < 4 ? low_mask : high_mask) = (row < 4 ? low_mask : high_mask) | shift_left(run, set1i(8 * (row & 3)));
    }

    F colour[3];
    const F dx = mx - set1(layer.eye[0]), dy = my - set1(layer.eye[1]), dz = mz - set1(layer.eye[2]);
    const float* dc = layer.blocks.dc + static_cast<size_t>(block) * 48;
    for (int c = 0; c < 3; ++c) colour[c] = fma(set1(0.28209479177387814f), load(dc + 16 * c), set1(0.5f));
    if (layer.sh_coefficients > 1) {
        const F inverse = set1(1) / sqrt(max(fma(dx, dx, fma(dy, dy, dz * dz)), set1(1e-30f)));
        const uint16_t* rest = layer.blocks.rest + static_cast<size_t>(block) * 48 * (layer.blocks.sh_coefficients - 1);
        add_harmonics(rest, layer.sh_coefficients, dx * inverse, dy * inverse, dz * inverse, colour);
    }
    for (int c = 0; c < 3; ++c) colour[c] = max(colour[c], set1(0));
    if (layer.tinted) {
        const M chosen = mask_of(flagged(layer.tinted, order));
        for (int c = 0; c < 3; ++c) colour[c] = select(chosen, set1(0.5f) * (colour[c] + set1(layer.tint[c])), colour[c]);
    }

    const F fields[16] = {px,
                          py,
                          a,
                          h,
                          e,
                          peak,
                          colour[0],
                          colour[1],
                          colour[2],
                          z,
                          float_of(tx0 | shift_left<16>(ty0)),
                          float_of(columns | shift_left<16>(rows)),
                          float_of(low_mask),
                          float_of(high_mask),
                          float_of(loadi(order)),
                          float_of(set1i(static_cast<int32_t>(layer.index)))};
    F lanes[16];
    transpose(fields, lanes);
    store_compressed(bits_of(z), keep, depths);
    auto out = reinterpret_cast<float*>(records);
    int count = 0;
    for (int i = 0; i < LANES; ++i) {  // a lane that is not kept is overwritten by the next; the array has room for one more
        store(out + 16 * count, lanes[i]);
        count += keep >> i & 1;
    }
    return count;
}

static int project(const View& view, const LayerView& layer, uint32_t first, uint32_t last, Record* records, uint32_t* depths) {
    int count = 0;
    for (uint32_t group = first; group < last; group += LANES) {
        unsigned in = blocks_in_view(view, layer, group);
        if (last - group < LANES) in &= (1u << (last - group)) - 1;
        for (; in; in &= in - 1) count += project_block(view, layer, group + __builtin_ctz(in), records + count, depths + count);
    }
    return count;
}

// What a tile needs of its next Gaussians: alpha at pixel (u, v) from the tile's centre is 2^(c0 + c1 u + c2 v + uu u^2 + uv u v + vv v^2).
struct Batch {
    alignas(64) float c0[BATCH], c1[BATCH], c2[BATCH], uu[BATCH], uv[BATCH], vv[BATCH], r[BATCH], g[BATCH], b[BATCH], z[BATCH];
    alignas(64) int32_t touched[BATCH];  // the 4 x 4 blocks that it reaches, a bit each
    bool capped;                         // whether an alpha may pass the cap
};

static inline void load_batch(const TileTask& task, const uint32_t* list, int count, Batch& batch) {
    const float left = static_cast<float>(task.column * TILE), top = static_cast<float>(task.row * TILE), half = 0.5f * (TILE - 1);
    batch.capped = false;
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
    alignas(64) float t[16][16], weight[16][16], r[16][16], g[16][16], b[16][16], z[16][16], median[16][16], best[16][16];
    alignas(64) int32_t id[16][16];
};

// The members of a batch of `count` that reach block `k`, in order; returns how many. `picks` has room for a group more.
static inline int pick(const Batch& batch, int count, int k, int32_t* picks) {
    int picked = 0;
    for (int at = 0; at < count; at += LANES) picked += store_indices(test(loadi(batch.touched + at), 1u << k), at, picks + picked);
    return picked;
}

// Blends the picked members of a batch into block `k`, front to back. Returns whether any pixel can still change.
template <bool DEPTH, bool EXTRA, bool CAPPED>
static inline bool blend_block(const Batch& batch, const uint32_t* list, const int32_t* picks, int picked, int k, Pixels& pixels) {
    const F u = load(BLOCK_COORDINATES.u) + set1(static_cast<float>(4 * (k & 3)) - 7.5f);
    const F v = load(BLOCK_COORDINATES.v) + set1(static_cast<float>(4 * (k >> 2)) - 7.5f);
    const F uu = u * u, uv = u * v, vv = v * v;
    F t = load(pixels.t[k]), sum = load(pixels.weight[k]), r = load(pixels.r[k]), g = load(pixels.g[k]), b = load(pixels.b[k]), z, median,
      best;
    I id;
    if (DEPTH) z = load(pixels.z[k]);
    if (EXTRA) median = load(pixels.median[k]), best = load(pixels.best[k]), id = loadi(pixels.id[k]);
    const int32_t* const end = picks + picked;
    M open = lt(set1(MIN_TRANSMITTANCE), t);
    while (picks != end && bits(open)) {
        for (const int32_t* const stop = end - picks > CHECK ? picks + CHECK : end; picks != stop; ++picks) {
            const int32_t i = *picks;
            F power = fma(u, set1(batch.c1[i]), set1(batch.c0[i]));
            power = fma(v, set1(batch.c2[i]), power);
            power = fma(vv, set1(batch.vv[i]), power);
            power = fma(uv, set1(batch.uv[i]), power);
            power = fma(uu, set1(batch.uu[i]), power);
            const F uncapped = exp2_fast(power);
            const F alpha = zero_unless(le(set1(MIN_ALPHA_LOG2), power), CAPPED ? min(uncapped, set1(MAX_ALPHA)) : uncapped);
            const F next = fnma(alpha, t, t);
            // t only falls: once a Gaussian would end a pixel, so would every later one that touches it.
            const F weight = zero_unless(lt(set1(MIN_TRANSMITTANCE), next), alpha * t);
            if (EXTRA) {
                const M more = lt(best, weight);
                best = select(more, weight, best);
                id = select(more, set1i(static_cast<int32_t>(list[i])), id);
                median = select(both(lt(set1(0.5f), t), le(next, set1(0.5f))), set1(batch.z[i]), median);
            }
            t = next;
            sum = sum + weight;
            r = fma(weight, set1(batch.r[i]), r);
            g = fma(weight, set1(batch.g[i]), g);
            b = fma(weight, set1(batch.b[i]), b);
            if (DEPTH) z = fma(weight, set1(batch.z[i]), z);
        }
        open = lt(set1(MIN_TRANSMITTANCE), t);
    }
    store(pixels.t[k], t), store(pixels.weight[k], sum), store(pixels.r[k], r), store(pixels.g[k], g), store(pixels.b[k], b);
    if (DEPTH) store(pixels.z[k], z);
    if (EXTRA) store(pixels.median[k], median), store(pixels.best[k], best), storei(pixels.id[k], id);
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
    if (to.ids)
        for (int j = 0; j < COUNT; ++j) {
            const int32_t record = pixels.id[k][i + j];
            to.ids[at + j] = record < 0 ? -1 : static_cast<int32_t>(task.records[record].id);
            to.id_layers[at + j] = record < 0 ? -1 : static_cast<int32_t>(task.records[record].layer);
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

template <bool DEPTH, bool EXTRA> static void blend_tile(const TileTask& task) {
    Pixels pixels;
    for (int k = 0; k < 16; ++k) {
        const F zero = set1(0);
        store(pixels.t[k], set1(1)), store(pixels.weight[k], zero), store(pixels.r[k], zero), store(pixels.g[k], zero),
            store(pixels.b[k], zero), store(pixels.z[k], zero);
        if (EXTRA) store(pixels.median[k], zero), store(pixels.best[k], zero), storei(pixels.id[k], set1i(-1));
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
            const bool open = EXTRA || batch.capped ? blend_block<DEPTH, EXTRA, true>(batch, list, picks, picked, k, pixels)
                                                    : blend_block<DEPTH, EXTRA, false>(batch, list, picks, picked, k, pixels);
            if (!open) alive &= ~(1u << k);
        }
    }
    write_tile(task, pixels);
}

static void blend(const TileTask& task) {
    const FlushDenormals flush;  // the transmittance of a pixel that has ended falls on towards 0
    const bool extra = task.images.ids || task.images.median_depth;
    if (extra) return blend_tile<true, true>(task);
    return task.images.depth ? blend_tile<true, false>(task) : blend_tile<false, false>(task);
}
