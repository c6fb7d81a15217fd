// Python's door to fields: arrays in, arrays out, the GIL released in between.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <mutex>
#include <numeric>
#include <optional>

#include "arrays.hpp"
#include "cpu.hpp"
#include "grid.hpp"
#include "march.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace splats;

namespace {

using Triples = In<float, nb::shape<-1, 3>>;
using Rows = In<float, nb::ndim<2>>;
using Bounds = In<double, nb::shape<2, 3>>;
using LevelRows = In<double, nb::shape<-1, 4>>;

constexpr size_t ENCODED = 1024;  // points that a thread encodes in turn
constexpr size_t MARCHED = 256;   // rays

// The levels of a table [rows, features]: rows of scale, resolution, entries, first row.
struct Levels {
    std::vector<GridLevel> levels;
    Grid grid{};

    Levels(const LevelRows& rows, size_t entries, size_t features, double offset) {
        if (features != 1 && features != 2 && features != 4 && features != 8) throw nb::value_error("expected 1, 2, 4 or 8 features");
        if (rows.shape(0) < 1 || rows.shape(0) > MOST_LEVELS) throw nb::value_error("expected 1 to 32 levels");
        for (size_t i = 0; i < rows.shape(0); ++i) {
            const double *row = rows.data() + 4 * i, scale = row[0], resolution = row[1], count = row[2], first = row[3];
            const double most = static_cast<double>(entries), limit = static_cast<double>(INT32_MAX) / static_cast<double>(features);
            if (!(scale > 0 && scale <= 1e9 && resolution >= 0 && resolution <= 65535 && count >= 1 && count <= limit && first >= 0 &&
                  first + count <= most))
                throw nb::value_error("expected levels of a scale, a resolution, and entries that are rows of the table");
            levels.push_back(
                level_of(scale, static_cast<uint32_t>(resolution), static_cast<uint32_t>(count), static_cast<uint64_t>(first), offset));
        }
        grid = {levels.data(), static_cast<int>(levels.size()), static_cast<int>(features), static_cast<float>(offset)};
    }
    Levels(const Levels&) = delete;

    size_t width() const { return levels.size() * static_cast<size_t>(grid.features); }
};

// What works on fields: an instruction set, and threads. One call at a time.
class Workers {
public:
    Workers(const std::string& simd, int threads)
        : encoding_(choose(simd, {&encoding_avx512, &encoding_avx2, &encoding_portable})), threads_(std::max(threads, 1)) {}

    Out<float> encode(Triples positions, Rows table, LevelRows rows, double offset) {
        const Levels levels(rows, table.shape(0), table.shape(1), offset);
        Block<float> out(positions.shape(0), levels.width());
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            in_parts(positions.shape(0), ENCODED, [&](size_t first, size_t count) {
                encoding_.encode(levels.grid, table.data(), positions.data() + 3 * first, count, out.values.get() + first * levels.width());
            });
        }
        return out.array();
    }

