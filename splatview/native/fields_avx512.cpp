// The kernels of fields for AVX512; empty where the compiler does not know it.
#include "grid.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splats {
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
namespace {
#include "constants.hpp"
#include "simd_avx512.hpp"
#include "lanes.hpp"
#include "encode.hpp"
constexpr int GROUPS = 2, OUTPUTS = 8, CHUNK = 16 * GROUPS;
#include "evaluate.hpp"
}  // namespace

extern const FieldKernels fields_avx512 = {"avx512", encode, scatter, density, directions, colour};
#else
extern const FieldKernels fields_avx512 = {"avx512", nullptr, nullptr, nullptr, nullptr, nullptr};
#endif
}  // namespace splats
