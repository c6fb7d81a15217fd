#include "march.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace splats {
namespace {
constexpr double ROUNDING = 1e-6;  // relative: of points in single precision, several times over
}

Steps::Steps(double step, double cone, double longest, double near) : step_(step), cone_(cone), longest_(longest), near_(near) {
    if (!cone) return;
    rate_ = std::log1p(cone), first_ = step / rate_, last_ = longest / rate_;
    end_ = std::log(last_ / first_) / rate_;
    width_ = std::sqrt(1 + cone) - 1 / std::sqrt(1 + cone);
}

Steps Steps::coarser(double detail) const {
    if (detail == 1) return *this;
    return {step_ / detail, cone_ ? std::expm1(rate_ / detail) : 0, longest_ / detail, near_};
}

double Steps::count(double t) const {
    if (!cone_) return t / step_;
    if (t <= first_) return (t - first_) / step_;
    if (t >= last_) return end_ + (t - last_) / longest_;
    return std::log(t / first_) / rate_;
}

double Steps::distance(double x) const {
    if (!cone_) return x * step_;
    if (x <= 0) return first_ + x * step_;
    if (x >= end_) return last_ + (x - end_) * longest_;
    return first_ * std::exp(rate_ * x);
}

double Steps::length(double x, double t) const {
    if (!cone_ || x <= -0.5) return step_;
    if (x >= 0.5 && x <= end_ - 0.5) return t * width_;
    return distance(x + 0.5) - distance(x - 0.5);
}

double Steps::after(double x, double t) const {
    if (!cone_ || x <= -1) return t + step_;
    if (x >= 0 && x <= end_ - 1) return t + t * cone_;
    return distance(x + 1);
}

Occupancy::Occupancy(const uint8_t* cells, const size_t shape[4], const double* boxes) {
    const int grids = static_cast<int>(shape[0]);
    for (const int shift : {0, 1, 2, 3, 4, 5}) {
        Bits bits{shift, {}, {}};
        for (int axis = 0; axis < 3; ++axis) bits.size[axis] = ((static_cast<int>(shape[axis + 1]) - 1) >> shift) + 1;
        bits.words.resize((shape[0] * static_cast<size_t>(bits.size[0]) * bits.size[1] * bits.size[2] + 63) / 64);
        levels_.push_back(std::move(bits));
    }
    const uint8_t* cell = cells;
    for (int grid = 0; grid < grids; ++grid)
        for (int x = 0; x < levels_[0].size[0]; ++x)
            for (int y = 0; y < levels_[0].size[1]; ++y)
                for (int z = 0; z < levels_[0].size[2]; ++z)
                    if (*cell++)
                        for (Bits& bits : levels_) bits.set(grid, x, y, z);
    for (int grid = 0; grid < grids; ++grid) {
        Box box{};
        for (int axis = 0; axis < 3; ++axis) {
            const double low = box.low[axis] = boxes[6 * grid + axis], high = box.high[axis] = boxes[6 * grid + 3 + axis];
            box.cell[axis] = (high - low) / levels_[0].size[axis];
            box.slack[axis] = ROUNDING * (std::max(std::abs(low), std::abs(high)) + (high - low));
            box.low_f[axis] = static_cast<float>(low);
            box.extent_f[axis] = static_cast<float>(high) - box.low_f[axis];
        }
        box.extent_f[3] = 1;
        boxes_.push_back(box);
    }
}

bool Occupancy::at(const Ray& ray, const float point[3], double& until) const {
    typedef float Four __attribute__((vector_size(16)));
    const Four p = {point[0], point[1], point[2], 0};
    for (int grid = 0; grid < static_cast<int>(boxes_.size()); ++grid) {
        const Box& box = boxes_[grid];
        Four low, extent;
        std::memcpy(&low, box.low_f, sizeof low), std::memcpy(&extent, box.extent_f, sizeof extent);
        const Four unit = (p - low) / extent;
        if (!(unit[0] >= 0 && unit[1] >= 0 && unit[2] >= 0 && unit[0] < 1 && unit[1] < 1 && unit[2] < 1)) continue;
        int cell[3];
        for (int axis = 0; axis < 3; ++axis)
            cell[axis] = std::min(static_cast<int>(static_cast<double>(unit[axis]) * levels_[0].size[axis]), levels_[0].size[axis] - 1);
        const bool found = levels_[0].at(grid, cell);
        int empty = 0;  // the largest empty block around
        if (!found)
            while (empty + 1 < static_cast<int>(levels_.size()) && !levels_[empty + 1].at(grid, cell)) ++empty;
        until = leaves(ray, grid, cell, levels_[empty].shift);
        return found;
    }
    until = enters(ray, static_cast<int>(boxes_.size()));
    return false;
}

