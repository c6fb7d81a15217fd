#include "scene.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace splats {
namespace {

constexpr int GRAIN = 4096;  // Gaussians a piece of work
constexpr float INVISIBLE = -1e30f;

bool all_finite(const float* p, size_t count) {
    uint32_t broken = 0;  // no way out of the loop, so that it is done four and more at a time
    for (size_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, p + i, 4);
        broken |= (bits & 0x7f800000) == 0x7f800000;
    }
    return !broken;
}

}  // namespace

bool drawable(const RawGaussians& raw, uint32_t i) {
    const size_t k = static_cast<size_t>(raw.sh_coefficients) * 3;
    return all_finite(raw.means + 3 * size_t{i}, 3) && all_finite(raw.quats + 4 * size_t{i}, 4) &&
           all_finite(raw.log_scales + 3 * size_t{i}, 3) && !std::isnan(raw.opacity_logits[i]) && all_finite(raw.sh + k * i, k);
}

float covariance(const float* quat, const float* log_scales, float out[6]) {
    double w = quat[0], x = quat[1], y = quat[2], z = quat[3];
    const double length = std::sqrt(w * w + x * x + y * y + z * z);
    if (length > 0)
        w /= length, x /= length, y /= length, z /= length;
    else
        w = 1;
    const double r[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
                            {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
                            {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}};
    double m[3][3], largest = 0;
    for (int j = 0; j < 3; ++j) {
        const double s = std::exp(std::min(static_cast<double>(log_scales[j]), 30.0));  // beyond that a covariance overflows
        largest = std::max(largest, s);
        for (int i = 0; i < 3; ++i) m[i][j] = r[i][j] * s;
    }
    auto dot = [&](int i, int j) { return static_cast<float>(m[i][0] * m[j][0] + m[i][1] * m[j][1] + m[i][2] * m[j][2]); };
    out[0] = dot(0, 0), out[1] = dot(0, 1), out[2] = dot(0, 2), out[3] = dot(1, 1), out[4] = dot(1, 2), out[5] = dot(2, 2);
    return static_cast<float>(largest);
}

float log2_opacity(float logit) {
    const double l = logit;
    const double natural = l > 0 ? -std::log1p(std::exp(-l)) : l - std::log1p(std::exp(l));
    return std::max(static_cast<float>(natural * 1.4426950408889634), INVISIBLE);
}

namespace {

uint64_t spread3(uint64_t v) {  // 21 bits, two zeros after each
    v &= 0x1fffff;
    v = (v | v << 32) & 0x1f00000000ffff;
    v = (v | v << 16) & 0x1f0000ff0000ff;
    v = (v | v << 8) & 0x100f00f00f00f00f;
    v = (v | v << 4) & 0x10c30c30c30c30c3;
    v = (v | v << 2) & 0x1249249249249249;
    return v;
}

uint16_t half_of(float value) {  // round to nearest even, clamped to the largest half
    const float clamped = std::min(std::max(value, -65504.0f), 65504.0f);
    uint32_t bits;
    std::memcpy(&bits, &clamped, 4);
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude < 0x38800000) {  // subnormal half: adding 0.5 aligns the mantissa to its last bit
        float shifted;
        std::memcpy(&shifted, &magnitude, 4);
        shifted += 0.5f;
        std::memcpy(&bits, &shifted, 4);
        return static_cast<uint16_t>(sign | (bits - 0x3f000000));
    }
    return static_cast<uint16_t>(sign | ((magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13));
}

struct Keyed {
    uint64_t key;
    uint32_t index;
};

// Stable radix sort by the 63 bits of a Morton code, eleven at a time; passes in which all keys agree are skipped.
void sort_by_key(std::vector<Keyed>& items) {
    std::vector<Keyed> other(items.size());
    for (int shift = 0; shift < 63; shift += 11) {
        std::vector<uint32_t> starts(2049, 0);
        for (const Keyed& item : items) ++starts[(item.key >> shift & 2047) + 1];
        if (std::find(starts.begin(), starts.end(), items.size()) != starts.end()) continue;
        for (int i = 0; i < 2048; ++i) starts[i + 1] += starts[i];
        for (const Keyed& item : items) other[starts[item.key >> shift & 2047]++] = item;
        items.swap(other);
    }
}

std::vector<Keyed> morton_order(const RawGaussians& raw, const std::vector<uint8_t>& draw, Threads& threads) {
    float low[3], high[3];
    std::fill(low, low + 3, std::numeric_limits<float>::infinity());
    std::fill(high, high + 3, -std::numeric_limits<float>::infinity());
    for (uint32_t i = 0; i < raw.count; ++i)
        if (draw[i])
            for (int a = 0; a < 3; ++a)
                low[a] = std::min(low[a], raw.means[3 * size_t{i} + a]), high[a] = std::max(high[a], raw.means[3 * size_t{i} + a]);
    double scale[3];
    for (int a = 0; a < 3; ++a) scale[a] = 2097151.0 / std::max(static_cast<double>(high[a]) - low[a], 1e-30);
    std::vector<Keyed> items(raw.count);
    threads.run(static_cast<int>((raw.count + GRAIN - 1) / GRAIN), [&](int piece, int) {
        const uint32_t last = std::min(raw.count, static_cast<uint32_t>(piece + 1) * GRAIN);
        for (uint32_t i = static_cast<uint32_t>(piece) * GRAIN; i < last; ++i) {
            uint64_t key = 0x7fffffffffffffff;  // what is not drawn comes last
            if (draw[i]) {
                key = 0;
                for (int a = 0; a < 3; ++a)
                    key |= spread3(static_cast<uint64_t>((static_cast<double>(raw.means[3 * size_t{i} + a]) - low[a]) * scale[a])) << a;
            }
            items[i] = {key, i};
        }
    });
    sort_by_key(items);
    return items;
}

}  // namespace

PackedScene::PackedScene(const RawGaussians& raw, Threads& threads) {
    const uint32_t blocks = (raw.count + LANES - 1) / LANES, padded = (blocks + LANES - 1) / LANES * LANES;
    const int pieces = static_cast<int>((raw.count + GRAIN - 1) / GRAIN), rest = raw.sh_coefficients - 1;
    std::vector<uint8_t> draw(raw.count);
    threads.run(pieces, [&](int piece, int) {
        const uint32_t last = std::min(raw.count, static_cast<uint32_t>(piece + 1) * GRAIN);
        for (uint32_t i = static_cast<uint32_t>(piece) * GRAIN; i < last; ++i) draw[i] = drawable(raw, i);
    });
    const std::vector<Keyed> items = morton_order(raw, draw, threads);
    geometry_.reserve(size_t{blocks} * 160);
    dc_.reserve(size_t{blocks} * 48);
    rest_.reserve(size_t{blocks} * 48 * rest);
    bounds_.reserve(size_t{padded} * 5);
    order_.reserve(size_t{blocks} * LANES);
    threads.run(pieces, [&](int piece, int) {
        const uint32_t last = std::min(blocks, static_cast<uint32_t>(piece + 1) * (GRAIN / LANES));
        for (uint32_t block = static_cast<uint32_t>(piece) * (GRAIN / LANES); block < last; ++block) {
            float* geometry = &geometry_[size_t{block} * 160];
            double low[3] = {1e300, 1e300, 1e300}, high[3] = {-1e300, -1e300, -1e300};
            float sigma = 0;
            for (int lane = 0; lane < LANES; ++lane) {
                const uint32_t slot = block * LANES + lane;
                const bool real = slot < raw.count;
                const uint32_t i = real ? items[slot].index : 0;
                const bool shown = real && draw[i];
                order_[slot] = real ? i : UINT32_MAX;
                float fields[10] = {0, 0, 0, 1, 0, 0, 1, 0, 1, INVISIBLE};
                if (shown) {
                    std::memcpy(fields, raw.means + 3 * size_t{i}, 12);
                    sigma = std::max(sigma, covariance(raw.quats + 4 * size_t{i}, raw.log_scales + 3 * size_t{i}, fields + 3));
                    fields[9] = log2_opacity(raw.opacity_logits[i]);
                    for (int a = 0; a < 3; ++a)
                        low[a] = std::min<double>(low[a], fields[a]), high[a] = std::max<double>(high[a], fields[a]);
                }
                for (int f = 0; f < 10; ++f) geometry[16 * f + lane] = fields[f];
                const float* sh = raw.sh + size_t{i} * 3 * raw.sh_coefficients;
                for (int c = 0; c < 3; ++c) dc_[size_t{block} * 48 + 16 * c + lane] = shown ? sh[c] : 0;
                for (int k = 0; k < 3 * rest; ++k) rest_[size_t{block} * 48 * rest + 16 * k + lane] = shown ? half_of(sh[3 + k]) : 0;
            }
            double radius2 = 0;
            float sphere[5] = {0, 0, 0, -std::numeric_limits<float>::infinity(), 0};  // an empty block is out of every view
            if (low[0] <= high[0]) {
                for (int a = 0; a < 3; ++a)
                    sphere[a] = static_cast<float>(0.5 * (low[a] + high[a])), radius2 += 0.25 * (high[a] - low[a]) * (high[a] - low[a]);
                sphere[3] = static_cast<float>(std::sqrt(radius2) * 1.0001 +
                                               1e-6 * (std::abs(sphere[0]) + std::abs(sphere[1]) + std::abs(sphere[2])));
                sphere[4] = sigma * 1.0001f;
            }
            for (int f = 0; f < 5; ++f) bounds_[size_t{padded} * f + block] = sphere[f];
        }
    });
    for (uint32_t block = blocks; block < padded; ++block)
        for (int f = 0; f < 5; ++f) bounds_[size_t{padded} * f + block] = f == 3 ? -std::numeric_limits<float>::infinity() : 0;
    blocks_ = {raw.count,     blocks, raw.sh_coefficients, geometry_.data(), dc_.data(), rest_.data(), bounds_.data(), padded,
               order_.data(), 0};
    const int64_t arrays = static_cast<int64_t>(raw.count) * (11 + 3 * raw.sh_coefficients) * 4;
    blocks_.spare = arrays + arrays / 2 - static_cast<int64_t>(bytes());
}

}  // namespace splats
