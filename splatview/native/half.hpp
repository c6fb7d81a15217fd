// Half floats.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

namespace splats {

inline uint16_t half_of(float value) {  // round to nearest even, clamped to the largest half
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

}  // namespace splats
