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

// How a Gaussian lies: its rotation R, its scales S, and R S.
struct Axes {
    double r[3][3], m[3][3], s[3];
    Axes(const float* quat, const float* log_scales);
};

// Only what a picture can hold is drawn: anything that is not finite is left out.
bool drawable(const RawGaussians& raw, uint32_t i);
// Upper triangle of R S S R^T in the layer's frame; returns the largest standard deviation.
float covariance(const float* quat, const float* log_scales, float out[6]);
float log2_opacity(float logit);  // log2 of the sigmoid, without overflow on either side

class PackedScene {
public:
    PackedScene(const RawGaussians& raw, Threads& threads);

    // `parent`, of as many Gaussians with as many coefficients, where those that are not `changed` [N] are the same: they stay in its
    // order, and what did not change is copied, or shared. same_shapes: all but the harmonics is the same throughout; same_sh: they are.
    PackedScene(const PackedScene& parent, const RawGaussians& raw, const uint8_t* changed, bool same_shapes, bool same_sh,
                Threads& threads);

    const Blocks& blocks() const { return blocks_; }
    size_t bytes() const { return geometry_->bytes() + dc_->bytes() + rest_->bytes() + bounds_->bytes() + order_->bytes(); }
    // The share of blocks, 0 to 1, that are far larger than blocks were when everything was packed: Gaussians that were moved lie in them.
    double stretched() const;

private:
    template <class T> using Shared = std::shared_ptr<Buffer<T>>;

    void put_geometry(const RawGaussians& raw, uint32_t slot, uint32_t i, bool shown);
    void put_harmonics(const RawGaussians& raw, uint32_t slot, uint32_t i);
    void put_bounds(const RawGaussians& raw, uint32_t block);
    void finish(const RawGaussians& raw);

    Shared<float> geometry_, dc_, bounds_;
    Shared<uint16_t> rest_;
    Shared<uint32_t> order_;
    float usual_radius_ = 0;  // of a block, far more than the mean
    Blocks blocks_{};
};

}  // namespace splats
