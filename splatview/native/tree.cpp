#include "tree.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace splats {
namespace {

constexpr float INF = std::numeric_limits<float>::infinity();
constexpr uint32_t PIECE = 2048;  // points that a thread takes at once

// Sums in one order everywhere, and rounding keeps order: a point in a box is never nearer than the box, nor farther than its corner.
float length2(float x, float y, float z) { return x * x + y * y + z * z; }

template <class Box> float near2(const Box& box, const std::array<float, 3>& from) {
    float d[3];
    for (int i = 0; i < 3; ++i) d[i] = std::max(std::max(box.low[i] - from[i], from[i] - box.high[i]), 0.0f);
    return length2(d[0], d[1], d[2]);
}

template <class Box> float far2(const Box& box, const std::array<float, 3>& from) {
    float d[3];
    for (int i = 0; i < 3; ++i) d[i] = std::max(from[i] - box.low[i], box.high[i] - from[i]);
    return length2(d[0], d[1], d[2]);
}

template <class Box> float near2(const Box& a, const Box& b) {
    float d[3];
    for (int i = 0; i < 3; ++i) d[i] = std::max(std::max(a.low[i] - b.high[i], b.low[i] - a.high[i]), 0.0f);
    return length2(d[0], d[1], d[2]);
}

template <class Box> float far2(const Box& a, const Box& b) {
    float d[3];
    for (int i = 0; i < 3; ++i) d[i] = std::max(a.high[i] - b.low[i], b.high[i] - a.low[i]);
    return length2(d[0], d[1], d[2]);
}

}  // namespace

Tree::Tree(const float* points, uint32_t rows, int threads) : rows_(rows), threads_(threads) {
    std::vector<Entry> entries;
    entries.reserve(rows);
    for (uint32_t row = 0; row < rows; ++row) {
        const float* p = points + 3 * static_cast<size_t>(row);
        if (std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2])) entries.push_back({{p[0], p[1], p[2]}, row});
    }
    const uint32_t count = static_cast<uint32_t>(entries.size());
    if (count == 0) return;
    while ((static_cast<uint64_t>(LEAF) << levels_) < count) ++levels_;
    first_leaf_ = (1u << levels_) - 1;
    const uint32_t nodes = 2 * first_leaf_ + 1;
    begin_.resize(nodes), end_.resize(nodes), boxes_.resize(nodes);
    begin_[0] = 0, end_[0] = count;

    Threads pool(threads_);
    const int top = std::min(levels_, 6);
    for (int level = 0; level < top; ++level)  // the children of one level are each other's business no more
        pool.run(1 << level, [&](int piece, int) { split(entries, (1u << level) - 1 + static_cast<uint32_t>(piece), 1); });
    pool.run(1 << top, [&](int piece, int) { split(entries, (1u << top) - 1 + static_cast<uint32_t>(piece), levels_ - top + 1); });

    x_.resize(count), y_.resize(count), z_.resize(count), row_.resize(count);
    for (uint32_t i = 0; i < count; ++i) {
        x_[i] = entries[i].at[0], y_[i] = entries[i].at[1], z_[i] = entries[i].at[2];
        row_[i] = entries[i].row;
    }
}

// Sorts the points of a node into its children along the box's longest side, and so on for `levels` in all.
void Tree::split(std::vector<Entry>& entries, uint32_t node, int levels) {
    const uint32_t begin = begin_[node], end = end_[node];
    Box box{{INF, INF, INF}, {-INF, -INF, -INF}};
    for (uint32_t i = begin; i < end; ++i)
        for (int axis = 0; axis < 3; ++axis) {
            box.low[axis] = std::min(box.low[axis], entries[i].at[axis]);
            box.high[axis] = std::max(box.high[axis], entries[i].at[axis]);
        }
    boxes_[node] = box;
    if (is_leaf(node)) return;
    int axis = 0;
    for (int i = 1; i < 3; ++i)
        if (box.high[i] - box.low[i] > box.high[axis] - box.low[axis]) axis = i;
    const uint32_t middle = begin + (end - begin + 1) / 2;
    const auto at = [&](uint32_t i) { return entries.begin() + static_cast<std::ptrdiff_t>(i); };
    std::nth_element(at(begin), at(middle), at(end), [axis](const Entry& a, const Entry& b) { return a.at[axis] < b.at[axis]; });
    begin_[2 * node + 1] = begin, end_[2 * node + 1] = middle;
    begin_[2 * node + 2] = middle, end_[2 * node + 2] = end;
    if (levels > 1) split(entries, 2 * node + 1, levels - 1), split(entries, 2 * node + 2, levels - 1);
}

