// The kernels of reprojection for AVX512; empty where the compiler does not know it.
#include "warp.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splats {
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
namespace {
#include "constants.hpp"
#include "simd_avx512.hpp"
#include "lanes.hpp"
#include "reproject.hpp"
#include "carry.hpp"
}  // namespace

extern const WarpKernels warps_avx512 = {"avx512", average, lay};
#else
extern const WarpKernels warps_avx512 = {"avx512", nullptr, nullptr};
#endif
}  // namespace splats
