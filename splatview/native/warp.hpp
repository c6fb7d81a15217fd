// The plain data that the kernels of reprojection share. No code here may depend on an instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

namespace splats {

constexpr float SOLID = 0.05f;  // alpha from which a pixel is of what was drawn, as `stylize.warp` has it

// From the pixels of a frame to those of a picture of before.
struct Warp {
    int width, height;            // of the frame
    float matrix[3][4];           // takes (x, y, 1, nearness) to the picture, homogeneous; x and y are indices of pixels
    const float *depth, *alpha;   // [height][width]; no depth: all is infinitely far, no alpha: all is solid
    int from_width, from_height;  // of the picture
};

// A frame and its style, and the average of before, which has four numbers a pixel: `marks` what was rendered, and nearness; `average` the
// style, and how many frames it is of.
struct Averaging {
    Warp warp;
    const uint8_t *rendered, *style;            // [height][width][3]
    const float *rendered_finer, *style_finer;  // [height][width][3] what the picture of before is too small to have; or null
    const float *marks, *average;               // [from_height][from_width][4]
    float tolerance, change, most, weight;      // most: frames that count; weight: of their number in what is written
    float *marks_after, *average_after;         // [height][width][4]
    uint8_t* rounded;                           // [height][width][3]
};

// A picture that is laid onto a frame.
struct Laying {
    Warp warp;
    const uint8_t* picture;  // [from_height][from_width][3]
    const float* nearness;   // [from_height][from_width]
    float tolerance;
    uint8_t *found, *known;  // [height][width][3], [height][width]
};

struct WarpKernels {
    const char* name;
    bool compiled() const { return average != nullptr; }
    // The rows from `top` up to `bottom` of what is written.
    void (*average)(const Averaging&, int top, int bottom);
    void (*lay)(const Laying&, int top, int bottom);
};

extern const WarpKernels warps_portable, warps_avx2, warps_avx512;

}  // namespace splats
