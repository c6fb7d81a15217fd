// Fields made ready for drawing, and how they are asked and drawn.
#pragma once
#include <memory>
#include <vector>

#include "cuts.hpp"
#include "grid.hpp"
#include "march.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace splats {

struct Matrix {
    const float* values;  // [outputs, inputs]
    int outputs, inputs;
    const float* biases;  // [outputs]
};

struct Table {
    const float* values;  // [entries, features]
    uint32_t entries;
    int features;
    double scale;
    uint32_t resolution;
};

// What `hashgrid.HashGrid` holds.
struct RawField {
    std::vector<Table> levels;
    std::vector<Matrix> density, colour;
    double box[6], offset, density_factor;
    int geometry;
    bool contraction, shifted_directions, hdr;
    Steps steps;
    double least_alpha;
    std::shared_ptr<Occupancy> occupancy;  // or null
};

class Field {
public:
    explicit Field(const RawField& raw);
    Field(const Field&) = delete;

    const FieldView& view() const { return view_; }
    const Steps& steps() const { return steps_; }
    const Occupancy* occupancy() const { return occupancy_.get(); }
    size_t bytes() const;

private:
    LayerView pack(const Matrix& matrix, int first_input, int inputs, int leading, bool biased);
    void note_width(int numbers) { view_.widest = std::max(view_.widest, (numbers + 15) / 16 * 16); }

    Buffer<uint32_t> words_;
    std::vector<FieldLevel> levels_;
    std::vector<std::unique_ptr<float[]>> weights_;
    std::vector<std::unique_ptr<uint32_t[]>> pairs_;
    std::vector<LayerView> density_, colour_;
    Steps steps_;
    std::shared_ptr<Occupancy> occupancy_;
    FieldView view_{};
};

// A rectangle of a picture.
struct FieldPicture {
    double origin[3], field_from_pixel[9];  // a ray's direction, of 1 along the view axis, is field_from_pixel (x, y, 1)
    int left, top, width, height;
    double near, far;  // along the view axis
    double bounds[6];
    std::vector<CutView> cuts;
    double detail;                  // of the samples that the field's steps would give, so many are drawn
    float last_transmittance;       // a sample that leaves less is opaque
    const float* divide;            // [height, width] along the view axis, where a ray is divided in two parts; or null: in one
    const uint8_t* interrupt;       // or null
    float *rgb, *alpha, *distance;  // [parts, height, width, 3], [parts, height, width]: premultiplied; weighted, along the view axis
    int32_t* samples;
};

// False if it was interrupted.
bool draw(const FieldKernels& kernels, Threads& threads, const Field& field, const FieldPicture& picture);

// Density [count] and rgb [count, 3] at positions [count, 3] along directions [count, 3].
void query(const FieldKernels& kernels, Threads& threads, const Field& field, const float* positions, const float* along, size_t count,
           float* density, float* rgb);

}  // namespace splats
