#include "footprints.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace splats {
namespace {

constexpr uint32_t GRAIN = 8192;           // Gaussians a piece of work
constexpr double LARGEST_REACH = 11.0826;  // 2 ln 255, the squared reach of an opaque Gaussian in standard deviations
constexpr float CLEAR_LOGIT = -5.537334f;  // of an opacity of 1 / 255
constexpr float CERTAIN_LOGIT = -4.6f;     // of 2.5 / 255: then the dilation alone reaches the centre of the pixel that the mean is on
constexpr double LARGEST_CERTAIN = 1e6;    // pixels: what is larger may be too large to be drawn

// Whether a rectangle holds a marked cell of a grid, by sums over all that lies above and to the left.
class Sums {
public:
    Sums() = default;
    // marked(x, y): whether a cell of columns left .. right and rows top .. bottom is.
    template <class Marked>
    Sums(int left, int right, int top, int bottom, Marked&& marked) : left(left), right(right), top(top), bottom(bottom) {
        across_ = static_cast<size_t>(right - left + 2);
        sums_.assign(across_ * static_cast<size_t>(bottom - top + 2), 0);
        for (int y = top; y <= bottom; ++y) {
            uint32_t *above = &sums_[static_cast<size_t>(y - top) * across_], *here = above + across_, sum = 0;
            for (int x = left; x <= right; ++x) sum += marked(x, y), here[x - left + 1] = above[x - left + 1] + sum;
        }
    }

    // Whether any cell of columns x0 .. x1 and rows y0 .. y1, all within the grid, is marked.
    bool any(int x0, int y0, int x1, int y1) const {
        const int from = x0 - left, to = x1 - left + 1;
        const uint32_t *above = &sums_[static_cast<size_t>(y0 - top) * across_],
                       *last = &sums_[static_cast<size_t>(y1 - top + 1) * across_];
        return last[to] - last[from] - above[to] + above[from] != 0;
    }

    int left = 0, right = -1, top = 0, bottom = -1;  // the last ones included

private:
    std::vector<uint32_t> sums_;
    size_t across_ = 0;
};

struct Region {
    static constexpr int CELL = 8;  // pixels
    Sums pixels, cells;             // the cells are few enough to stay in the cache

    explicit Region(const Outlook& o) {
        auto row = [&](int y) { return o.region + static_cast<size_t>(y) * static_cast<size_t>(o.width); };
        int left = o.width, right = -1, top = o.height, bottom = -1;
        for (int y = 0; y < o.height; ++y) {
            int first = 0, last = o.width - 1;
            while (first <= last && !row(y)[first]) ++first;
            if (first > last) continue;
            while (!row(y)[last]) --last;
            left = std::min(left, first), right = std::max(right, last), top = std::min(top, y), bottom = y;
        }
        if (bottom < top) return;
        pixels = Sums(left, right, top, bottom, [&](int x, int y) { return row(y)[x] != 0; });
        cells = Sums(left / CELL, right / CELL, top / CELL, bottom / CELL, [&](int x, int y) {
            return pixels.any(std::max(x * CELL, left), std::max(y * CELL, top), std::min(x * CELL + CELL - 1, right),
                              std::min(y * CELL + CELL - 1, bottom));
        });
    }

    bool empty() const { return pixels.bottom < pixels.top; }

