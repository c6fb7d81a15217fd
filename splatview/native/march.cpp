#include "march.hpp"

#include <algorithm>
#include <cmath>

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
    const size_t each = shape[1] * shape[2] * shape[3];
    for (int axis = 0; axis < 3; ++axis) size_[axis] = static_cast<int>(shape[axis + 1]);
    bits_.resize((shape[0] * each + 63) / 64);
    for (size_t i = 0; i < shape[0] * each; ++i) bits_[i / 64] |= uint64_t{cells[i] != 0} << (i % 64);
    for (size_t grid = 0; grid < shape[0]; ++grid) {
        Box box;
        box.first = grid * each;
        for (int axis = 0; axis < 3; ++axis) {
            const double low = box.low[axis] = boxes[6 * grid + axis], high = box.high[axis] = boxes[6 * grid + 3 + axis];
            box.cell[axis] = (high - low) / size_[axis];
            box.slack[axis] = ROUNDING * (std::max(std::abs(low), std::abs(high)) + (high - low));
            box.low_f[axis] = static_cast<float>(low);
            box.extent_f[axis] = static_cast<float>(high) - box.low_f[axis];
        }
        boxes_.push_back(box);
    }
}

bool Occupancy::at(const float point[3], int& grid, int cell[3]) const {
    for (grid = 0; grid < static_cast<int>(boxes_.size()); ++grid) {
        const Box& box = boxes_[grid];
        bool here = true;
        for (int axis = 0; axis < 3; ++axis) {
            const float unit = (point[axis] - box.low_f[axis]) / box.extent_f[axis];
            if (!(unit >= 0 && unit < 1)) {
                here = false;
                break;
            }
            cell[axis] = std::min(static_cast<int>(static_cast<double>(unit) * size_[axis]), size_[axis] - 1);
        }
        if (!here) continue;
        const size_t bit = box.first + (static_cast<size_t>(cell[0]) * size_[1] + cell[1]) * size_[2] + cell[2];
        return bits_[bit / 64] >> (bit % 64) & 1;
    }
    grid = -1;
    return false;
}

double Occupancy::empty_until(const double origin[3], const double direction[3], double distance, int grid, const int cell[3]) const {
    double until = INFINITY;
    if (grid >= 0) {
        const Box& box = boxes_[grid];
        for (int axis = 0; axis < 3; ++axis) {
            const double d = direction[axis];
            if (d == 0) continue;
            const double side = box.low[axis] + (cell[axis] + (d > 0)) * box.cell[axis] - std::copysign(box.slack[axis], d);
            until = std::min(until, (side - origin[axis]) / d);
        }
    }
    const int finer = grid < 0 ? static_cast<int>(boxes_.size()) : grid;
    for (int other = 0; other < finer; ++other) {  // what they say comes first, where the ray enters them
        const Box& box = boxes_[other];
        double enter = -INFINITY, leave = INFINITY;
        for (int axis = 0; axis < 3; ++axis) {
            const double low = box.low[axis] - box.slack[axis] - origin[axis], high = box.high[axis] + box.slack[axis] - origin[axis];
            const double d = direction[axis];
            if (d == 0) {
                if (low > 0 || high < 0) leave = -INFINITY;
                continue;
            }
            enter = std::max(enter, std::min(low / d, high / d)), leave = std::min(leave, std::max(low / d, high / d));
        }
        if (enter <= leave && leave >= distance) until = std::min(until, enter);
    }
    return until;
}

bool Ray::enter(const Steps& steps, const double* bounds, double near, double far, double shift) {
    double first = -INFINITY, last = INFINITY;
    for (int axis = 0; axis < 3; ++axis) {
        const double low = bounds[axis] - origin[axis], high = bounds[3 + axis] - origin[axis], d = direction[axis];
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
    const double end = steps.count(out);
    return end + 1 > end && steps.after(end, out) > out;  // or else no step would lead anywhere
}

bool Ray::next(const Steps& steps, const Occupancy* occupancy, double& t, double& length, float point[3]) {
    while (distance < out) {
        for (int axis = 0; axis < 3; ++axis) point[axis] = static_cast<float>(origin[axis] + distance * direction[axis]);
        const double here = at;
        int grid, cell[3];
        if (!occupancy || occupancy->at(point, grid, cell)) {
            t = distance, length = steps.length(here, distance);
            distance = steps.after(here, distance), at = here + 1;
            return true;
        }
        const double until = occupancy->empty_until(origin, direction, distance, grid, cell);
        if (!(until < out)) break;
        const double after = steps.after(here, distance);
        if (until <= after) {
            distance = after, at = here + 1;
            continue;
        }
        // The first of the lattice that may not be before `until`.
        at = begin + std::max(std::ceil(steps.count(until) - begin - ROUNDING), here - begin + 1);
        distance = steps.distance(at);
    }
    distance = out;
    return false;
}

}  // namespace splats
