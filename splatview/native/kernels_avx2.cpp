// The kernels for AVX2; empty where the compiler does not know it.
#include "types.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splats {
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
namespace {
#include "constants.hpp"
#include "simd_avx2.hpp"
#include "lanes.hpp"
#include "ellipses.hpp"
#include "project.hpp"
#include "blend.hpp"
#include "pull.hpp"
}  // namespace

extern const Kernels kernels_avx2 = {"avx2", in_view, project, blend, search, pull};
#else
extern const Kernels kernels_avx2 = {"avx2", nullptr, nullptr, nullptr, nullptr, nullptr};
#endif
}  // namespace splats
