// Python's door to reprojection: arrays in, arrays out or written, the GIL released in between.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>

#include "arrays.hpp"
#include "cpu.hpp"
#include "guided.hpp"
#include "memory.hpp"
#include "threads.hpp"
#include "warp.hpp"

namespace nb = nanobind;
using namespace splats;

namespace {

using Plane = In<float, nb::ndim<2>>;
using Surface = std::optional<Plane>;
using Bytes = In<uint8_t, nb::shape<-1, -1, 3>>;
using Mask = In<uint8_t, nb::ndim<2>>;
using Finer = std::optional<In<float, nb::shape<-1, -1, 3>>>;
using Marks = In<float, nb::shape<-1, -1, 4>>;
using Matrix = In<double, nb::shape<3, 4>>;
template <class T, class... Shape> using Written = nb::ndarray<T, nb::c_contig, nb::device::cpu, Shape...>;

constexpr int AT_ONCE = 8;  // rows that a thread works on in turn

template <class A, class B> void check_same_size(const A& image, const B& as) {
    if (image.shape(0) != as.shape(0) || image.shape(1) != as.shape(1)) throw nb::value_error("expected images of one size");
}

template <class A> void check_size(const A& image) {
    if (image.shape(0) < 1 || image.shape(1) < 1 || image.shape(0) > 32768 || image.shape(1) > 32768 ||
        image.shape(0) * image.shape(1) > size_t{1} << 28)
        throw nb::value_error("expected images of 1 to 32768 pixels a side, and of 2^28 at most");
}

template <class A, class B> Warp warp_of(const Matrix& matrix, const Surface& depth, const Surface& alpha, const A& now, const B& before) {
    check_size(now), check_size(before);
    for (const Surface& surface : {depth, alpha})
        if (surface) check_same_size(*surface, now);
    Warp warp{};
    warp.width = static_cast<int>(now.shape(1)), warp.height = static_cast<int>(now.shape(0));
    for (int i = 0; i < 12; ++i) warp.matrix[i / 4][i % 4] = static_cast<float>(matrix.data()[i]);
    warp.depth = depth ? depth->data() : nullptr, warp.alpha = alpha ? alpha->data() : nullptr;
    warp.from_width = static_cast<int>(before.shape(1)), warp.from_height = static_cast<int>(before.shape(0));
    return warp;
}

// A picture that is written before Python gets it, in memory that goes back to the pool when Python drops it.
class Picture {
public:
    Picture(Pool& pool, size_t height, size_t width, size_t channels)
        : shape_{height, width, channels}, block_(pool.take(height * width * channels)) {}

    uint8_t* bytes() const { return static_cast<uint8_t*>(block_.get()); }
    Out<uint8_t> array() const {
        nb::capsule owner(new std::shared_ptr<void>(block_), [](void* p) noexcept { delete static_cast<std::shared_ptr<void>*>(p); });
        return Out<uint8_t>(bytes(), shape_[2] > 1 ? 3 : 2, shape_, owner);
    }

private:
    size_t shape_[3];
    std::shared_ptr<void> block_;
};

// What carries pictures over: an instruction set, and threads. One call at a time.
class Warper {
public:
    Warper(const std::string& simd, int threads)
        : kernels_(choose(simd, {&warps_avx512, &warps_avx2, &warps_portable})), threads_(std::max(threads, 1)) {}

    Out<uint8_t> average(Matrix matrix, Surface depth, Surface alpha, Bytes rendered, Bytes style, Finer rendered_finer, Finer style_finer,
                         Marks marks, Marks average, double tolerance, double change, double most, double weight,
                         Written<float, nb::shape<-1, -1, 4>> marks_after, Written<float, nb::shape<-1, -1, 4>> average_after) {
        check_same_size(style, rendered), check_same_size(average, marks);
        check_same_size(marks_after, rendered), check_same_size(average_after, rendered);
        if (rendered_finer.has_value() != style_finer.has_value()) throw nb::value_error("expected what is finer of both or of neither");
        for (const Finer& finer : {rendered_finer, style_finer})
            if (finer) check_same_size(*finer, rendered);
        if (!(tolerance > 0 && change > 0 && most >= 1 && weight > 0)) throw nb::value_error("expected the numbers of an Accumulation");
        const Warp warp = warp_of(matrix, depth, alpha, rendered, marks);
        const Picture rounded(*pool_, rendered.shape(0), rendered.shape(1), 3);
        const Averaging task{warp,
                             rendered.data(),
                             style.data(),
                             rendered_finer ? rendered_finer->data() : nullptr,
                             style_finer ? style_finer->data() : nullptr,
                             marks.data(),
                             average.data(),
                             static_cast<float>(tolerance),
                             static_cast<float>(change),
                             static_cast<float>(most),
                             static_cast<float>(weight),
                             marks_after.data(),
                             average_after.data(),
                             rounded.bytes()};
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            in_rows(warp.height, [&](int top, int bottom) { kernels_.average(task, top, bottom); });
        }
        return rounded.array();
    }

