// Gaussians packed for drawing, once, off the frame path.
#pragma once
#include "memory.hpp"
#include "threads.hpp"
#include "types.hpp"

namespace splats {

struct RawGaussians {  // as in the Gaussians value, row-major
    uint32_t count;
    int sh_coefficients;
    const float *means, *quats, *log_scales, *opacity_logits, *sh;
};

// Only what a picture can hold is drawn: anything that is not finite is left out.
bool drawable(const RawGaussians& raw, uint32_t i);
// Upper triangle of R S S R^T in the layer's frame; returns the largest standard deviation.
float covariance(const float* quat, const float* log_scales, float out[6]);
float log2_opacity(float logit);  // log2 of the sigmoid, without overflow on either side

class PackedScene {
public:
    PackedScene(const RawGaussians& raw, Threads& threads);
    const Blocks& blocks() const { return blocks_; }
    size_t bytes() const { return geometry_.bytes() + dc_.bytes() + rest_.bytes() + bounds_.bytes() + order_.bytes(); }

private:
    Buffer<float> geometry_, dc_, bounds_;
    Buffer<uint16_t> rest_;
    Buffer<uint32_t> order_;
    Blocks blocks_{};
};

}  // namespace splats
