// The networks with products of bfloat16 pairs, summed in single precision. Included, before evaluate.hpp, in its build alone.
#define SPLATVIEW_BF16

static inline __m512i pair(F even, F odd) {  // the first of two inputs in the low half of each lane
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                                           18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd.v, even.v));
}

// y = W x + what y held, or the biases; x [inputs / 2][CHUNK] is pairs, and so is y, rectified, unless it is the last.
template <int COUNT, bool FROM_Y>
static inline void some_outputs_bf16(const LayerView& layer, int first, bool last, const float* x, float* y) {
    F sums[COUNT][GROUPS];
    for (int o = 0; o < COUNT; ++o)
        for (int g = 0; g < GROUPS; ++g) sums[o][g] = FROM_Y ? load(y + (first + o) * CHUNK + 16 * g) : set1(layer.biases[first + o]);
    const int pairs = (layer.inputs + 1) / 2;
    const uint32_t* weights = layer.pairs + first * pairs;
    for (int i = 0; i < pairs; ++i) {
        __m512bh in[GROUPS];
        for (int g = 0; g < GROUPS; ++g) in[g] = (__m512bh)loadi(x + i * CHUNK + 16 * g).v;
        for (int o = 0; o < COUNT; ++o) {
            const __m512bh weight = (__m512bh)_mm512_set1_epi32(static_cast<int>(weights[o / 4 * 4 * pairs + 4 * i + o % 4]));
            for (int g = 0; g < GROUPS; ++g) sums[o][g].v = _mm512_dpbf16_ps(sums[o][g].v, weight, in[g]);
        }
    }
    for (int o = 0; o < COUNT; ++o)
        for (int g = 0; g < GROUPS; ++g) {
            if (last)
                store(y + (first + o) * CHUNK + 16 * g, sums[o][g]);
            else if (o % 2 == 0)
                storei(y + (first + o) / 2 * CHUNK + 16 * g, I{pair(max(sums[o][g], set1(0)), max(sums[o + 1][g], set1(0)))});
        }
}

template <bool FROM_Y> static void apply_bf16(const LayerView& layer, bool last, const float* x, float* y) {
    int first = 0;
    for (; first + OUTPUTS <= layer.outputs; first += OUTPUTS) some_outputs_bf16<OUTPUTS, FROM_Y>(layer, first, last, x, y);
    for (; first < layer.outputs; first += 4) some_outputs_bf16<4, FROM_Y>(layer, first, last, x, y);
}

static float* through_bf16(const NetworkView& network, bool from_y, float* x, float* y) {
    const int inputs = network.layers[0].inputs;
    for (int g = 0; g < GROUPS; ++g)
        for (int i = 0; i < inputs; i += 2)
            storei(x + i / 2 * CHUNK + 16 * g,
                   I{pair(load(x + i * CHUNK + 16 * g), i + 1 < inputs ? load(x + (i + 1) * CHUNK + 16 * g) : set1(0))});
    for (int number = 0; number < network.count; ++number) {
        const bool last = number + 1 == network.count;
        from_y&& number == 0 ? apply_bf16<true>(network.layers[number], last, x, y) : apply_bf16<false>(network.layers[number], last, x, y);
        float* const swap = x;
        x = y, y = swap;
    }
    return x;
}

static float* through_density(const NetworkView& network, float* x, float* y) { return through_bf16(network, false, x, y); }
static float* through_colour(const NetworkView& network, float* x, float* y) { return through_bf16(network, true, x, y); }
