// The kernels for any processor.
#include "types.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace splats {
namespace {
#include "constants.hpp"
#include "simd_portable.hpp"
#include "lanes.hpp"
#include "ellipses.hpp"
#include "project.hpp"
#include "blend.hpp"
#include "pull.hpp"
}  // namespace

extern const Kernels kernels_portable = {"portable", in_view, project, blend, search, pull};
}  // namespace splats
