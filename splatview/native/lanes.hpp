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