size_t Tree::bytes() const { return x_.size() * 16 + boxes_.size() * (sizeof(Box) + 8); }

float Tree::distance2(uint32_t a, uint32_t b) const { return length2(x_[a] - x_[b], y_[a] - y_[b], z_[a] - z_[b]); }

void Tree::distances2(const std::array<float, 3>& from, uint32_t leaf, float* out) const {
    const uint32_t begin = begin_[leaf], size = end_[leaf] - begin;
    const float *x = &x_[begin], *y = &y_[begin], *z = &z_[begin];
    for (uint32_t i = 0; i < size; ++i) out[i] = length2(x[i] - from[0], y[i] - from[1], z[i] - from[2]);
}

uint32_t Tree::leaf_of(uint32_t place) const {
    uint32_t node = 0;
    while (!is_leaf(node)) node = 2 * node + (place < begin_[2 * node + 2] ? 1 : 2);
    return node;
}

void Tree::over_pieces(const std::function<void(uint32_t, uint32_t)>& work) const {
    const uint32_t count = static_cast<uint32_t>(row_.size());
    Threads pool(threads_);
    pool.run(static_cast<int>((count + PIECE - 1) / PIECE), [&](int piece, int) {
        const uint32_t from = static_cast<uint32_t>(piece) * PIECE;
        work(from, std::min(from + PIECE, count));
    });
}

// Goes down the tree, nearer children first: enter(node, near2) says whether to go in, visit(leaf) whether to go on at all.
template <class Node, class Leaf> void Tree::walk(const std::array<float, 3>& from, Node&& enter, Leaf&& visit) const {
    std::array<std::pair<float, uint32_t>, 64> stack;
    int top = 0;
    stack[top++] = {near2(boxes_[0], from), 0};
    while (top) {
        auto [distance, node] = stack[--top];
        bool inside = enter(node, distance);
        while (inside && !is_leaf(node)) {  // down to the nearest leaf, the others for later
            std::pair<float, uint32_t> near{near2(boxes_[2 * node + 1], from), 2 * node + 1};
            std::pair<float, uint32_t> far{near2(boxes_[2 * node + 2], from), 2 * node + 2};
            if (far.first < near.first) std::swap(near, far);
            stack[top++] = far;
            node = near.second;
            inside = enter(node, near.first);
        }
        if (inside && !visit(node)) return;
    }
}

