// The plain data that the kernels and the frame loop share. No code here may depend on an instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

namespace splats {

constexpr int LANES = 16;         // Gaussians of a block, pixels of a 4 x 4 block
constexpr int TILE = 16;          // pixels a side
constexpr int BATCH = 64;         // Gaussians that a tile blends at a time
constexpr int CHECK = 8;          // Gaussians that a 4 x 4 block blends before it looks whether its pixels have all ended
constexpr int CHUNK_BLOCKS = 64;  // blocks that one thread projects at a time
constexpr int CHUNK = CHUNK_BLOCKS * LANES;
constexpr int MASK_SIDE = 8;  // a footprint of up to 8 x 8 tiles is kept as a bit mask

constexpr float MIN_ALPHA_LOG2 = -7.994353436858858f;  // log2(1 / 255)
constexpr float MAX_ALPHA = 0.999f, MAX_ALPHA_LOG2 = -0.00144341f;
constexpr float MIN_TRANSMITTANCE = 1e-4f;
constexpr float DILATION = 0.3f;                                             // pixels squared, added to the projected covariance
constexpr float CENTRE_VARIANCE = 0.5f, CENTRE_PEAK = -0.0740005814f;        // pixels squared; log2 of the opacity 0.95
constexpr float RIM_ALPHA = 0.6f, RIM_WIDTH = 1.5f, RIM_END = 5.770780164f;  // pixels; log2 of alpha: 2.8 standard deviations
constexpr float SLACK = 2e-3f;  // log2 of alpha: intersections are this much too large, so that rounding never cuts a pixel

// A projected Gaussian. Its alpha at pixel offset (dx, dy) is 2^(peak - a (dx + h dy)^2 - e dy^2).
struct Record {
    float x, y;           // centre; the centre of pixel i is at i
    float a, h, e, peak;  // peak: log2 of the opacity
    float r, g, b, z;
    uint32_t tile;     // first tile of the footprint: column | row << 16
    uint32_t span;     // its size: columns | rows << 16
    uint32_t mask[2];  // the touched tiles, eight a row, where the span is at most 8 x 8
    uint32_t id;       // index in its layer, in the caller's order
    uint32_t layer;    // its top bit: the Gaussian is tinted
};
constexpr uint32_t TINTED = 1u << 31;
static_assert(sizeof(Record) == 64);

// A layer's Gaussians in Morton order, sixteen to a block, everything that a frame needs and nothing else.
struct Blocks {
    uint32_t count, blocks;
    int sh_coefficients;    // per channel
    const float* geometry;  // [blocks][10][16]: x y z, covariance xx xy xz yy yz zz, log2 of the opacity
    const float* dc;        // [blocks][3][16]
    const uint16_t* rest;   // [blocks][K - 1][3][16] halves
    const float* bounds;    // [5][padded blocks]: sphere of the means x y z radius, largest standard deviation
    uint32_t padded;        // blocks rounded up to 16
    const uint32_t* order;  // [blocks * 16] index in the caller's order
    int64_t spare;          // bytes that a frame of this scene may take, so that all is within 1.5 times the scene's own arrays
};

struct View {
    int width, height, tiles_x, tiles_y;
    float fx, fy, cx, cy;  // pixels; the centre of the first pixel is at 0.5
    float near, far;
    float splat_scale;
    bool centres, outlines;
    // x / z and y / z beyond which the projection is linearised at the limit: 15 % of the whole picture outside it, as all
    // implementations have it.
    float left, right, top, bottom;
};

struct LayerView {
    Blocks blocks;
    float linear[9], translation[3];  // camera from layer, row-major; linear = scale * rotation
    float scale;
    float eye[3];  // in the layer's frame
    int sh_coefficients;
    bool antialiased;
    const uint8_t* hidden;  // by the caller's order, or null
    const uint8_t* tinted;
    float tint[3];
    bool mixes_tint;  // or else a tinted Gaussian keeps its colour
    uint32_t index;
};

struct Images {  // any may be null
    float *rgb, *alpha, *depth, *median_depth, *coverage;
    uint8_t* rgb8;
    int32_t *ids, *id_layers, *overdraw;
    const float* divide;  // [H][W] z; null if `front` is
    float* front;  // [H][W][FRONT]: r, g, b, alpha and z, weighted, of what is nearer; the rest is what is seen behind, up to `depth`
    static constexpr int FRONT = 5;
};

struct TileTask {
    const View* view;
    const Record* records;
    const uint32_t* list;  // indices of records, front to back; sixteen more that may be read
    uint32_t count;
    int column, row;
    float background[3];
    Images images;
};

struct Search {             // what is asked of a view instead of pictures: which Gaussians weigh at least `least` at a pixel of a region
    const uint8_t* region;  // the view's pixels, 1: in the region, 0: not
    size_t stride;          // bytes from row to row
    float least;
    uint8_t* const* found;  // by layer, [N] in the caller's order: set to 1
};

// What is asked of a view instead of pictures: how much a weighted sum over the picture grows with what each Gaussian is drawn by.
struct Pull {
    static constexpr int GIVEN = 5, SUMS = 9;
    static constexpr double UNIT = 68719476736.0;  // 2^36: sums are whole numbers of 1 / UNIT, which have no order that they are added in
    const float* given;                            // [H][W][GIVEN]: the weights of r, g, b and alpha; and the sum of it all at the pixel
    int64_t* const* sums;                          // by layer, [N][SUMS] in the caller's order, see gradient.hpp
};

struct Kernels {
    const char* name;
    bool compiled() const { return project != nullptr; }
    // Which of the blocks [first, last), 64 at most, may hold a visible Gaussian: a bit each.
    uint64_t (*in_view)(const View&, const LayerView&, uint32_t first, uint32_t last);
    // Projects the blocks first + k for every bit k of `chosen`; writes the visible Gaussians and the bits of their depths, and may
    // write one more. Returns how many.
    int (*project)(const View&, const LayerView&, uint32_t first, uint64_t chosen, Record* records, uint32_t* depths);
    void (*blend)(const TileTask&);
    // Sets what is found in one tile. Threads may set the same byte at once, as relaxed atomics.
    void (*search)(const TileTask&, const Search&);
    // Adds to the sums what one tile gives. Threads may add to the same one at once, as relaxed atomics.
    void (*pull)(const TileTask&, const Pull&);
};

extern const Kernels kernels_portable, kernels_avx2, kernels_avx512;

}  // namespace splats
