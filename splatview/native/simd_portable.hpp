// Sixteen lanes as compiler vectors, for any processor. Included inside the namespace of one kernel build only.
typedef float V16 __attribute__((vector_size(64)));
typedef int32_t W16 __attribute__((vector_size(64)));

struct F {
    V16 v;
};
struct I {
    W16 v;
};
struct M {
    W16 v;  // all ones or all zeros a lane
};

static inline F set1(float a) { return {V16{} + a}; }
static inline I set1i(int32_t a) { return {W16{} + a}; }
static inline F load(const float* p) {
    F r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
}
static inline I loadi(const void* p) {
    I r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
}
static inline void store(float* p, F a) { __builtin_memcpy(p, &a, sizeof a); }
static inline void storei(void* p, I a) { __builtin_memcpy(p, &a, sizeof a); }
static inline F gather(const float* base, I index) {
    F r;
    for (int i = 0; i < 16; ++i) r.v[i] = base[index.v[i]];
    return r;
}
// The two numbers at base + 2 index.
static inline void gather_pair(const float* base, I index, F& even, F& odd) {
    for (int i = 0; i < 16; ++i) {
        const float* pair = base + 2 * static_cast<int64_t>(index.v[i]);
        even.v[i] = pair[0], odd.v[i] = pair[1];
    }
}

static inline F operator+(F a, F b) { return {a.v + b.v}; }
static inline F operator-(F a, F b) { return {a.v - b.v}; }
static inline F operator*(F a, F b) { return {a.v * b.v}; }
static inline F operator/(F a, F b) { return {a.v / b.v}; }
static inline F fma(F a, F b, F c) { return {a.v * b.v + c.v}; }
static inline F fnma(F a, F b, F c) { return {c.v - a.v * b.v}; }
static inline I operator+(I a, I b) { return {a.v + b.v}; }
static inline I operator-(I a, I b) { return {a.v - b.v}; }
static inline I operator&(I a, I b) { return {a.v & b.v}; }
static inline I operator|(I a, I b) { return {a.v | b.v}; }
static inline I operator*(I a, I b) { return {a.v * b.v}; }
static inline I operator^(I a, I b) { return {a.v ^ b.v}; }
static inline I min_unsigned(I a, I b) {
    typedef uint32_t U16 __attribute__((vector_size(64)));
    const W16 less = reinterpret_cast<U16>(a.v) < reinterpret_cast<U16>(b.v);
    return {(a.v & less) | (b.v & ~less)};
}
template <int N> static inline I shift_right(I a) { return {a.v >> N}; }
template <int N> static inline I shift_left(I a) { return {a.v << N}; }
static inline I shift_left(I a, I by) { return {a.v << by.v}; }
static inline I bits_of(F a) { return loadi(&a); }
static inline F float_of(I a) { return load(reinterpret_cast<const float*>(&a)); }