    nb::tuple lay(Matrix matrix, Surface depth, Surface alpha, Bytes picture, Plane nearness, double tolerance, size_t width,
                  size_t height) {
        check_same_size(nearness, picture);
        struct {
            size_t width, height;
            size_t shape(int axis) const { return axis ? width : height; }
        } now{width, height};
        const Warp warp = warp_of(matrix, depth, alpha, now, picture);
        const Picture found(*pool_, height, width, 3), known(*pool_, height, width, 1);
        std::atomic<bool> whole{true};
        const Laying task{warp, picture.data(), nearness.data(), static_cast<float>(tolerance), found.bytes(), known.bytes()};
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            in_rows(warp.height, [&](int top, int bottom) {
                kernels_.lay(task, top, bottom);
                if (std::memchr(task.known + static_cast<size_t>(top) * width, 0, static_cast<size_t>(bottom - top) * width))
                    whole.store(false, std::memory_order_relaxed);
            });
        }
        return nb::make_tuple(found.array(), known.array(), whole.load());
    }

    Out<float> sums(Bytes rendered, Written<uint8_t, nb::shape<-1, -1, 3>> found, Mask known, int each, int columns, int rows) {
        const Guided task = guided(rendered, found, known, columns, rows);
        if (each < 1) throw nb::value_error("expected a step of 1 pixel or more");
        Block<float> sums(static_cast<size_t>(rows), static_cast<size_t>(columns), GUIDE_SUMS);
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            threads_.run(rows, [&](int row, int) {
                sum_blocks(task, each, row, sums.values.get() + static_cast<size_t>(GUIDE_SUMS) * columns * static_cast<size_t>(row));
            });
        }
        return sums.array();
    }

    void fill(Bytes rendered, Written<uint8_t, nb::shape<-1, -1, 3>> found, Mask known, In<float, nb::shape<-1, -1, 6>> lines) {
        const Guided task = guided(rendered, found, known, static_cast<int>(lines.shape(1)), static_cast<int>(lines.shape(0)));
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> lock(mutex_);
        in_rows(task.height, [&](int top, int bottom) { fill_rows(task, lines.data(), top, bottom); });
    }

    const char* simd() const { return kernels_.name; }
    int threads() const { return threads_.count(); }

private:
    static Guided guided(const Bytes& rendered, Written<uint8_t, nb::shape<-1, -1, 3>>& found, const Mask& known, int columns, int rows) {
        check_size(rendered), check_same_size(found, rendered), check_same_size(known, rendered);
        if (columns < 1 || rows < 1) throw nb::value_error("expected 1 block or more");
        return {static_cast<int>(rendered.shape(1)),
                static_cast<int>(rendered.shape(0)),
                known.data(),
                rendered.data(),
                found.data(),
                columns,
                rows};
    }

    template <class Work> void in_rows(int height, Work work) {
        threads_.run((height + AT_ONCE - 1) / AT_ONCE,
                     [&](int piece, int) { work(piece * AT_ONCE, std::min(height, (piece + 1) * AT_ONCE)); });
    }

    const WarpKernels& kernels_;
    Threads threads_;
    std::mutex mutex_;
    std::shared_ptr<Pool> pool_ = std::make_shared<Pool>();
};

}  // namespace

NB_MODULE(_warps, m) {
    nb::set_leak_warnings(false);  // a process that is cut off frees nothing, and that is none of its user's concern
    nb::class_<Warper>(m, "Warper")
        .def(nb::init<const std::string&, int>(), nb::arg("simd"), nb::arg("threads"))
        .def("average", &Warper::average, nb::arg("matrix"), nb::arg("depth").none(), nb::arg("alpha").none(), nb::arg("rendered"),
             nb::arg("style"), nb::arg("rendered_finer").none(), nb::arg("style_finer").none(), nb::arg("marks"), nb::arg("average"),
             nb::arg("tolerance"), nb::arg("change"), nb::arg("most"), nb::arg("weight"), nb::arg("marks_after").noconvert(),
             nb::arg("average_after").noconvert())
        .def("lay", &Warper::lay, nb::arg("matrix"), nb::arg("depth").none(), nb::arg("alpha").none(), nb::arg("picture"),
             nb::arg("nearness"), nb::arg("tolerance"), nb::arg("width"), nb::arg("height"))
        .def("sums", &Warper::sums, nb::arg("rendered"), nb::arg("found").noconvert(), nb::arg("known"), nb::arg("each"),
             nb::arg("columns"), nb::arg("rows"))
        .def("fill", &Warper::fill, nb::arg("rendered"), nb::arg("found").noconvert(), nb::arg("known"), nb::arg("lines"))
        .def_prop_ro("simd", &Warper::simd)
        .def_prop_ro("threads", &Warper::threads);
}
