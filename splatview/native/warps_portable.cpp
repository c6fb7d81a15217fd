// The kernels of reprojection for any processor.
#include "warp.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace splats {
namespace {
#include "constants.hpp"
#include "simd_portable.hpp"
#include "lanes.hpp"
#include "reproject.hpp"
#include "carry.hpp"
}  // namespace

extern const WarpKernels warps_portable = {"portable", average, lay};
}  // namespace splats
