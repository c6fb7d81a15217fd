#include "gradient.hpp"

#include <algorithm>
#include <cmath>

namespace splats {
namespace {

constexpr uint32_t GRAIN = 4096;  // Gaussians a piece of work

void one(const RawGaussians& raw, const Outlook& o, uint32_t i, const double* sums, float* pulled) {
    const float* mean = raw.means + 3 * size_t{i};
    double at[3];
    for (int k = 0; k < 3; ++k)
        at[k] = o.linear[3 * k] * mean[0] + o.linear[3 * k + 1] * mean[1] + o.linear[3 * k + 2] * mean[2] + o.translation[k];
    const double per_z = 1 / at[2], xz = at[0] * per_z, yz = at[1] * per_z;
    const double out_x = 0.15 * o.width / o.fx, out_y = 0.15 * o.height / o.fy;
    const double jx = std::min(std::max(xz, -o.cx / o.fx - out_x), (o.width - o.cx) / o.fx + out_x);
    const double jy = std::min(std::max(yz, -o.cy / o.fy - out_y), (o.height - o.cy) / o.fy + out_y);
    const double sx = o.fx * per_z, sy = o.fy * per_z;
    const Axes axes(raw.quats + 4 * size_t{i}, raw.log_scales + 3 * size_t{i});

    double t[2][3], half[2][3];  // J W; J W R S
    for (int k = 0; k < 3; ++k) {
        t[0][k] = sx * (o.linear[k] - jx * o.linear[6 + k]);
        t[1][k] = sy * (o.linear[3 + k] - jy * o.linear[6 + k]);
    }
    for (int a = 0; a < 2; ++a)
        for (int j = 0; j < 3; ++j) half[a][j] = t[a][0] * axes.m[0][j] + t[a][1] * axes.m[1][j] + t[a][2] * axes.m[2][j];
    auto dot = [&](int a, int b) { return half[a][0] * half[b][0] + half[a][1] * half[b][1] + half[a][2] * half[b][2]; };
    const double va = dot(0, 0) + DILATION, vb = dot(0, 1), vc = dot(1, 1) + DILATION, det = va * vc - vb * vb;
    if (!(det > 0)) return;
    // The inverse of the covariance is L L^T, and (X, Y) = L^T d.
    const double l00 = std::sqrt(vc / det), l10 = -l00 * vb / vc, l11 = 1 / std::sqrt(vc);
    const double by_u = l00 * sums[4], by_v = l10 * sums[4] + l11 * sums[5];
    // By the covariance: L S2 L^T / 2.
    const double xx = sums[6], xy = sums[7], yy = sums[8];
    const double g00 = 0.5 * l00 * l00 * xx, g01 = 0.5 * l00 * (l10 * xx + l11 * xy),
                 g11 = 0.5 * (l10 * l10 * xx + 2 * l10 * l11 * xy + l11 * l11 * yy);
    double by_half[2][3], by_t[2][3];
    for (int j = 0; j < 3; ++j) {
        by_half[0][j] = 2 * (g00 * half[0][j] + g01 * half[1][j]);
        by_half[1][j] = 2 * (g01 * half[0][j] + g11 * half[1][j]);
    }
    for (int a = 0; a < 2; ++a)
        for (int k = 0; k < 3; ++k) by_t[a][k] = by_half[a][0] * axes.m[k][0] + by_half[a][1] * axes.m[k][1] + by_half[a][2] * axes.m[k][2];

    double turn[3] = {};
    for (int j = 0; j < 3; ++j) {
        double by_m[3];
        for (int k = 0; k < 3; ++k) by_m[k] = t[0][k] * by_half[0][j] + t[1][k] * by_half[1][j];
        const double column[3] = {axes.m[0][j], axes.m[1][j], axes.m[2][j]};
        pulled[6 + j] = static_cast<float>(column[0] * by_m[0] + column[1] * by_m[1] + column[2] * by_m[2]);
        for (int k = 0; k < 3; ++k) turn[k] += column[(k + 1) % 3] * by_m[(k + 2) % 3] - column[(k + 2) % 3] * by_m[(k + 1) % 3];
    }

    // By the place in front of the camera: as the centre moves, and as the projection is linearised elsewhere.
    auto along = [&](int a, int row) {
        return by_t[a][0] * o.linear[3 * row] + by_t[a][1] * o.linear[3 * row + 1] + by_t[a][2] * o.linear[3 * row + 2];
    };
    double by_x = by_u * sx, by_y = by_v * sy, by_z = -(by_u * sx * xz + by_v * sy * yz);
    by_z -= sx * per_z * along(0, 0) + sy * per_z * along(1, 1) - sx * per_z * jx * along(0, 2) - sy * per_z * jy * along(1, 2);
    if (jx == xz) by_x -= sx * per_z * along(0, 2), by_z += sx * per_z * jx * along(0, 2);
    if (jy == yz) by_y -= sy * per_z * along(1, 2), by_z += sy * per_z * jy * along(1, 2);
    for (int k = 0; k < 3; ++k) {
        pulled[k] = static_cast<float>(o.linear[k] * by_x + o.linear[3 + k] * by_y + o.linear[6 + k] * by_z);
        pulled[3 + k] = static_cast<float>(turn[k]);
    }
    pulled[9] = static_cast<float>(sums[3] / (1 + std::exp(static_cast<double>(raw.opacity_logits[i]))));
    for (int c = 0; c < 3; ++c) pulled[10 + c] = static_cast<float>(sums[c]);
}

}  // namespace

void gradient(const RawGaussians& raw, const Outlook& outlook, const int64_t* sums, Threads& threads, float* pulled) {
    threads.run(static_cast<int>((raw.count + GRAIN - 1) / GRAIN), [&](int piece, int) {
        const uint32_t first = static_cast<uint32_t>(piece) * GRAIN, last = std::min(raw.count, first + GRAIN);
        for (uint32_t i = first; i < last; ++i) {
            float* to = pulled + PULLED * size_t{i};
            std::fill_n(to, PULLED, 0.0f);
            const int64_t* from = sums + Pull::SUMS * size_t{i};
            if (std::all_of(from, from + Pull::SUMS, [](int64_t sum) { return sum == 0; })) continue;
            double each[Pull::SUMS];
            for (int j = 0; j < Pull::SUMS; ++j) each[j] = static_cast<double>(from[j]) / Pull::UNIT;
            one(raw, outlook, i, each, to);
        }
    });
}

}  // namespace splats