// Where a ray leaves a block of cells, or gets into a finer grid, whose word goes first.
double Occupancy::leaves(const Ray& ray, int grid, const int cell[3], int shift) const {
    const Box& box = boxes_[grid];
    double until = INFINITY;
    for (int axis = 0; axis < 3; ++axis) {
        if (ray.direction[axis] == 0) continue;
        const bool up = ray.direction[axis] > 0;
        const int side = std::min(((cell[axis] >> shift) + up) << shift, levels_[0].size[axis]);
        const double place = box.low[axis] + side * box.cell[axis] - (up ? box.slack[axis] : -box.slack[axis]);
        until = std::min(until, (place - ray.origin[axis]) * ray.inverse[axis]);
    }
    return grid ? std::min(until, enters(ray, grid)) : until;
}

// Where a ray gets into the first of some grids, or was already.
double Occupancy::enters(const Ray& ray, int grids) const {
    double until = INFINITY;
    for (int grid = 0; grid < grids; ++grid) {
        const Box& box = boxes_[grid];
        double enter = -INFINITY, leave = INFINITY;
        for (int axis = 0; axis < 3; ++axis) {
            const double low = box.low[axis] - box.slack[axis] - ray.origin[axis];
            const double high = box.high[axis] + box.slack[axis] - ray.origin[axis];
            if (ray.direction[axis] == 0) {
                if (low > 0 || high < 0) leave = -INFINITY;
                continue;
            }
            const double first = low * ray.inverse[axis], second = high * ray.inverse[axis];
            enter = std::max(enter, std::min(first, second)), leave = std::min(leave, std::max(first, second));
        }
        if (enter <= leave && leave >= ray.distance) until = std::min(until, enter);
    }
    return until;
}

bool Ray::enter(const Steps& steps, const double* bounds, double near, double far, double shift) {
    double first = -INFINITY, last = INFINITY;
    for (int axis = 0; axis < 3; ++axis) {
        const double low = bounds[axis] - origin[axis], high = bounds[3 + axis] - origin[axis], d = direction[axis];
        inverse[axis] = 1 / d;
        if (d == 0 || !std::isfinite(d + origin[axis])) {
            if (d != 0 || !(low <= 0 && high >= 0)) return false;
            continue;
        }
        first = std::max(first, std::min(low / d, high / d)), last = std::min(last, std::max(low / d, high / d));
    }
    first = std::max({first, steps.near(), near});
    out = std::min(last, far);
    if (!(first < out && std::isfinite(first) && std::isfinite(out))) return false;
    begin = at = steps.count(first) + shift;
    distance = steps.distance(at);
    same_until = -INFINITY;
    const double end = steps.count(out);
    return end + 1 > end && steps.after(end, out) > out;  // or else no step would lead anywhere
}

bool Ray::next(const Steps& steps, const Occupancy* occupancy, double& t, double& length, float point[3]) {
    while (distance < out) {
        for (int axis = 0; axis < 3; ++axis) point[axis] = static_cast<float>(origin[axis] + distance * direction[axis]);
        const double here = at, after = steps.after(here, distance);
        double until;
        if (!occupancy || distance < same_until || occupancy->at(*this, point, until)) {
            if (occupancy && !(distance < same_until)) same_until = until;
            t = distance, length = steps.length(here, distance);
            distance = after, at = here + 1;
            return true;
        }
        if (!(until < out)) break;
        distance = after, at = here + 1;
        if (until <= after) continue;
        // The first of the lattice that may not be before `until`.
        const double steps_until = steps.count(until) - begin - ROUNDING;
        auto further = static_cast<int64_t>(steps_until);
        further += static_cast<double>(further) < steps_until;
        if (begin + static_cast<double>(further) > at) at = begin + static_cast<double>(further), distance = steps.distance(at);
    }
    distance = out;
    return false;
}

}  // namespace splats