void Tree::nearest(int k, const int32_t* queries, size_t count, int32_t* rows, float* distances) const {
    const size_t wide = static_cast<size_t>(k);
    std::fill(rows, rows + count * wide, -1);
    std::fill(distances, distances + count * wide, INF);
    std::vector<uint32_t> slot(rows_, UINT32_MAX);  // of a row: its place in the answer
    for (size_t i = 0; i < count; ++i) {
        if (queries[i] < 0 || static_cast<uint32_t>(queries[i]) >= rows_ || slot[static_cast<uint32_t>(queries[i])] != UINT32_MAX)
            throw std::invalid_argument("expected rows of the points, each once");
        slot[static_cast<uint32_t>(queries[i])] = static_cast<uint32_t>(i);
    }
    over_pieces([&](uint32_t from, uint32_t to) {
        float d[LEAF];
        for (uint32_t place = from; place < to; ++place) {
            if (slot[row_[place]] == UINT32_MAX) continue;
            int32_t* best_rows = rows + slot[row_[place]] * wide;
            float* best = distances + slot[row_[place]] * wide;
            const std::array<float, 3> at = point(place);
            const uint32_t home = leaf_of(place);
            const auto visit = [&](uint32_t leaf) {
                distances2(at, leaf, d);
                const uint32_t begin = begin_[leaf], size = end_[leaf] - begin;
                for (uint32_t i = 0; i < size; ++i) {
                    if (!(d[i] < best[wide - 1]) || begin + i == place) continue;
                    size_t to_slot = wide - 1;
                    for (; to_slot > 0 && best[to_slot - 1] > d[i]; --to_slot)
                        best[to_slot] = best[to_slot - 1], best_rows[to_slot] = best_rows[to_slot - 1];
                    best[to_slot] = d[i], best_rows[to_slot] = static_cast<int32_t>(row_[begin + i]);
                }
                return true;
            };
            visit(home);
            walk(at, [&](uint32_t node, float near) { return node != home && near < best[wide - 1]; }, visit);
            for (size_t i = 0; i < wide; ++i) best[i] = std::sqrt(best[i]);
        }
    });
}

void Tree::counts(float radius, int32_t limit, int32_t* out) const {
    std::fill(out, out + rows_, 0);
    const float radius2 = radius * radius;
    over_pieces([&](uint32_t from, uint32_t to) {
        float d[LEAF];
        for (uint32_t place = from; place < to; ++place) {
            const std::array<float, 3> at = point(place);
            int64_t found = -1;  // itself is no neighbour
            walk(
                at,
                [&](uint32_t node, float near) {
                    if (!(near <= radius2) || found >= limit) return false;
                    if (!(far2(boxes_[node], at) <= radius2)) return true;
                    found += end_[node] - begin_[node];
                    return false;
                },
                [&](uint32_t leaf) {
                    distances2(at, leaf, d);
                    for (uint32_t i = 0; i < end_[leaf] - begin_[leaf]; ++i) found += d[i] <= radius2;
                    return found < limit;
                });
            out[row_[place]] = static_cast<int32_t>(std::clamp<int64_t>(found, 0, limit));
        }
    });
}

void Tree::within(const uint8_t* chosen, float radius, uint8_t* out) const {
    for (uint32_t row = 0; row < rows_; ++row) out[row] = chosen[row] != 0;
    const float radius2 = radius * radius;
    std::vector<uint8_t> mark(row_.size()), any(boxes_.size());
    for (size_t place = 0; place < row_.size(); ++place) mark[place] = chosen[row_[place]] != 0;
    for (size_t node = boxes_.size(); node-- > 0;)
        any[node] = is_leaf(static_cast<uint32_t>(node))
                        ? std::any_of(mark.begin() + begin_[node], mark.begin() + end_[node], [](uint8_t m) { return m != 0; })
                        : any[2 * node + 1] || any[2 * node + 2];
    over_pieces([&](uint32_t from, uint32_t to) {
        float d[LEAF];
        for (uint32_t place = from; place < to; ++place) {
            if (mark[place]) continue;
            const std::array<float, 3> at = point(place);
            bool found = false;
            walk(
                at,
                [&](uint32_t node, float near) {
                    if (found || !any[node] || !(near <= radius2)) return false;
                    found = far2(boxes_[node], at) <= radius2;
                    return !found;
                },
                [&](uint32_t leaf) {
                    distances2(at, leaf, d);
                    for (uint32_t i = 0; i < end_[leaf] - begin_[leaf]; ++i) found |= d[i] <= radius2 && mark[begin_[leaf] + i];
                    return !found;
                });
            out[row_[place]] = found;
        }
    });
}

// Sets of places that several threads join at once (Anderson and Woll 1991): the smallest place is the root.
class Tree::Union {
public:
    explicit Union(size_t count) : parent_(count) {
        for (size_t i = 0; i < count; ++i) parent_[i].store(static_cast<uint32_t>(i), std::memory_order_relaxed);
    }

