// The plain data that the kernels of fields share. No code here may depend on an instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

namespace splats {

constexpr int MOST_LEVELS = 32;  // of a grid

// One grid of a multiresolution hash encoding: where its entries are, and which one a corner has.
struct GridLevel {
    float scale;
    uint32_t resolution;  // corners along an axis where each has its own entry, x fastest; 0: hashed
    uint32_t entries;
    enum Wrap : uint32_t { MASK, ONCE, DIVIDE } wrap;  // how a place is brought below `entries`: a power of two, less than twice, any
    uint64_t first;                                    // entry of the level
};

GridLevel level_of(double scale, uint32_t resolution, uint32_t entries, uint64_t first, double offset);

struct Grid {
    const GridLevel* levels;
    int count, features;  // features: of an entry, 1, 2, 4 or 8
    float offset;         // of the corners, in cells
};

constexpr int MOST_CHUNK = 32;  // samples that a kernel works on at once, at most: arrays have room for a multiple of so many

struct FieldLevel {
    GridLevel grid;
    const uint32_t* table;  // halves, two a word, none of them subnormal or infinite; behind the last entry is the first again
    float unit;             // that of the halves, a power of two, times 2^112
    int features, words;    // of an entry
};

struct LayerView {
    int inputs, outputs;    // outputs: rounded up to four
    const float* weights;   // [outputs / 4][inputs][4]
    const float* biases;    // [outputs]
    const uint32_t* pairs;  // [outputs / 4][(inputs + 1) / 2][4] the weights of two inputs, in bfloat16
};

struct NetworkView {
    const LayerView* layers;
    int count;
};

// A field, ready to be asked. The first layer of its colour network is in two: `colour` has what comes from the density network, all
// of whose outputs it takes, and `seen` what comes from the direction, and the bias.
struct FieldView {
    const FieldLevel* levels;
    int level_count;
    float offset;
    NetworkView density, colour;
    LayerView seen;
    int row, head;  // outputs of the density network and of `seen`, rounded up to 16
    int widest;     // numbers for a sample that a layer takes or gives, rounded up to 16
    float low[3], extent[3];
    float density_factor, least_alpha;
    bool contraction, shifted_directions, hdr;

    size_t scratch() const { return size_t{2} * MOST_CHUNK * static_cast<size_t>(widest); }
};

struct Samples {
    size_t count;
    const float *x, *y, *z;  // in the field's frame
    const float* length;
    float *density, *covers;  // either may be null; covers: the share of what is behind, by the length
    float* rows;              // [count][row] what the colour network takes
};

struct Directions {
    size_t count;
    const float* axes[3];
    float* heads;  // [count][head]
};

struct Colours {
    size_t count;
    const float *rows, *heads;
    const uint32_t *row_of, *head_of;  // which of them belong to a sample
    float* rgb[3];
};

struct FieldKernels {
    const char* name;
    bool compiled() const { return encode != nullptr; }
    // Features [count, levels x features] at `positions` [count, 3] of the unit cube; zeros outside of it.
    void (*encode)(const Grid&, const float* table, const float* positions, size_t count, float* out);
    // Adds to `gradient`, shaped as the table, what one level gets of `dfeatures` [count, levels x features].
    void (*scatter)(const Grid&, int level, const float* positions, const float* dfeatures, size_t count, float* gradient);
    // The three steps to a picture. `scratch`: FieldView::scratch() numbers.
    void (*density)(const FieldView&, const Samples&, float* scratch);
    void (*directions)(const FieldView&, const Directions&, float* scratch);
    void (*colour)(const FieldView&, const Colours&, float* scratch);
};

// The last is less exact: its networks multiply numbers of eight bits.
extern const FieldKernels fields_portable, fields_avx2, fields_avx512, fields_bf16;

}  // namespace splats
