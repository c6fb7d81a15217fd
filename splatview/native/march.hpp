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
    // The same lattice with `detail` times as many samples.
    Steps coarser(double detail) const;
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

class Occupancy;

// A ray on its way: gives its samples in order.
struct Ray {
    double origin[3], direction[3], inverse[3];  // inverse: of the direction
    double begin, out;                           // count of the first sample; the distance at which it leaves
    double at, distance;                         // of the next sample
    double same_until;                           // up to where it is in the cell of its last sample

    // From where it enters `bounds` [2, 3], at least near, to where it leaves them, at most far; false if it never is there.
    bool enter(const Steps& steps, const double* bounds, double near, double far, double shift);
    // The next sample that may be somewhere: its distance, its length and its point. False: there are no more.
    bool next(const Steps& steps, const Occupancy* occupancy, double& t, double& length, float point[3]);
};

// Nested grids of boxes, a bit each.
class Occupancy {
public:
    Occupancy(const uint8_t* cells, const size_t shape[4], const double* boxes);

    // Whether there may be something at a point of a ray: what the first grid says whose box holds it. `until`: a distance up to which
    // the answer is the same; may be short of it, by rounding.
    bool at(const Ray& ray, const float point[3], double& until) const;

private:
    struct Box {
        double low[3], high[3], cell[3], slack[3];
        float low_f[4], extent_f[4];
    };
    struct Bits {  // of all grids, for blocks of 2^shift cells a side: whether there is anything in one
        int shift, size[3];
        std::vector<uint64_t> words;
        size_t bit(int grid, int x, int y, int z) const {
            return ((static_cast<size_t>(grid) * size[0] + (x >> shift)) * size[1] + (y >> shift)) * size[2] + (z >> shift);
        }
        bool at(int grid, const int cell[3]) const {
            const size_t place = bit(grid, cell[0], cell[1], cell[2]);
            return words[place / 64] >> (place % 64) & 1;
        }
        void set(int grid, int x, int y, int z) {
            const size_t place = bit(grid, x, y, z);
            words[place / 64] |= uint64_t{1} << (place % 64);
        }
    };
    double leaves(const Ray& ray, int grid, const int cell[3], int shift) const;
    double enters(const Ray& ray, int grids) const;

    std::vector<Bits> levels_;  // the finest first
    std::vector<Box> boxes_;
};

}  // namespace splats
