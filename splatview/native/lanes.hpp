// What the kernels share, over sixteen lanes.
// Included, after one of simd_*.hpp, inside an unnamed namespace, so that every instruction set has its own copy. Uses nothing of the
// standard library: an inline function compiled here with AVX-512 could otherwise be the one that the linker keeps for everybody.

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