static inline M lt(F a, F b) { return {a.v < b.v}; }
static inline M le(F a, F b) { return {a.v <= b.v}; }
static inline M le(I a, I b) { return {a.v <= b.v}; }
static inline M both(M a, M b) { return {a.v & b.v}; }
static inline M without(M a, M b) { return {a.v & ~b.v}; }
static inline F zero_unless(M m, F a) { return float_of({bits_of(a).v & m.v}); }
static inline I select(M m, I a, I b) { return {(a.v & m.v) | (b.v & ~m.v)}; }
static inline F select(M m, F a, F b) { return float_of(select(m, bits_of(a), bits_of(b))); }
static inline F min(F a, F b) { return select(lt(a, b), a, b); }
static inline F max(F a, F b) { return select(lt(b, a), a, b); }
static inline I min(I a, I b) { return select(le(a, b), a, b); }
static inline I max(I a, I b) { return select(le(a, b), b, a); }
static inline M mask_of(unsigned m) {
    const W16 lane = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    return {((W16{} + static_cast<int32_t>(m)) & lane) != 0};
}
static inline unsigned bits(M m) {
    unsigned r = 0;
    for (int i = 0; i < 16; ++i) r |= (static_cast<unsigned>(m.v[i]) & 1u) << i;
    return r;
}
static inline unsigned test(I a, uint32_t bit) { return bits(M{(a.v & static_cast<int32_t>(bit)) != 0}); }
static inline F sqrt(F a) {
    for (int i = 0; i < 16; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
    return a;
}
static inline F to_float(I a) { return {__builtin_convertvector(a.v, V16)}; }
static inline I truncate(F a) { return {__builtin_convertvector(a.v, W16)}; }
static inline I floor_int(F a) {
    const I t = truncate(a);
    return {t.v + (to_float(t).v > a.v)};  // a true comparison is -1
}
static inline I ceil_int(F a) {
    const I t = truncate(a);
    return {t.v - (to_float(t).v < a.v)};
}
static inline I round_int(F a) { return floor_int(a + set1(0.5f)); }

// IEEE half to float by moving the bits; the multiplication rebiases the exponent and makes subnormals right.
static inline F load_half(const uint16_t* p) {
    I h;
    for (int i = 0; i < 16; ++i) h.v[i] = p[i];
    const F magnitude = float_of({(h.v & 0x7fff) << 13}) * set1(0x1p112f);
    return float_of({bits_of(magnitude).v | ((h.v & 0x8000) << 16)});
}

static inline F rough_reciprocal(F x) { return set1(1) / x; }
static inline F rough_sqrt(F x) { return sqrt(x); }

// Eight numbers at `a`, eight at `b`.
static inline F load_pair(const float* a, const float* b) {
    F r;
    __builtin_memcpy(&r, a, 32), __builtin_memcpy(reinterpret_cast<char*>(&r) + 32, b, 32);
    return r;
}

// Four lanes are a quarter. Quarter k of the result is the sum of the quarters of in[k].
static inline F quarter_sums(const F in[4]) {
    F r;
    for (int i = 0; i < 16; ++i) {
        const V16 v = in[i >> 2].v;
        r.v[i] = (v[i & 3] + v[8 + (i & 3)]) + (v[4 + (i & 3)] + v[12 + (i & 3)]);
    }
    return r;
}

// Lane j of each quarter of v[i] becomes lane i of that quarter of v[j].
static inline void transpose_quarters(F v[4]) {
    F in[4] = {v[0], v[1], v[2], v[3]};
    for (int j = 0; j < 4; ++j)
        for (int k = 0; k < 16; ++k) v[j].v[k] = in[k & 3].v[(k & 12) + j];
}

// Writes lane 0 of all four, then lane 1 of all, and so on.
static inline void store_interleaved(float* p, F a, F b, F c, F d) {
    for (int i = 0; i < 16; ++i) p[4 * i] = a.v[i], p[4 * i + 1] = b.v[i], p[4 * i + 2] = c.v[i], p[4 * i + 3] = d.v[i];
}

// Sixteen times three bytes as the lowest three of each lane.
static inline I load_triples(const uint8_t* p) {
    I r;
    for (int i = 0; i < 16; ++i) r.v[i] = p[3 * i] | p[3 * i + 1] << 8 | p[3 * i + 2] << 16;
    return r;
}

static inline void store_triples(uint8_t* p, I words) {
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 3; ++j) p[3 * i + j] = static_cast<uint8_t>(words.v[i] >> 8 * j);
}

// Two neighbours in each of two rows, a quarter each: three bytes at `upper`, three behind, the same at `lower`; and a number for each.
static inline F load_patch(const uint8_t* upper, const uint8_t* lower, const float* upper_numbers, const float* lower_numbers) {
    F r;
    for (int k = 0; k < 4; ++k) {
        for (int j = 0; j < 3; ++j) r.v[4 * k + j] = (k < 2 ? upper : lower)[3 * (k & 1) + j];
        r.v[4 * k + 3] = (k < 2 ? upper_numbers : lower_numbers)[k & 1];
    }
    return r;
}

// A byte, 1 or 0, for each lane.
static inline void store_mask(uint8_t* p, M m) {
    for (int i = 0; i < 16; ++i) p[i] = m.v[i] & 1;
}

#define SPLATVIEW_GENERIC_EXP2
#define SPLATVIEW_GENERIC_STORES