    // Whether a pixel of columns x0 .. x1 and rows y0 .. y1 is in the region; the first ones are rounded down.
    bool any(double x0, double y0, double x1, double y1) const {
        if (!(x0 <= x1 && y0 <= y1 && x1 >= pixels.left && x0 <= pixels.right + 1 && y1 >= pixels.top && y0 <= pixels.bottom + 1))
            return false;
        const int left = static_cast<int>(std::max<double>(x0, pixels.left)), right = static_cast<int>(std::min<double>(x1, pixels.right));
        const int top = static_cast<int>(std::max<double>(y0, pixels.top)), bottom = static_cast<int>(std::min<double>(y1, pixels.bottom));
        if (left > right || top > bottom) return false;
        return cells.any(left / CELL, top / CELL, right / CELL, bottom / CELL) && pixels.any(left, top, right, bottom);
    }
};

struct Placed {  // a mean in camera space and, in pixels, in the picture
    double x, y, z, per_z, u, v;
    bool in_range;
};

inline Placed place(const RawGaussians& raw, const Outlook& o, uint32_t i) {
    const double mx = raw.means[3 * size_t{i}], my = raw.means[3 * size_t{i} + 1], mz = raw.means[3 * size_t{i} + 2];
    Placed p;
    p.z = o.linear[6] * mx + o.linear[7] * my + o.linear[8] * mz + o.translation[2];
    p.in_range = p.z > 0 && p.z >= o.near && p.z <= o.far;
    p.x = o.linear[0] * mx + o.linear[1] * my + o.linear[2] * mz + o.translation[0];
    p.y = o.linear[3] * mx + o.linear[4] * my + o.linear[5] * mz + o.translation[1];
    p.per_z = 1 / p.z;
    p.u = o.fx * p.x * p.per_z + o.cx, p.v = o.fy * p.y * p.per_z + o.cy;
    return p;
}

inline bool on_region(const Placed& p, const Outlook& o) {
    return p.u >= 0 && p.u < o.width && p.v >= 0 && p.v < o.height &&
           o.region[static_cast<size_t>(p.v) * static_cast<size_t>(o.width) + static_cast<size_t>(p.u)];
}

template <class Test> void each(const RawGaussians& raw, Threads& threads, uint8_t* in, Test&& test) {
    threads.run(static_cast<int>((raw.count + GRAIN - 1) / GRAIN), [&](int piece, int) {
        const uint32_t first = static_cast<uint32_t>(piece) * GRAIN, last = std::min(raw.count, first + GRAIN);
        for (uint32_t i = first; i < last; ++i) in[i] = test(i);
    });
}

// x / z and y / z up to which the projection is exact, as in a `View`: 15 % of the picture outside it.
struct Limits {
    double left, right, top, bottom;
    explicit Limits(const Outlook& o) {
        const double x = 0.15 * o.width / o.fx, y = 0.15 * o.height / o.fy;
        left = -o.cx / o.fx - x, right = (o.width - o.cx) / o.fx + x, top = -o.cy / o.fy - y, bottom = (o.height - o.cy) / o.fy + y;
    }
};

// Whether the ellipse at which a Gaussian's alpha falls to 1/255 covers the centre of a pixel of the region; jx, jy: where it is
// linearised.
bool ellipse_meets(const RawGaussians& raw, const Outlook& o, const Region& region, bool antialiased, uint32_t i, const Placed& at,
                   double jx, double jy) {
    float c[6];
    covariance(raw.quats + 4 * size_t{i}, raw.log_scales + 3 * size_t{i}, c);
    double p[3], q[3];
    for (int k = 0; k < 3; ++k) {
        p[k] = o.fx * at.per_z * (o.linear[k] - jx * o.linear[6 + k]);
        q[k] = o.fy * at.per_z * (o.linear[3 + k] - jy * o.linear[6 + k]);
    }
    auto form = [&](const double* s, const double* t) {
        return s[0] * (c[0] * t[0] + c[1] * t[1] + c[2] * t[2]) + s[1] * (c[1] * t[0] + c[3] * t[1] + c[4] * t[2]) +
               s[2] * (c[2] * t[0] + c[4] * t[1] + c[5] * t[2]);
    };
    const double xx = form(p, p), xy = form(p, q), yy = form(q, q);
    const double va = xx + DILATION, vc = yy + DILATION, det = va * vc - xy * xy;
    if (!(det > 0 && det < 1e37)) return false;
    double natural = log2_opacity(raw.opacity_logits[i]) * 0.6931471805599453;
    if (antialiased) natural += 0.5 * std::log(std::max((xx * yy - xy * xy) / det, 1e-30));
    const double reach = 2 * (natural + 0.5 * LARGEST_REACH);  // of the squared Mahalanobis distance
    if (!(reach >= 0)) return false;
    const double half_width = std::sqrt(reach * va), half_height = std::sqrt(reach * vc);
    const double top = std::max<double>(std::ceil(at.v - half_height - 0.5), region.pixels.top);
    const double bottom = std::min<double>(std::floor(at.v + half_height - 0.5), region.pixels.bottom);
    if (!region.any(std::ceil(at.u - half_width - 0.5), top, std::floor(at.u + half_width - 0.5), bottom)) return false;
    const double shear = xy / vc, narrow = det / vc, flatness = det / (vc * vc);
    for (double y = top; y <= bottom; ++y) {
        const double dy = y + 0.5 - at.v, middle = at.u + shear * dy, half = std::sqrt(std::max(reach * narrow - dy * dy * flatness, 0.0));
        if (region.any(std::ceil(middle - half - 0.5), y, std::floor(middle + half - 0.5), y)) return true;
    }
    return false;
}

}  // namespace

