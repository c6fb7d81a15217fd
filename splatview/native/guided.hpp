// Straight lines from what is rendered to what is found, around each block of a picture: the guided filter's (He, Sun, Tang 2010).
#pragma once
#include <cstdint>

namespace splats {

struct Guided {
    int width, height;
    const uint8_t *known, *rendered;  // [height][width], [height][width][3]
    uint8_t* found;                   // [height][width][3]
    int columns, rows;                // blocks
};

// How many pixels are known; and of each channel the sums of what is rendered, of what is found, of their products, of squares of the
// first.
constexpr int GUIDE_SUMS = 1 + 3 * 4;

// Writes `sums` [columns][GUIDE_SUMS] of the blocks in `row`, over every `each`-th pixel of every `each`-th row that is known.
void sum_blocks(const Guided& task, int each, int row, float* sums);

// Fills in what is not known of the rows from `top` up to `bottom` by `lines` [rows][columns][6], slopes and shifts of the channels, which
// change evenly between the middles of blocks.
void fill_rows(const Guided& task, const float* lines, int top, int bottom);

}  // namespace splats
