#include "field.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.hpp"

namespace splats {
namespace {
constexpr int HARMONICS = 16;

uint32_t bfloat_of(float value) {  // round to nearest even; what is not finite keeps its upper bits
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if ((bits & 0x7f800000) != 0x7f800000) bits += 0x7fff + (bits >> 16 & 1);
    return bits >> 16;
}
}  // namespace

Field::Field(const RawField& raw) : steps_(raw.steps), occupancy_(raw.occupancy) {
    size_t total = 0;
    for (const Table& level : raw.levels) total += (size_t{level.entries} + 1) * static_cast<size_t>((level.features + 1) / 2);
    words_.reserve(total);
    uint32_t* to = words_.data();
    int features = 0;
    for (const Table& level : raw.levels) {
        const int words = (level.features + 1) / 2;
        const size_t size = size_t{level.entries} * static_cast<size_t>(level.features);
        // In a unit in which the largest is near the largest half, what is subnormal is nothing beside it.
        float largest = 0;
        for (size_t i = 0; i < size; ++i)
            if (std::isfinite(level.values[i])) largest = std::max(largest, std::abs(level.values[i]));
        int exponent = 0;
        std::frexp(largest, &exponent);
        const int power = largest > 0 ? std::clamp(15 - exponent, -14, 112) : 0;
        const float factor = std::ldexp(1.0f, power);
        auto half = [&](float value) {
            const float scaled = value * factor;
            return std::abs(scaled) >= 0x1p-14f ? half_of(scaled) : uint16_t{0};
        };
        levels_.push_back({level_of(level.scale, level.resolution, level.entries, 0, raw.offset), to, std::ldexp(1.0f, 112 - power),
                           level.features, words});
        const float* from = level.values;
        for (uint32_t entry = 0; entry < level.entries; ++entry, from += level.features)
            for (int word = 0; word < words; ++word) {
                const uint32_t odd = 2 * word + 1 < level.features ? half(from[2 * word + 1]) : 0;
                *to++ = half(from[2 * word]) | odd << 16;
            }
        std::copy_n(levels_.back().table, words, to);  // what a dense grid's last entry has behind it is where it begins again
        to += words;
        features += level.features;
    }
    note_width(features);
    for (const Matrix& matrix : raw.density) density_.push_back(pack(matrix, 0, matrix.inputs, 0, true));
    const int outputs = raw.density.back().outputs, seen = outputs - raw.geometry;
    const Matrix& first = raw.colour.front();
    colour_.push_back(pack(first, 0, seen, raw.geometry, false));
    view_.seen = pack(first, seen, HARMONICS, 0, true);
    for (size_t i = 1; i < raw.colour.size(); ++i) colour_.push_back(pack(raw.colour[i], 0, raw.colour[i].inputs, 0, true));

    view_.levels = levels_.data(), view_.level_count = static_cast<int>(levels_.size());
    view_.offset = static_cast<float>(raw.offset);
    view_.density = {density_.data(), static_cast<int>(density_.size())};
    view_.colour = {colour_.data(), static_cast<int>(colour_.size())};
    view_.row = (outputs + 15) / 16 * 16, view_.head = (first.outputs + 15) / 16 * 16;
    for (int axis = 0; axis < 3; ++axis) {
        view_.low[axis] = static_cast<float>(raw.box[axis]);
        view_.extent[axis] = static_cast<float>(raw.box[3 + axis]) - view_.low[axis];
    }
    view_.density_factor = static_cast<float>(raw.density_factor), view_.least_alpha = static_cast<float>(raw.least_alpha);
    view_.contraction = raw.contraction, view_.shifted_directions = raw.shifted_directions, view_.hdr = raw.hdr;
}

// Columns [first_input, + inputs) of a matrix, behind `leading` columns of zeros.
LayerView Field::pack(const Matrix& matrix, int first_input, int inputs, int leading, bool biased) {
    const int all = leading + inputs, outputs = (matrix.outputs + 3) / 4 * 4, halved = (all + 1) / 2;
    weights_.emplace_back(new float[static_cast<size_t>(outputs) * (all + 1)]());
    pairs_.emplace_back(new uint32_t[static_cast<size_t>(outputs) * halved]());
    float *weights = weights_.back().get(), *biases = weights + static_cast<size_t>(outputs) * all;
    uint32_t* pairs = pairs_.back().get();
    for (int output = 0; output < matrix.outputs; ++output) {
        const float* from = matrix.values + static_cast<size_t>(output) * matrix.inputs + first_input;
        for (int i = leading; i < all; ++i) {
            const float weight = from[i - leading];
            weights[static_cast<size_t>(output / 4 * 4) * all + static_cast<size_t>(4 * i + output % 4)] = weight;
            pairs[static_cast<size_t>(output / 4 * 4) * halved + static_cast<size_t>(i / 2 * 4 + output % 4)] |= bfloat_of(weight)
                                                                                                                 << (i % 2 * 16);
        }
        if (biased) biases[output] = matrix.biases[output];
    }
    note_width(all + 1), note_width(outputs);
    return {all, outputs, weights, biases, pairs};
}

size_t Field::bytes() const {
    size_t total = words_.bytes();
    for (const auto* layers : {&density_, &colour_})
        for (const LayerView& layer : *layers)
            total += static_cast<size_t>(layer.outputs) * (layer.inputs + layer.inputs / 2 + 1) * sizeof(float);
    return total;
}

}  // namespace splats
