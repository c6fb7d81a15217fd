// Sixteen lanes as two AVX2 registers (with FMA and F16C). Included inside the namespace of one kernel build only.
struct F {
    __m256 a, b;
};
struct I {
    __m256i a, b;
};
struct M {
    __m256 a, b;
};

static inline F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline I set1i(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline I loadi(const void* p) {
    auto q = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
static inline void store(float* p, F x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
static inline void storei(void* p, I x) {
    auto q = static_cast<__m256i*>(p);
    _mm256_storeu_si256(q, x.a), _mm256_storeu_si256(q + 1, x.b);
}
static inline F load_half(const uint16_t* p) {
    auto q = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
static inline F gather(const float* base, I index) {
    return {_mm256_i32gather_ps(base, index.a, 4), _mm256_i32gather_ps(base, index.b, 4)};
}

// The two numbers at base + 2 index.
static inline void gather_pair(const float* base, I index, F& even, F& odd) {
    auto quarter = [&](__m128i four) { return _mm256_castpd_ps(_mm256_i32gather_pd(reinterpret_cast<const double*>(base), four, 8)); };
    auto split = [&](__m256i eight, __m256& first, __m256& second) {
        const __m256 low = quarter(_mm256_castsi256_si128(eight)), high = quarter(_mm256_extracti128_si256(eight, 1));
        const __m256 evens = _mm256_shuffle_ps(low, high, 0x88), odds = _mm256_shuffle_ps(low, high, 0xdd);
        first = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(evens), 0xd8));
        second = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(odds), 0xd8));
    };
    split(index.a, even.a, odd.a), split(index.b, even.b, odd.b);
}

#define LANES(name, type, result, call) \
    static inline result name(type x, type y) { return {call(x.a, y.a), call(x.b, y.b)}; }
LANES(operator+, F, F, _mm256_add_ps)
LANES(operator-, F, F, _mm256_sub_ps)
LANES(operator*, F, F, _mm256_mul_ps)
LANES(operator/, F, F, _mm256_div_ps)
LANES(min, F, F, _mm256_min_ps)
LANES(max, F, F, _mm256_max_ps)
LANES(operator+, I, I, _mm256_add_epi32)
LANES(operator-, I, I, _mm256_sub_epi32)
LANES(operator&, I, I, _mm256_and_si256)
LANES(operator|, I, I, _mm256_or_si256)
LANES(operator*, I, I, _mm256_mullo_epi32)
LANES(operator^, I, I, _mm256_xor_si256)
LANES(min_unsigned, I, I, _mm256_min_epu32)
LANES(min, I, I, _mm256_min_epi32)
LANES(max, I, I, _mm256_max_epi32)
LANES(shift_left, I, I, _mm256_sllv_epi32)
LANES(both, M, M, _mm256_and_ps)
#undef LANES

static inline F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
static inline F fnma(F x, F y, F z) { return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)}; }
static inline F sqrt(F x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
static inline I floor_int(F x) { return {_mm256_cvtps_epi32(_mm256_floor_ps(x.a)), _mm256_cvtps_epi32(_mm256_floor_ps(x.b))}; }
static inline I ceil_int(F x) { return {_mm256_cvtps_epi32(_mm256_ceil_ps(x.a)), _mm256_cvtps_epi32(_mm256_ceil_ps(x.b))}; }
static inline I round_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
static inline F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
static inline I bits_of(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
static inline F float_of(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
template <int N> static inline I shift_right(I x) { return {_mm256_srai_epi32(x.a, N), _mm256_srai_epi32(x.b, N)}; }
template <int N> static inline I shift_left(I x) { return {_mm256_slli_epi32(x.a, N), _mm256_slli_epi32(x.b, N)}; }

static inline M lt(F x, F y) { return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)}; }
static inline M le(F x, F y) { return {_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)}; }
static inline M le(I x, I y) {
    const __m256 more_a = _mm256_castsi256_ps(_mm256_cmpgt_epi32(x.a, y.a)), more_b = _mm256_castsi256_ps(_mm256_cmpgt_epi32(x.b, y.b));
    const __m256 all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    return {_mm256_xor_ps(more_a, all), _mm256_xor_ps(more_b, all)};
}
static inline M without(M x, M y) { return {_mm256_andnot_ps(y.a, x.a), _mm256_andnot_ps(y.b, x.b)}; }
static inline M mask_of(unsigned m) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i lo = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(m)), lane);
    const __m256i hi = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(m >> 8)), lane);
    return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(lo, lane)), _mm256_castsi256_ps(_mm256_cmpeq_epi32(hi, lane))};
}
static inline unsigned bits(M m) {
    return static_cast<unsigned>(_mm256_movemask_ps(m.a)) | static_cast<unsigned>(_mm256_movemask_ps(m.b)) << 8;
}
static inline F zero_unless(M m, F x) { return {_mm256_and_ps(m.a, x.a), _mm256_and_ps(m.b, x.b)}; }
static inline F select(M m, F x, F y) { return {_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)}; }
static inline I select(M m, I x, I y) { return bits_of(select(m, float_of(x), float_of(y))); }
static inline unsigned test(I x, uint32_t bit) {
    const __m256i all = _mm256_set1_epi32(static_cast<int>(bit));
    const __m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(x.a, all), all), b = _mm256_cmpeq_epi32(_mm256_and_si256(x.b, all), all);
    return bits(M{_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)});
}

