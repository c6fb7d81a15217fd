// The kernels of reprojection for AVX2; empty where the compiler does not know it.
#include "warp.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splats {
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
namespace {
#include "constants.hpp"
#include "simd_avx2.hpp"
#include "lanes.hpp"
#include "reproject.hpp"
#include "carry.hpp"
}  // namespace

extern const WarpKernels warps_avx2 = {"avx2", average, lay};
#else
extern const WarpKernels warps_avx2 = {"avx2", nullptr, nullptr};
#endif
}  // namespace splats