    uint32_t root(uint32_t a) {
        for (;;) {
            uint32_t up = parent_[a].load(std::memory_order_relaxed);
            if (up == a) return a;
            const uint32_t above = parent_[up].load(std::memory_order_relaxed);
            if (above == up) return up;
            parent_[a].compare_exchange_weak(up, above, std::memory_order_relaxed);
            a = above;
        }
    }

    void unite(uint32_t a, uint32_t b) {
        for (;;) {
            a = root(a), b = root(b);
            if (a == b) return;
            if (a < b) std::swap(a, b);
            uint32_t own = a;
            if (parent_[a].compare_exchange_strong(own, b, std::memory_order_relaxed)) return;
        }
    }

private:
    std::vector<std::atomic<uint32_t>> parent_;
};

// Joins what is near by walking pairs of nodes: those too far apart, or known to be joined already, are left out whole.
class Tree::Connector {
public:
    Connector(const Tree& tree, float gap) : tree_(tree), gap2_(gap * gap), sets_(tree.row_.size()), joined_(tree.boxes_.size()) {
        for (auto& joined : joined_) joined.store(false, std::memory_order_relaxed);
    }

    uint32_t root(uint32_t place) { return sets_.root(place); }

    void connect(uint32_t a, uint32_t b) {
        const Box &box_a = tree_.boxes_[a], &box_b = tree_.boxes_[b];
        if (!(near2(box_a, box_b) <= gap2_) || known(a, b)) return;
        if (far2(box_a, box_b) <= gap2_) {
            join_all(a, tree_.begin_[a]), join_all(b, tree_.begin_[a]);
        } else if (tree_.is_leaf(a) && tree_.is_leaf(b)) {
            a == b ? connect_leaf(a) : connect_leaves(a, b);
        } else if (a == b) {
            connect(2 * a + 1, 2 * a + 1), connect(2 * a + 2, 2 * a + 2), connect(2 * a + 1, 2 * a + 2);
            if (known(2 * a + 1, 2 * a + 2)) joined_[a].store(true, std::memory_order_relaxed);
        } else {
            const bool split_a = tree_.is_leaf(b) || (!tree_.is_leaf(a) && a < b);  // the higher of the two
            const uint32_t whole = split_a ? b : a, parted = split_a ? a : b;
            connect(2 * parted + 1, whole), connect(2 * parted + 2, whole);
        }
    }

private:
    bool joined(uint32_t node) const { return joined_[node].load(std::memory_order_relaxed); }

    bool known(uint32_t a, uint32_t b) { return joined(a) && joined(b) && root(tree_.begin_[a]) == root(tree_.begin_[b]); }

    // All points of a node with `place`, once for each node.
    void join_all(uint32_t node, uint32_t place) {
        if (joined(node)) return sets_.unite(tree_.begin_[node], place);
        if (tree_.is_leaf(node))
            for (uint32_t i = tree_.begin_[node]; i < tree_.end_[node]; ++i) sets_.unite(i, place);
        else
            join_all(2 * node + 1, place), join_all(2 * node + 2, place);
        joined_[node].store(true, std::memory_order_relaxed);
    }

    void connect_leaf(uint32_t leaf) {
        const uint32_t begin = tree_.begin_[leaf], end = tree_.end_[leaf];
        for (uint32_t i = begin; i < end; ++i)
            for (uint32_t j = i + 1; j < end; ++j)
                if (tree_.distance2(i, j) <= gap2_) sets_.unite(i, j);
        for (uint32_t i = begin + 1; i < end; ++i)
            if (root(i) != root(begin)) return;
        joined_[leaf].store(true, std::memory_order_relaxed);
    }

    void connect_leaves(uint32_t a, uint32_t b) {
        const bool whole = joined(a) && joined(b);  // then one pair joins them all
        float d[LEAF];
        for (uint32_t i = tree_.begin_[a]; i < tree_.end_[a]; ++i) {
            const auto at = tree_.point(i);
            if (!(near2(tree_.boxes_[b], at) <= gap2_)) continue;
            tree_.distances2(at, b, d);
            for (uint32_t j = tree_.begin_[b]; j < tree_.end_[b]; ++j)
                if (d[j - tree_.begin_[b]] <= gap2_) {
                    sets_.unite(i, j);
                    if (whole) return;
                }
        }
    }

