#include "scene.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "half.hpp"

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

Axes::Axes(const float* quat, const float* log_scales) {
    double w = quat[0], x = quat[1], y = quat[2], z = quat[3];
    const double length = std::sqrt(w * w + x * x + y * y + z * z);
    if (length > 0)
        w /= length, x /= length, y /= length, z /= length;
    else
        w = 1;
    const double rows[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
                               {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
                               {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}};
    for (int j = 0; j < 3; ++j) {
        s[j] = std::exp(std::min(static_cast<double>(log_scales[j]), 30.0));  // beyond that a covariance overflows
        for (int i = 0; i < 3; ++i) r[i][j] = rows[i][j], m[i][j] = rows[i][j] * s[j];
    }
}

float covariance(const float* quat, const float* log_scales, float out[6]) {
    const Axes axes(quat, log_scales);
    const auto& m = axes.m;
    auto dot = [&](int i, int j) { return static_cast<float>(m[i][0] * m[j][0] + m[i][1] * m[j][1] + m[i][2] * m[j][2]); };
    out[0] = dot(0, 0), out[1] = dot(0, 1), out[2] = dot(0, 2), out[3] = dot(1, 1), out[4] = dot(1, 2), out[5] = dot(2, 2);
    return static_cast<float>(std::max({axes.s[0], axes.s[1], axes.s[2]}));
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

PackedScene::PackedScene(const RawGaussians& raw, Threads& threads)
    : geometry_(std::make_shared<Buffer<float>>()),
      dc_(std::make_shared<Buffer<float>>()),
      bounds_(std::make_shared<Buffer<float>>()),
      rest_(std::make_shared<Buffer<uint16_t>>()),
      order_(std::make_shared<Buffer<uint32_t>>()) {
    const uint32_t blocks = (raw.count + LANES - 1) / LANES, padded = (blocks + LANES - 1) / LANES * LANES;
    const int pieces = static_cast<int>((raw.count + GRAIN - 1) / GRAIN), rest = raw.sh_coefficients - 1;
    std::vector<uint8_t> draw(raw.count);
    threads.run(pieces, [&](int piece, int) {
        const uint32_t last = std::min(raw.count, static_cast<uint32_t>(piece + 1) * GRAIN);
        for (uint32_t i = static_cast<uint32_t>(piece) * GRAIN; i < last; ++i) draw[i] = drawable(raw, i);
    });
    const std::vector<Keyed> items = morton_order(raw, draw, threads);
    geometry_->reserve(size_t{blocks} * 160);
    dc_->reserve(size_t{blocks} * 48);
    rest_->reserve(size_t{blocks} * 48 * rest);
    bounds_->reserve(size_t{padded} * 5);
    order_->reserve(size_t{blocks} * LANES);
    blocks_.count = raw.count, blocks_.blocks = blocks, blocks_.padded = padded, blocks_.sh_coefficients = raw.sh_coefficients;
    threads.run(pieces, [&](int piece, int) {
        const uint32_t last = std::min(blocks, static_cast<uint32_t>(piece + 1) * (GRAIN / LANES));
        for (uint32_t block = static_cast<uint32_t>(piece) * (GRAIN / LANES); block < last; ++block) {
            for (uint32_t slot = block * LANES; slot < (block + 1) * LANES; ++slot) {
                const bool real = slot < raw.count;
                const uint32_t i = real ? items[slot].index : UINT32_MAX;
                (*order_)[slot] = i;
                put_geometry(raw, slot, i, real && draw[i]);
                put_harmonics(raw, slot, i);
            }
            put_bounds(raw, block);
        }
    });
    for (uint32_t block = blocks; block < padded; ++block)
        for (int f = 0; f < 5; ++f) (*bounds_)[size_t{padded} * f + block] = f == 3 ? -std::numeric_limits<float>::infinity() : 0;
    double radii = 0;
    for (uint32_t block = 0; block < blocks; ++block) radii += std::max((*bounds_)[size_t{padded} * 3 + block], 0.0f);
    usual_radius_ = static_cast<float>(16 * radii / std::max(blocks, 1u));
    finish(raw);
}

PackedScene::PackedScene(const PackedScene& parent, const RawGaussians& raw, const uint8_t* changed, bool same_shapes, bool same_sh,
                         Threads& threads)
    : geometry_(parent.geometry_),
      dc_(parent.dc_),
      bounds_(parent.bounds_),
      rest_(parent.rest_),
      order_(parent.order_),
      usual_radius_(parent.usual_radius_),
      blocks_(parent.blocks_) {
    const uint32_t blocks = blocks_.blocks;
    constexpr uint32_t SHARE = GRAIN / LANES;  // blocks a piece of work
    const int pieces = static_cast<int>((blocks + SHARE - 1) / SHARE);
    auto each = [&](auto&& visit) {  // of the slots that changed, and of their blocks once more
        threads.run(pieces, [&](int piece, int) {
            const uint32_t last = std::min(blocks, static_cast<uint32_t>(piece + 1) * SHARE);
            for (uint32_t block = static_cast<uint32_t>(piece) * SHARE; block < last; ++block) {
                uint32_t lanes = 0;
                for (uint32_t lane = 0; lane < LANES; ++lane) {
                    const uint32_t i = (*order_)[block * LANES + lane];
                    lanes |= static_cast<uint32_t>(i != UINT32_MAX && changed[i]) << lane;
                }
                if (lanes) visit(block, lanes);
            }
        });
    };
    if (same_shapes && !same_sh) {  // one whose harmonics broke, or were mended, goes or comes
        std::atomic<bool> alike{true};
        each([&](uint32_t block, uint32_t lanes) {
            for (; lanes; lanes &= lanes - 1) {
                const uint32_t slot = block * LANES + static_cast<uint32_t>(__builtin_ctz(lanes));
                const bool was = (*geometry_)[size_t{block} * 160 + 144 + slot % LANES] > INVISIBLE;
                if (was != drawable(raw, (*order_)[slot])) alike.store(false, std::memory_order_relaxed);
            }
        });
        same_shapes = alike;
    }
    auto own = [&](auto& buffer, size_t block_size) {  // a copy in place of what is shared
        auto copy = std::make_shared<std::remove_reference_t<decltype(*buffer)>>();
        const size_t count = block_size ? size_t{blocks} * block_size : buffer->capacity();
        copy->reserve(count);
        const int parts = static_cast<int>((count + (1 << 18) - 1) >> 18);
        threads.run(parts, [&](int part, int) {
            const size_t from = static_cast<size_t>(part) << 18, size = std::min(count - from, size_t{1} << 18);
            std::memcpy(copy->data() + from, buffer->data() + from, size * sizeof *copy->data());
        });
        buffer = std::move(copy);
    };
    if (!same_shapes) own(geometry_, 160), own(bounds_, 0);
    if (!same_sh) own(dc_, 48), own(rest_, 48 * static_cast<size_t>(raw.sh_coefficients - 1));
    each([&](uint32_t block, uint32_t lanes) {
        for (; lanes; lanes &= lanes - 1) {
            const uint32_t slot = block * LANES + static_cast<uint32_t>(__builtin_ctz(lanes)), i = (*order_)[slot];
            if (!same_shapes) put_geometry(raw, slot, i, drawable(raw, i));
            if (!same_sh) put_harmonics(raw, slot, i);
        }
        if (!same_shapes) put_bounds(raw, block);
    });
    finish(raw);
}

// Gaussian `i`, or none where `i` is UINT32_MAX, to a slot; one that is not `shown` has a harmless shape and no opacity.
void PackedScene::put_geometry(const RawGaussians& raw, uint32_t slot, uint32_t i, bool shown) {
    float fields[10] = {0, 0, 0, 1, 0, 0, 1, 0, 1, INVISIBLE};
    if (shown) {
        std::memcpy(fields, raw.means + 3 * size_t{i}, 12);
        covariance(raw.quats + 4 * size_t{i}, raw.log_scales + 3 * size_t{i}, fields + 3);
        fields[9] = log2_opacity(raw.opacity_logits[i]);
    }
    float* geometry = &(*geometry_)[size_t{slot / LANES} * 160 + slot % LANES];
    for (int f = 0; f < 10; ++f) geometry[16 * f] = fields[f];
}

// What is not a number is written as 0, so that this depends on nothing but the harmonics.
void PackedScene::put_harmonics(const RawGaussians& raw, uint32_t slot, uint32_t i) {
    const int rest = raw.sh_coefficients - 1;
    const float* sh = i == UINT32_MAX ? nullptr : raw.sh + size_t{i} * 3 * raw.sh_coefficients;
    auto finite = [&](int k) { return sh && std::isfinite(sh[k]) ? sh[k] : 0.0f; };
    float* dc = &(*dc_)[size_t{slot / LANES} * 48 + slot % LANES];
    for (int c = 0; c < 3; ++c) dc[16 * c] = finite(c);
    if (!rest) return;
    uint16_t* to = &(*rest_)[size_t{slot / LANES} * 48 * rest + slot % LANES];
    for (int k = 0; k < 3 * rest; ++k) to[16 * k] = half_of(finite(3 + k));
}

// The bounds of a block whose geometry is written: of those of its Gaussians that can be seen.
void PackedScene::put_bounds(const RawGaussians& raw, uint32_t block) {
    const float* geometry = &(*geometry_)[size_t{block} * 160];
    double low[3] = {1e300, 1e300, 1e300}, high[3] = {-1e300, -1e300, -1e300};
    float log_scale = -std::numeric_limits<float>::infinity();
    for (int lane = 0; lane < LANES; ++lane) {
        if (!(geometry[144 + lane] > INVISIBLE)) continue;
        const float* logs = raw.log_scales + 3 * size_t{(*order_)[block * LANES + lane]};
        log_scale = std::max(log_scale, std::max(std::max(logs[0], logs[1]), logs[2]));
        for (int a = 0; a < 3; ++a)
            low[a] = std::min<double>(low[a], geometry[16 * a + lane]), high[a] = std::max<double>(high[a], geometry[16 * a + lane]);
    }
    float sphere[5] = {0, 0, 0, -std::numeric_limits<float>::infinity(), 0};  // an empty block is out of every view
    if (low[0] <= high[0]) {
        double radius2 = 0;
        for (int a = 0; a < 3; ++a)
            sphere[a] = static_cast<float>(0.5 * (low[a] + high[a])), radius2 += 0.25 * (high[a] - low[a]) * (high[a] - low[a]);
        sphere[3] =
            static_cast<float>(std::sqrt(radius2) * 1.0001 + 1e-6 * (std::abs(sphere[0]) + std::abs(sphere[1]) + std::abs(sphere[2])));
        sphere[4] = static_cast<float>(std::exp(std::min(static_cast<double>(log_scale), 30.0))) * 1.0001f;
    }
    for (int f = 0; f < 5; ++f) (*bounds_)[size_t{blocks_.padded} * f + block] = sphere[f];
}

void PackedScene::finish(const RawGaussians& raw) {
    blocks_.geometry = geometry_->data(), blocks_.dc = dc_->data(), blocks_.rest = rest_->data(), blocks_.bounds = bounds_->data();
    blocks_.order = order_->data();
    const int64_t arrays = static_cast<int64_t>(raw.count) * (11 + 3 * raw.sh_coefficients) * 4;
    blocks_.spare = arrays + arrays / 2 - static_cast<int64_t>(bytes());
}

double PackedScene::stretched() const {
    uint32_t large = 0;
    for (uint32_t block = 0; block < blocks_.blocks; ++block) large += (*bounds_)[size_t{blocks_.padded} * 3 + block] > usual_radius_;
    return static_cast<double>(large) / std::max(blocks_.blocks, 1u);
}

}  // namespace splats
