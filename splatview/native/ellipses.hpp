// Cuts of ellipses by strips of pixels. Included, after lanes.hpp, inside the namespace of one kernel build only.

// The ellipses a (dx + h dy)^2 + e dy^2 <= q of sixteen Gaussians, ready to be cut by horizontal strips. Roots and reciprocals are
// good to 2^-14, which costs q less than its slack.
struct Ellipses {
    F x, y, h, e, q, inverse_a, half_height, half_width, tip;  // tip: dy where dx is largest

    static Ellipses of(F x, F y, F a, F h, F e, F peak) {
        Ellipses s;
        s.x = x, s.y = y, s.h = h, s.e = e;
        s.q = max(peak - set1(MIN_ALPHA_LOG2 - SLACK), set1(0));
        s.inverse_a = rough_reciprocal(a);
        const F qe = s.q * rough_reciprocal(e);
        s.half_height = rough_sqrt(qe);
        s.half_width = rough_sqrt(fma(h * h, qe, s.q * s.inverse_a));
        s.tip = set1(0) - h * qe * rough_reciprocal(max(s.half_width, set1(1e-20f)));
        return s;
    }

    // First and last pixel column that the ellipse reaches within pixel rows top .. bottom; M: whether it does at all.
    M columns(F top, F bottom, F limit_low, F limit_high, I& first, I& last) const {
        const F low = max(top - y, set1(0) - half_height), high = min(bottom - y, half_height);
        const F right_y = clamp(tip, low, high), left_y = clamp(set1(0) - tip, low, high);
        const F right = fnma(h, right_y, x) + rough_sqrt(max(fnma(e * right_y, right_y, q), set1(0)) * inverse_a);
        const F left = fnma(h, left_y, x) - rough_sqrt(max(fnma(e * left_y, left_y, q), set1(0)) * inverse_a);
        first = ceil_int(clamp(left, limit_low, limit_high));
        last = floor_int(clamp(right, limit_low, limit_high));
        return both(le(low, high), le(first, last));
    }
};