void centres_in(const RawGaussians& raw, const Outlook& outlook, Threads& threads, uint8_t* in) {
    each(raw, threads, in, [&](uint32_t i) {
        const Placed at = place(raw, outlook, i);
        return at.in_range && on_region(at, outlook) && drawable(raw, i);
    });
}

void ellipses_in(const RawGaussians& raw, const Outlook& outlook, bool antialiased, Threads& threads, uint8_t* in) {
    const Region region(outlook);
    if (region.empty()) return std::fill_n(in, raw.count, 0), void();
    const Limits limits(outlook);
    const double sx = outlook.fx * outlook.scale, sy = outlook.fy * outlook.scale;
    each(raw, threads, in, [&](uint32_t i) {
        const Placed at = place(raw, outlook, i);
        if (!at.in_range || !(raw.opacity_logits[i] >= CLEAR_LOGIT)) return false;
        // A box that is surely as large as the ellipse: most are done with here. The logarithm of a sigmoid is below its argument, and 0.
        const double reach = LARGEST_REACH + 2 * std::min(raw.opacity_logits[i], 0.0f);
        const float* logs = raw.log_scales + 3 * size_t{i};
        const double sigma = std::exp(std::min(std::max(std::max(logs[0], logs[1]), logs[2]), 30.0f)) * 1.00001 * at.per_z;
        const double jx = std::min(std::max(at.x * at.per_z, limits.left), limits.right);
        const double jy = std::min(std::max(at.y * at.per_z, limits.top), limits.bottom);
        const double wide = sx * sigma, high = sy * sigma;
        const double width2 = reach * (wide * wide * (1 + jx * jx) + DILATION), height2 = reach * (high * high * (1 + jy * jy) + DILATION);
        auto beyond = [](double at, double low, double high) { return std::max(std::max(low - at, at - high), 0.0); };
        const double beside = beyond(at.u, region.pixels.left - 1, region.pixels.right + 2);
        const double above = beyond(at.v, region.pixels.top - 1, region.pixels.bottom + 2);
        if (!(beside * beside <= width2 && above * above <= height2)) return false;
        const double half_width = std::sqrt(width2), half_height = std::sqrt(height2);
        if (!region.any(at.u - half_width - 1, at.v - half_height - 1, at.u + half_width, at.v + half_height)) return false;
        if (!drawable(raw, i)) return false;
        if (!antialiased && raw.opacity_logits[i] >= CERTAIN_LOGIT && half_width < LARGEST_CERTAIN && half_height < LARGEST_CERTAIN &&
            on_region(at, outlook))
            return true;
        return ellipse_meets(raw, outlook, region, antialiased, i, at, jx, jy);
    });
}

}  // namespace splats
