// Volumes that crop: splatview.volumes.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

namespace splats {

struct CutView {
    static constexpr int NUMBERS = 18;
    float centre[3], axes[9], half[3], radius, falloff;
    bool keeps;

    // As `splatview.volumes.packed` has it.
    explicit CutView(const double* numbers) {
        float* const to[] = {centre, axes, half, &radius, &falloff};
        const int counts[] = {3, 9, 3, 1, 1};
        for (int part = 0; part < 5; ++part)
            for (int i = 0; i < counts[part]; ++i) to[part][i] = static_cast<float>(*numbers++);
        keeps = *numbers != 0;
    }

    float weight(const float point[3]) const {
        float squared = 0;
        for (int axis = 0; axis < 3; ++axis) {
            float along = 0;
            for (int i = 0; i < 3; ++i) along += axes[3 * axis + i] * (point[i] - centre[i]);
            const float beyond = std::max(std::abs(along) - half[axis], 0.0f);
            squared += beyond * beyond;
        }
        const float outside = std::sqrt(squared) - radius;
        if (outside <= 0) return 1;
        if (!(outside < falloff)) return 0;
        const float left = 1 - outside / falloff;
        return left * left * (3 - 2 * left);
    }
};

// What they leave at a point.
inline float left_by(const std::vector<CutView>& cuts, const float point[3]) {
    float kept = 0, gone = 0;
    bool keeping = false;
    for (const CutView& cut : cuts) {
        float& greatest = cut.keeps ? kept : gone;
        greatest = std::max(greatest, cut.weight(point));
        keeping |= cut.keeps;
    }
    return (keeping ? kept : 1) * (1 - gone);
}

}  // namespace splats
