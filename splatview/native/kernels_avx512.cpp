// The kernels for AVX512; empty where the compiler does not know it.
#include "types.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace splats {
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
namespace {
#include "constants.hpp"
#include "simd_avx512.hpp"
#include "lanes.hpp"
#include "ellipses.hpp"
#include "project.hpp"
#include "blend.hpp"
#include "pull.hpp"
}  // namespace

extern const Kernels kernels_avx512 = {"avx512", in_view, project, blend, search, pull};
#else
extern const Kernels kernels_avx512 = {"avx512", nullptr, nullptr, nullptr, nullptr, nullptr};
#endif
}  // namespace splats
