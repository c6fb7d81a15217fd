// A k-d tree over points: the neighbours of all of them, wherever they are dense. Points that are not finite are left out.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "threads.hpp"

namespace splats {

class Tree {
public:
    // points [rows, 3]; below 2^31 of them.
    Tree(const float* points, uint32_t rows, int threads);

    uint32_t rows() const { return rows_; }
    size_t bytes() const;

    // The k nearest others of each of `queries` (rows), nearest first, as rows [queries, k] and distances; -1 and infinity where there are
    // fewer. A tie goes to whichever the tree meets first, always the same.
    void nearest(int k, const int32_t* queries, size_t count, int32_t* rows, float* distances) const;

    // [rows] how many others lie within `radius`, but no more than `limit`.
    void counts(float radius, int32_t limit, int32_t* out) const;

    // [rows] 1 where a point is chosen, or within `radius` of one that is.
    void within(const uint8_t* chosen, float radius, uint8_t* out) const;

    // [rows] the first row of those that are connected with a point by steps of at most `gap`; -1 where a point was left out.
    void components(float gap, int32_t* out) const;

private:
    static constexpr uint32_t LEAF = 8;  // points, at most

    struct Box {
        std::array<float, 3> low, high;
    };
    struct Entry {
        std::array<float, 3> at;
        uint32_t row;
    };
    class Union;
    class Connector;

    void split(std::vector<Entry>& entries, uint32_t node, int levels);
    void over_pieces(const std::function<void(uint32_t from, uint32_t to)>& work) const;
    std::array<float, 3> point(uint32_t place) const { return {x_[place], y_[place], z_[place]}; }
    float distance2(uint32_t a, uint32_t b) const;
    void distances2(const std::array<float, 3>& from, uint32_t leaf, float* out) const;
    bool is_leaf(uint32_t node) const { return node >= first_leaf_; }
    uint32_t leaf_of(uint32_t place) const;

    template <class Node, class Leaf> void walk(const std::array<float, 3>& from, Node&& enter, Leaf&& visit) const;

    uint32_t rows_;
    int threads_, levels_ = 0;
    uint32_t first_leaf_ = 0;
    std::vector<float> x_, y_, z_;       // by place: points in the order of the leaves
    std::vector<uint32_t> row_;          // by place
    std::vector<uint32_t> begin_, end_;  // by node, a heap: the children of n are 2n + 1 and 2n + 2
    std::vector<Box> boxes_;             // by node, tight
};

// Goes through pairs in order and takes each whose ends are both still free, up to `most`: 1 in out [pairs] where one was taken.
void match(const int32_t* first, const int32_t* second, size_t pairs, uint32_t rows, size_t most, uint8_t* out);

// Joins the ends of pairs in order; a pair may say that its ends differ in sign. roots [rows]: the smallest row of what a row is joined
// with; flipped [rows]: 1 where its sign differs from the root's. A pair whose ends are already joined changes nothing.
void join(const int32_t* first, const int32_t* second, const uint8_t* differ, size_t pairs, uint32_t rows, int32_t* roots,
          uint8_t* flipped);

}  // namespace splats
