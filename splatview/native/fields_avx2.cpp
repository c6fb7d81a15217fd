// The kernels of fields for AVX2; empty where the compiler does not know it.
#include "grid.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splats {
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
namespace {
#include "constants.hpp"
#include "simd_avx2.hpp"
#include "lanes.hpp"
#include "encode.hpp"
constexpr int GROUPS = 1, OUTPUTS = 4, CHUNK = 16 * GROUPS;
#include "evaluate.hpp"
}  // namespace

extern const FieldKernels fields_avx2 = {"avx2", encode, scatter, density, directions, colour};
#else
extern const FieldKernels fields_avx2 = {"avx2", nullptr, nullptr, nullptr, nullptr, nullptr};
#endif
}  // namespace splats