    void encode_backward(Triples positions, Rows dfeatures, LevelRows rows, double offset,
                         nb::ndarray<float, nb::c_contig, nb::device::cpu, nb::ndim<2>> gradient) {
        const Levels levels(rows, gradient.shape(0), gradient.shape(1), offset);
        if (dfeatures.shape(0) != positions.shape(0) || dfeatures.shape(1) != levels.width())
            throw nb::value_error("expected dfeatures of shape [N, levels x features]");
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> lock(mutex_);
        std::vector<int> order(levels.levels.size());  // the largest first: they take longest
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return levels.levels[a].entries > levels.levels[b].entries; });
        threads_.run(static_cast<int>(order.size()), [&](int piece, int) {
            encoding_.scatter(levels.grid, order[static_cast<size_t>(piece)], positions.data(), dfeatures.data(), positions.shape(0),
                              gradient.data());
        });
    }

    nb::tuple march(Triples origins, Triples directions, In<float, nb::ndim<1>> shift, const std::shared_ptr<Occupancy>& occupancy,
                    Bounds bounds, const Steps& steps, size_t most) {
        const size_t count = origins.shape(0);
        if (directions.shape(0) != count || shift.shape(0) != count)
            throw nb::value_error("expected as many directions and shifts as rays");
        struct Found {
            std::vector<int32_t> rays;
            std::vector<float> distances, lengths;
        };
        std::vector<Found> parts((count + MARCHED - 1) / MARCHED);
        std::optional<Block<int32_t>> rays;
        std::optional<Block<float>> distances, lengths;
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            in_parts(count, MARCHED, [&](size_t first, size_t here) {
                Found& found = parts[first / MARCHED];
                for (size_t i = first; i < first + here && found.rays.size() < most; ++i) {
                    Ray ray;
                    for (size_t axis = 0; axis < 3; ++axis)
                        ray.origin[axis] = origins.data()[3 * i + axis], ray.direction[axis] = directions.data()[3 * i + axis];
                    if (!ray.enter(steps, bounds.data(), 0, INFINITY, shift.data()[i])) continue;
                    double t, length;
                    float point[3];
                    while (found.rays.size() < most && ray.next(steps, occupancy.get(), t, length, point)) {
                        found.rays.push_back(static_cast<int32_t>(i));
                        found.distances.push_back(static_cast<float>(t)), found.lengths.push_back(static_cast<float>(length));
                    }
                }
            });
            size_t total = 0;
            for (const Found& found : parts) total += found.rays.size();
            total = std::min(total, most);
            rays.emplace(total), distances.emplace(total), lengths.emplace(total);
            size_t at = 0;
            for (const Found& found : parts) {
                const size_t here = std::min(found.rays.size(), total - at);
                std::copy_n(found.rays.data(), here, rays->values.get() + at);
                std::copy_n(found.distances.data(), here, distances->values.get() + at);
                std::copy_n(found.lengths.data(), here, lengths->values.get() + at);
                at += here;
            }
        }
        return nb::make_tuple(rays->array(), distances->array(), lengths->array());
    }

    const char* simd() const { return encoding_.name; }
    int threads() const { return threads_.count(); }

private:
    template <class Work> void in_parts(size_t count, size_t each, Work work) {
        threads_.run(static_cast<int>((count + each - 1) / each), [&](int piece, int) {
            const size_t first = static_cast<size_t>(piece) * each;
            work(first, std::min(each, count - first));
        });
    }

    const EncodingKernels& encoding_;
    Threads threads_;
    std::mutex mutex_;
};

std::shared_ptr<Occupancy> occupancy_of(In<uint8_t, nb::ndim<4>> cells, In<double, nb::shape<-1, 2, 3>> boxes) {
    const size_t shape[4] = {cells.shape(0), cells.shape(1), cells.shape(2), cells.shape(3)};
    if (boxes.shape(0) != shape[0] || cells.size() == 0) throw nb::value_error("expected grids of cells, and a box for each");
    nb::gil_scoped_release released;
    return std::make_shared<Occupancy>(cells.data(), shape, boxes.data());
}

Steps steps_of(double step, double cone, double longest, double near) {
    if (!(step > 0 && step <= longest && cone >= 0 && cone < 1 && near >= 0)) throw nb::value_error("expected the numbers of a Marching");
    return {step, cone, longest, near};
}

}  // namespace

NB_MODULE(_fields, m) {
    nb::class_<Occupancy>(m, "Occupancy").def(nb::new_(&occupancy_of), nb::arg("cells"), nb::arg("boxes"));
    nb::class_<Steps>(m, "Steps").def(nb::new_(&steps_of), nb::arg("step"), nb::arg("cone"), nb::arg("longest"), nb::arg("near"));
    nb::class_<Workers>(m, "Workers")
        .def(nb::init<const std::string&, int>(), nb::arg("simd"), nb::arg("threads"))
        .def("encode", &Workers::encode, nb::arg("positions"), nb::arg("table"), nb::arg("levels"), nb::arg("offset"))
        .def("encode_backward", &Workers::encode_backward, nb::arg("positions"), nb::arg("dfeatures"), nb::arg("levels"), nb::arg("offset"),
             nb::arg("gradient").noconvert())
        .def("march", &Workers::march, nb::arg("origins"), nb::arg("directions"), nb::arg("shift"), nb::arg("occupancy").none(),
             nb::arg("bounds"), nb::arg("steps"), nb::arg("most"))
        .def_prop_ro("simd", &Workers::simd)
        .def_prop_ro("threads", &Workers::threads);
}
