#include "grid.hpp"

#include <cmath>

namespace splats {

GridLevel level_of(double scale, uint32_t resolution, uint32_t entries, uint64_t first, double offset) {
    const double corners = std::floor(scale + offset) + 2, side = resolution;  // along an axis, one more for rounding
    GridLevel::Wrap wrap = GridLevel::DIVIDE;
    if ((entries & (entries - 1)) == 0)
        wrap = GridLevel::MASK;
    else if (resolution && offset >= 0 && corners * (1 + side + side * side) < 2.0 * entries)
        wrap = GridLevel::ONCE;
    return {static_cast<float>(scale), resolution, entries, wrap, first};
}

}  // namespace splats
