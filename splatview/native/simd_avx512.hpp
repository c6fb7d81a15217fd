// Sixteen lanes as one AVX-512 register (F, BW, DQ, VL). Included inside the namespace of one kernel build only.
struct F {
    __m512 v;
};
struct I {
    __m512i v;
};
using M = __mmask16;

static inline F set1(float a) { return {_mm512_set1_ps(a)}; }
static inline I set1i(int32_t a) { return {_mm512_set1_epi32(a)}; }
static inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline I loadi(const void* p) { return {_mm512_loadu_si512(p)}; }
static inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
static inline void storei(void* p, I a) { _mm512_storeu_si512(p, a.v); }
static inline F load_half(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
static inline F gather(const float* base, I index) { return {_mm512_i32gather_ps(index.v, base, 4)}; }
// The two numbers at base + 2 index.
static inline void gather_pair(const float* base, I index, F& even, F& odd) {
    const __m512 low = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_castsi512_si256(index.v), base, 8));
    const __m512 high = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_extracti64x4_epi64(index.v, 1), base, 8));
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    even.v = _mm512_permutex2var_ps(low, evens, high);
    odd.v = _mm512_permutex2var_ps(low, _mm512_add_epi32(evens, _mm512_set1_epi32(1)), high);
}
static inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
static inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline F sqrt(F a) { return {_mm512_sqrt_ps(a.v)}; }
static inline F rough_reciprocal(F a) { return {_mm512_rcp14_ps(a.v)}; }
static inline F rough_sqrt(F a) { return {_mm512_mul_ps(a.v, _mm512_rsqrt14_ps(_mm512_max_ps(a.v, _mm512_set1_ps(1e-30f))))}; }
static inline I floor_int(F a) { return {_mm512_cvt_roundps_epi32(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
static inline I ceil_int(F a) { return {_mm512_cvt_roundps_epi32(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
static inline I round_int(F a) { return {_mm512_cvtps_epi32(a.v)}; }
static inline F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
static inline I bits_of(F a) { return {_mm512_castps_si512(a.v)}; }
static inline F float_of(I a) { return {_mm512_castsi512_ps(a.v)}; }

static inline I operator+(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
static inline I operator-(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
static inline I operator&(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
static inline I operator|(I a, I b) { return {_mm512_or_si512(a.v, b.v)}; }
static inline I operator*(I a, I b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
static inline I operator^(I a, I b) { return {_mm512_xor_si512(a.v, b.v)}; }
static inline I min_unsigned(I a, I b) { return {_mm512_min_epu32(a.v, b.v)}; }
static inline I min(I a, I b) { return {_mm512_min_epi32(a.v, b.v)}; }
static inline I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
template <int N> static inline I shift_right(I a) { return {_mm512_srai_epi32(a.v, N)}; }
template <int N> static inline I shift_left(I a) { return {_mm512_slli_epi32(a.v, N)}; }
static inline I shift_left(I a, I by) { return {_mm512_sllv_epi32(a.v, by.v)}; }

static inline M lt(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
static inline M le(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
static inline M le(I a, I b) { return _mm512_cmple_epi32_mask(a.v, b.v); }
static inline M both(M a, M b) { return a & b; }
static inline M without(M a, M b) { return a & ~b; }
static inline M mask_of(unsigned bits) { return static_cast<M>(bits); }
static inline unsigned bits(M m) { return m; }
static inline F zero_unless(M m, F a) { return {_mm512_maskz_mov_ps(m, a.v)}; }
static inline F select(M m, F a, F b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
static inline I select(M m, I a, I b) { return {_mm512_mask_blend_epi32(m, b.v, a.v)}; }
static inline unsigned test(I a, uint32_t bit) { return _mm512_test_epi32_mask(a.v, _mm512_set1_epi32(static_cast<int>(bit))); }

// 2^a for -126 <= a <= 1, relative error 4e-6 (minimax polynomial of degree 4 on [0, 1)).
static inline F exp2_fast(F a) {
    const __m512 f = _mm512_reduce_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(EXP2_C4);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(EXP2_C3));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(EXP2_C2));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(EXP2_C1));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(EXP2_C0));
    return {_mm512_scalef_ps(p, a.v)};
}

static inline void transpose(const F in[16], F out[16]) {
    __m512 a[16], b[16];
    for (int i = 0; i < 8; ++i) {
        a[2 * i] = _mm512_unpacklo_ps(in[2 * i].v, in[2 * i + 1].v);
        a[2 * i + 1] = _mm512_unpackhi_ps(in[2 * i].v, in[2 * i + 1].v);
    }
    for (int i = 0; i < 4; ++i) {  // 128-bit part j of b[4 i + k]: rows 4 i .. 4 i + 3 of column 4 j + k
        const __m512d lo0 = _mm512_castps_pd(a[4 * i]), hi0 = _mm512_castps_pd(a[4 * i + 1]);
        const __m512d lo1 = _mm512_castps_pd(a[4 * i + 2]), hi1 = _mm512_castps_pd(a[4 * i + 3]);
        b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo0, lo1));
        b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo0, lo1));
        b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(hi0, hi1));
        b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(hi0, hi1));
    }
    for (int k = 0; k < 4; ++k) {
        const __m512 p0 = _mm512_shuffle_f32x4(b[k], b[4 + k], 0x44), p1 = _mm512_shuffle_f32x4(b[k], b[4 + k], 0xee);
        const __m512 p2 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0x44), p3 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0xee);
        out[k].v = _mm512_shuffle_f32x4(p0, p2, 0x88);
        out[4 + k].v = _mm512_shuffle_f32x4(p0, p2, 0xdd);
        out[8 + k].v = _mm512_shuffle_f32x4(p1, p3, 0x88);
        out[12 + k].v = _mm512_shuffle_f32x4(p1, p3, 0xdd);
    }
}

static inline void store_compressed(I a, unsigned keep, uint32_t* out) { _mm512_mask_compressstoreu_epi32(out, static_cast<M>(keep), a.v); }

// Writes first + lane for every lane of `keep`, and a full register's width in all; returns how many count.
static inline int store_indices(unsigned keep, int first, int32_t* out) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i compressed = _mm512_maskz_compress_epi32(static_cast<M>(keep), lanes);
    _mm512_storeu_si512(out, _mm512_add_epi32(compressed, _mm512_set1_epi32(first)));
    return __builtin_popcount(keep);
}

