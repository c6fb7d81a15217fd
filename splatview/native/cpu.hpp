// Which of the instruction sets that the kernels are compiled for this processor has.
#pragma once
#include <stdexcept>
#include <string>

namespace splats {

inline bool processor_has(const std::string& name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (name == "avx2")
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("f16c");
    if (name == "avx512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq");
    if (name == "avx512 bf16") return processor_has("avx512") && __builtin_cpu_supports("avx512bf16");
#endif
    return name == "portable";
}

// The fastest of some kernels that are compiled and run here, or the `wanted` ones; std::invalid_argument if there are none.
template <class Kernels> const Kernels& choose(const std::string& wanted, const Kernels* const (&all)[3]) {
    for (const Kernels* kernels : all)
        if ((wanted.empty() || wanted == kernels->name) && kernels->compiled() && processor_has(kernels->name)) return *kernels;
    throw std::invalid_argument("SPLATVIEW_SIMD: expected avx512, avx2 or portable, one that this processor has; got " + wanted);
}

}  // namespace splats
