// The first kernel: Gaussians to records of what they cover on the picture. Included after lanes.hpp, in the same way.

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
    // 3.34 (fx / z sqrt(1 + limit^2) sigma + 0.71); times z that is a plane, and likewise on the other sides.
    auto beside = [&](F across, float focal, float centre, float size, float least, float most) {
        const float steepest = max_of(-least, most), stretch = focal * __builtin_sqrtf(1 + steepest * steepest);
        for (int side = 0; side < 2; ++side) {
            const float sign = side ? -1.0f : 1.0f, slope = (side ? -centre : centre - size) - 2.4f;
            const float length = __builtin_sqrtf(focal * focal + slope * slope);
            const F distance = fma(set1(sign * focal), across, set1(slope) * cz);
            in = both(in, le(distance, fma(set1(length), radius, set1(stretch) * reach)));
        }
    };
    beside(cx, view.fx, view.cx, static_cast<float>(view.width), view.left, view.right);
    beside(cy, view.fy, view.cy, static_cast<float>(view.height), view.top, view.bottom);
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

    // Rows of J W.
    const float width = static_cast<float>(view.width), height = static_cast<float>(view.height);
    const F rz = set1(1) / z, xz = x * rz, yz = y * rz;
    const F jx = clamp(xz, set1(view.left), set1(view.right)), jy = clamp(yz, set1(view.top), set1(view.bottom));
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
    F vb = fma(p[0], sq[0], fma(p[1], sq[1], p[2] * sq[2]));
    F va = va0 + set1(DILATION), vc = vc0 + set1(DILATION), det = difference_of_products(va, vc, vb, vb), peak = load(g + 144);
    if (view.centres) {
        va = vc = set1(CENTRE_VARIANCE), vb = set1(0), det = set1(CENTRE_VARIANCE * CENTRE_VARIANCE);
        peak = select(le(set1(MIN_ALPHA_LOG2), peak), set1(CENTRE_PEAK), peak);
    }
    visible = both(visible, both(lt(set1(0), det), lt(det, set1(1e37f))));
    if (layer.antialiased && !view.centres) {
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
    I owner = set1i(static_cast<int32_t>(layer.index));
    if (layer.tinted) {
        const M chosen = mask_of(flagged(layer.tinted, order));
        if (layer.mixes_tint)
            for (int c = 0; c < 3; ++c) colour[c] = select(chosen, set1(0.5f) * (colour[c] + set1(layer.tint[c])), colour[c]);
        owner = select(chosen, set1i(static_cast<int32_t>(layer.index | TINTED)), owner);
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
                          float_of(owner)};
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

static uint64_t in_view(const View& view, const LayerView& layer, uint32_t first, uint32_t last) {
    uint64_t chosen = 0;
    for (uint32_t group = first; group < last; group += LANES) {
        const uint32_t left = last - group, valid = left < LANES ? (1u << left) - 1 : 0xffffu;
        chosen |= static_cast<uint64_t>(blocks_in_view(view, layer, group) & valid) << (group - first);
    }
    return chosen;
}

static int project(const View& view, const LayerView& layer, uint32_t first, uint64_t chosen, Record* records, uint32_t* depths) {
    int count = 0;
    for (; chosen; chosen &= chosen - 1)
        count += project_block(view, layer, first + static_cast<uint32_t>(__builtin_ctzll(chosen)), records + count, depths + count);
    return count;
}
