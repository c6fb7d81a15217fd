// The samples of rays: a lattice of growing steps, without those where an occupancy grid says that nothing is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace splats {

// How far apart samples are: the numbers of `hashgrid.Marching`, and its two functions.
class Steps {
public:
    Steps(double step, double cone, double longest, double near);
    double near() const { return near_; }
    double count(double distance) const;
    double distance(double count) const;
    // What a sample at `count`, which is at `distance`, stands for: the distance from half a step before it to half a step after.
    double length(double count, double distance) const;
    // The distance of `count` + 1 where `distance` is that of `count`; up to rounding, which a few thousand steps do not show.
    double after(double count, double distance) const;

private:
    double step_, cone_, longest_, near_;
    double rate_ = 0, first_ = 0, last_ = 0, end_ = 0, width_ = 0;
};

// Nested grids of boxes, a bit each.
class Occupancy {
public:
    Occupancy(const uint8_t* cells, const size_t shape[4], const double* boxes);

    // Whether there may be something at a point: what the first grid says whose box holds it. `grid`, `cell`: which (-1: none).
    bool at(const float point[3], int& grid, int cell[3]) const;
    // Along a ray from a point that is in an empty cell, or in no grid: a distance up to which nothing is. May be short of it, by rounding.
    double empty_until(const double origin[3], const double direction[3], double distance, int grid, const int cell[3]) const;

private:
    struct Box {
        double low[3], high[3], cell[3], slack[3];
        float low_f[3], extent_f[3];
        size_t first;  // bit
    };
    std::vector<uint64_t> bits_;
    std::vector<Box> boxes_;
    int size_[3];
};

// A ray on its way: gives its samples in order.
struct Ray {
    double origin[3], direction[3];
    double begin, out;  // count of the first sample; the distance at which it leaves
    double at, distance;

    // From where it enters `bounds` [2, 3], at least near, to where it leaves them, at most far; false if it never is there.
    bool enter(const Steps& steps, const double* bounds, double near, double far, double shift);
    // The next sample that may be somewhere: its distance, its length and its point. False: there are no more.
    bool next(const Steps& steps, const Occupancy* occupancy, double& t, double& length, float point[3]);
};

}  // namespace splats
