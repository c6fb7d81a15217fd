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
}  // namespace

extern const EncodingKernels encoding_portable = {"portable", encode, scatter};
}  // namespace splats
