// The plain data that the kernels of fields share. No code here may depend on an instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

namespace splats {

constexpr int GROUP = 16;        // samples that a kernel works on at once, one a lane
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

struct EncodingKernels {
    const char* name;
    bool compiled() const { return encode != nullptr; }
    // Features [count, levels x features] at `positions` [count, 3] of the unit cube; zeros outside of it.
    void (*encode)(const Grid&, const float* table, const float* positions, size_t count, float* out);
    // Adds to `gradient`, shaped as the table, what one level gets of `dfeatures` [count, levels x features].
    void (*scatter)(const Grid&, int level, const float* positions, const float* dfeatures, size_t count, float* gradient);
};

extern const EncodingKernels encoding_portable, encoding_avx2, encoding_avx512;

}  // namespace splats
