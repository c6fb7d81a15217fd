// The kernels of fields for any processor.
#include "grid.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace splats {
namespace {
#include "constants.hpp"
#include "simd_portable.hpp"
#include "lanes.hpp"
#include "encode.hpp"
constexpr int GROUPS = 1, OUTPUTS = 2, CHUNK = 16 * GROUPS;
#include "evaluate.hpp"
}  // namespace

extern const FieldKernels fields_portable = {"portable", encode, scatter, density, directions, colour};
}  // namespace splats