// Eight numbers at `a`, eight at `b`.
static inline F load_pair(const float* a, const float* b) {
    return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(a)), _mm256_loadu_ps(b), 1)};
}

// Four lanes are a quarter. Quarter k of the result is the sum of the quarters of in[k].
static inline F quarter_sums(const F in[4]) {
    auto halves = [](F a, F b) { return _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xee)); };
    const __m512 first = halves(in[0], in[1]), second = halves(in[2], in[3]);
    return {_mm512_add_ps(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xdd))};
}

// Lane j of each quarter of v[i] becomes lane i of that quarter of v[j].
static inline void transpose_quarters(F v[4]) {
    const __m512d lo0 = _mm512_castps_pd(_mm512_unpacklo_ps(v[0].v, v[1].v)), hi0 = _mm512_castps_pd(_mm512_unpackhi_ps(v[0].v, v[1].v));
    const __m512d lo1 = _mm512_castps_pd(_mm512_unpacklo_ps(v[2].v, v[3].v)), hi1 = _mm512_castps_pd(_mm512_unpackhi_ps(v[2].v, v[3].v));
    v[0].v = _mm512_castpd_ps(_mm512_unpacklo_pd(lo0, lo1)), v[1].v = _mm512_castpd_ps(_mm512_unpackhi_pd(lo0, lo1));
    v[2].v = _mm512_castpd_ps(_mm512_unpacklo_pd(hi0, hi1)), v[3].v = _mm512_castpd_ps(_mm512_unpackhi_pd(hi0, hi1));
}

// Writes lane 0 of all four, then lane 1 of all, and so on.
static inline void store_interleaved(float* p, F a, F b, F c, F d) {
    F v[4] = {a, b, c, d};
    transpose_quarters(v);
    const __m512 p0 = _mm512_shuffle_f32x4(v[0].v, v[1].v, 0x44), p1 = _mm512_shuffle_f32x4(v[0].v, v[1].v, 0xee);
    const __m512 p2 = _mm512_shuffle_f32x4(v[2].v, v[3].v, 0x44), p3 = _mm512_shuffle_f32x4(v[2].v, v[3].v, 0xee);
    _mm512_storeu_ps(p, _mm512_shuffle_f32x4(p0, p2, 0x88)), _mm512_storeu_ps(p + 16, _mm512_shuffle_f32x4(p0, p2, 0xdd));
    _mm512_storeu_ps(p + 32, _mm512_shuffle_f32x4(p1, p3, 0x88)), _mm512_storeu_ps(p + 48, _mm512_shuffle_f32x4(p1, p3, 0xdd));
}

// Sixteen times three bytes as the lowest three of each lane.
static inline I load_triples(const uint8_t* p) {
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    const __m512i apart = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 32));
    const __m512i triples = _mm512_inserti32x4(_mm512_castsi256_si512(low), high, 2);
    return {_mm512_shuffle_epi8(_mm512_permutexvar_epi32(from, triples), apart)};
}

static inline void store_triples(uint8_t* p, I words) {
    const __m512i together = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
    const __m512i triples = _mm512_permutexvar_epi32(from, _mm512_shuffle_epi8(words.v, together));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(triples));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 32), _mm512_extracti32x4_epi32(triples, 2));
}

// Two neighbours in each of two rows, a quarter each: three bytes at `upper`, three behind, the same at `lower`, eight of which are read
// in each row; and a number for each.
static inline F load_patch(const uint8_t* upper, const uint8_t* lower, const float* upper_numbers, const float* lower_numbers) {
    auto two = [](const void* a, const void* b) {
        const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64(static_cast<const __m128i*>(a)));
        return _mm_loadh_pi(low, static_cast<const __m64*>(b));
    };
    const __m128i apart = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 8, 9, 10, -1, 11, 12, 13, -1);
    const __m512 bytes = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_shuffle_epi8(_mm_castps_si128(two(upper, lower)), apart)));
    return {_mm512_mask_expand_ps(bytes, 0x8888, _mm512_castps128_ps512(two(upper_numbers, lower_numbers)))};
}

// A byte, 1 or 0, for each lane.
static inline void store_mask(uint8_t* p, M m) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m, 1)); }
