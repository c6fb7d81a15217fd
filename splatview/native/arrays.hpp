// Arrays from and to Python. Included by modules alone.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <memory>

namespace splats {

template <class T, class... Shape> using In = nanobind::ndarray<const T, nanobind::c_contig, nanobind::device::cpu, Shape...>;
template <class T> using Out = nanobind::ndarray<nanobind::numpy, T>;

// An array that is filled before Python gets it; not cleared.
template <class T> struct Block {
    explicit Block(size_t a, size_t b = 0, size_t c = 0, size_t d = 0)
        : values(new T[std::max<size_t>(a * std::max<size_t>(b, 1) * std::max<size_t>(c, 1) * std::max<size_t>(d, 1), 1)]),
          shape{a, b, c, d} {}

    Out<T> array() {
        T* data = values.release();
        nanobind::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
        return Out<T>(data, shape[3] ? 4 : shape[2] ? 3 : shape[1] ? 2 : 1, shape, owner);
    }

    std::unique_ptr<T[]> values;
    size_t shape[4];  // 0: an axis that it does not have
};

}  // namespace splats