static inline F rough_reciprocal(F x) { return set1(1) / x; }
static inline F rough_sqrt(F x) { return sqrt(x); }

// Eight numbers at `x`, eight at `y`.
static inline F load_pair(const float* x, const float* y) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(y)}; }

// Four lanes are a quarter. Quarter k of the result is the sum of the quarters of in[k].
static inline F quarter_sums(const F in[4]) {
    auto two = [](F x, F y) {
        const __m256 p = _mm256_add_ps(x.a, x.b), q = _mm256_add_ps(y.a, y.b);
        return _mm256_add_ps(_mm256_permute2f128_ps(p, q, 0x20), _mm256_permute2f128_ps(p, q, 0x31));
    };
    return {two(in[0], in[1]), two(in[2], in[3])};
}

// Lane j of each quarter of v[i] becomes lane i of that quarter of v[j].
static inline void transpose_quarters(F v[4]) {
    auto turn = [](__m256& a, __m256& b, __m256& c, __m256& d) {
        const __m256d lo0 = _mm256_castps_pd(_mm256_unpacklo_ps(a, b)), hi0 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
        const __m256d lo1 = _mm256_castps_pd(_mm256_unpacklo_ps(c, d)), hi1 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
        a = _mm256_castpd_ps(_mm256_unpacklo_pd(lo0, lo1)), b = _mm256_castpd_ps(_mm256_unpackhi_pd(lo0, lo1));
        c = _mm256_castpd_ps(_mm256_unpacklo_pd(hi0, hi1)), d = _mm256_castpd_ps(_mm256_unpackhi_pd(hi0, hi1));
    };
    turn(v[0].a, v[1].a, v[2].a, v[3].a), turn(v[0].b, v[1].b, v[2].b, v[3].b);
}

// Writes lane 0 of all four, then lane 1 of all, and so on.
static inline void store_interleaved(float* p, F x, F y, F z, F w) {
    F v[4] = {x, y, z, w};
    transpose_quarters(v);
    auto eight = [&](__m256 a, __m256 b, int at, int next) {
        _mm256_storeu_ps(p + at, _mm256_permute2f128_ps(a, b, 0x20)), _mm256_storeu_ps(p + next, _mm256_permute2f128_ps(a, b, 0x31));
    };
    eight(v[0].a, v[1].a, 0, 16), eight(v[2].a, v[3].a, 8, 24), eight(v[0].b, v[1].b, 32, 48), eight(v[2].b, v[3].b, 40, 56);
}

// Sixteen times three bytes as the lowest three of each lane.
static inline I load_triples(const uint8_t* p) {
    auto four = [&](int at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + at)); };
    const __m128i apart = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    const __m128i last = _mm_setr_epi8(4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1);
    return {_mm256_set_m128i(_mm_shuffle_epi8(four(12), apart), _mm_shuffle_epi8(four(0), apart)),
            _mm256_set_m128i(_mm_shuffle_epi8(four(32), last), _mm_shuffle_epi8(four(24), apart))};
}

static inline void store_triples(uint8_t* p, I words) {
    const __m256i together = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m256i from = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
    auto eight = [&](__m256i x, uint8_t* to) {
        const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(x, together), from);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 16), _mm256_extracti128_si256(packed, 1));
    };
    eight(words.a, p), eight(words.b, p + 24);
}

// Two neighbours in each of two rows, a quarter each: three bytes at `upper`, three behind, the same at `lower`, eight of which are read
// in each row; and a number for each.
static inline F load_patch(const uint8_t* upper, const uint8_t* lower, const float* upper_numbers, const float* lower_numbers) {
    auto two = [](const void* a, const void* b) {
        const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64(static_cast<const __m128i*>(a)));
        return _mm_loadh_pi(low, static_cast<const __m64*>(b));
    };
    const __m128i apart = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 8, 9, 10, -1, 11, 12, 13, -1);
    const __m128i bytes = _mm_shuffle_epi8(_mm_castps_si128(two(upper, lower)), apart);
    const __m256 numbers = _mm256_castps128_ps256(two(upper_numbers, lower_numbers));
    const __m256 first = _mm256_permutevar8x32_ps(numbers, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
    const __m256 second = _mm256_permutevar8x32_ps(numbers, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
    return {_mm256_blend_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), first, 0x88),
            _mm256_blend_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))), second, 0x88)};
}

// A byte, 1 or 0, for each lane.
static inline void store_mask(uint8_t* p, M m) {
    const unsigned keep = bits(m);
    for (int i = 0; i < 16; ++i) p[i] = keep >> i & 1;
}

#define SPLATVIEW_GENERIC_EXP2
#define SPLATVIEW_GENERIC_STORES