    const Tree& tree_;
    float gap2_;
    Union sets_;
    std::vector<std::atomic<bool>> joined_;  // by node: all of its points are in one set
};

void Tree::components(float gap, int32_t* out) const {
    std::fill(out, out + rows_, -1);
    if (row_.empty()) return;
    Connector connector(*this, gap);
    const uint32_t parts = 1u << std::min(levels_, 6), first = parts - 1;
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    for (uint32_t a = first; a < first + parts; ++a)
        for (uint32_t b = a + 1; b < first + parts; ++b) pairs.emplace_back(a, b);
    Threads pool(threads_);
    pool.run(static_cast<int>(parts),
             [&](int part, int) { connector.connect(first + static_cast<uint32_t>(part), first + static_cast<uint32_t>(part)); });
    pool.run(static_cast<int>(pairs.size()),
             [&](int pair, int) { connector.connect(pairs[static_cast<size_t>(pair)].first, pairs[static_cast<size_t>(pair)].second); });
    std::vector<int32_t> least(row_.size(), INT32_MAX);  // by root: the first row
    const uint32_t count = static_cast<uint32_t>(row_.size());
    for (uint32_t i = 0; i < count; ++i) {
        int32_t& smallest = least[connector.root(i)];
        smallest = std::min(smallest, static_cast<int32_t>(row_[i]));
    }
    for (uint32_t i = 0; i < count; ++i) out[row_[i]] = least[connector.root(i)];
}

void match(const int32_t* first, const int32_t* second, size_t pairs, uint32_t rows, size_t most, uint8_t* out) {
    std::vector<uint8_t> taken(rows);
    for (size_t i = 0; i < pairs; ++i) {
        const auto a = static_cast<uint32_t>(first[i]), b = static_cast<uint32_t>(second[i]);
        if (a >= rows || b >= rows) throw std::invalid_argument("expected pairs of rows");
        const bool take = most > 0 && a != b && !taken[a] && !taken[b];
        out[i] = take;
        if (take) taken[a] = taken[b] = 1, --most;
    }
}

void join(const int32_t* first, const int32_t* second, const uint8_t* differ, size_t pairs, uint32_t rows, int32_t* roots,
          uint8_t* flipped) {
    std::iota(roots, roots + rows, 0);
    std::fill(flipped, flipped + rows, 0);  // against the parent, until the end
    const auto settle = [&](uint32_t a) {   // the root, and `flipped` of a against it, which is its parent from now on
        uint32_t top = a;
        uint8_t sign = 0;
        for (; static_cast<uint32_t>(roots[top]) != top; top = static_cast<uint32_t>(roots[top])) sign ^= flipped[top];
        while (a != top) {
            const auto up = static_cast<uint32_t>(roots[a]);
            const uint8_t own = flipped[a];
            roots[a] = static_cast<int32_t>(top), flipped[a] = sign;
            sign ^= own, a = up;
        }
        return top;
    };
    for (size_t i = 0; i < pairs; ++i) {
        const auto a = static_cast<uint32_t>(first[i]), b = static_cast<uint32_t>(second[i]);
        if (a >= rows || b >= rows) throw std::invalid_argument("expected pairs of rows");
        const uint32_t top_a = settle(a), top_b = settle(b);
        if (top_a == top_b) continue;
        const uint8_t sign = (differ[i] != 0) ^ (a == top_a ? 0 : flipped[a]) ^ (b == top_b ? 0 : flipped[b]);
        const uint32_t low = std::min(top_a, top_b), high = std::max(top_a, top_b);
        roots[high] = static_cast<int32_t>(low), flipped[high] = sign;
    }
    for (uint32_t row = 0; row < rows; ++row) settle(row);
}

}  // namespace splats
