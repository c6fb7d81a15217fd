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
#include "field.hpp"

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
        : kernels_(choose(simd, {&fields_avx512, &fields_avx2, &fields_portable})),
          for_pictures_(&kernels_ == &fields_avx512 && fields_bf16.compiled() && processor_has(fields_bf16.name) ? fields_bf16 : kernels_),
          threads_(std::max(threads, 1)) {}

    Out<float> encode(Triples positions, Rows table, LevelRows rows, double offset) {
        const Levels levels(rows, table.shape(0), table.shape(1), offset);
        Block<float> out(positions.shape(0), levels.width());
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            in_parts(positions.shape(0), ENCODED, [&](size_t first, size_t count) {
                kernels_.encode(levels.grid, table.data(), positions.data() + 3 * first, count, out.values.get() + first * levels.width());
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
            kernels_.scatter(levels.grid, order[static_cast<size_t>(piece)], positions.data(), dfeatures.data(), positions.shape(0),
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

    nb::tuple query(const Field& field, Triples positions, Triples directions) {
        const size_t count = positions.shape(0);
        if (directions.shape(0) != count) throw nb::value_error("expected as many directions as positions");
        Block<float> density(count), rgb(count, 3);
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            splats::query(kernels_, threads_, field, positions.data(), directions.data(), count, density.values.get(), rgb.values.get());
        }
        return nb::make_tuple(density.array(), rgb.array());
    }

    // (rgb, alpha, distance, samples), or None if it was interrupted.
    nb::object draw(const Field& field, In<double, nb::shape<3>> origin, In<double, nb::shape<3, 3>> field_from_pixel,
                    const std::vector<int>& rectangle, double near, double far, Bounds bounds,
                    In<double, nb::shape<-1, CutView::NUMBERS>> cuts, double detail, double last_transmittance,
                    std::optional<In<float, nb::ndim<2>>> divide, std::optional<In<uint8_t, nb::shape<1>>> interrupt) {
        if (rectangle.size() != 4 || rectangle[2] < 1 || rectangle[3] < 1 || rectangle[2] > 32768 || rectangle[3] > 32768)
            throw nb::value_error("expected left, top, width and height of a rectangle of 1 to 32768 pixels a side");
        if (!(detail > 0 && detail <= 1)) throw nb::value_error("expected a detail over 0 and up to 1");
        const size_t width = static_cast<size_t>(rectangle[2]), height = static_cast<size_t>(rectangle[3]);
        if (divide && (divide->shape(0) != height || divide->shape(1) != width)) throw nb::value_error("expected a divide for each pixel");
        const size_t parts = divide ? 2 : 1;
        Block<float> rgb(parts, height, width, 3), alpha(parts, height, width), distance(parts, height, width);
        Block<int32_t> samples(height, width);
        FieldPicture picture{};
        std::copy_n(origin.data(), 3, picture.origin), std::copy_n(field_from_pixel.data(), 9, picture.field_from_pixel);
        picture.left = rectangle[0], picture.top = rectangle[1], picture.width = rectangle[2], picture.height = rectangle[3];
        picture.near = near, picture.far = far;
        std::copy_n(bounds.data(), 6, picture.bounds);
        for (size_t i = 0; i < cuts.shape(0); ++i) picture.cuts.emplace_back(cuts.data() + i * CutView::NUMBERS);
        picture.detail = detail, picture.last_transmittance = static_cast<float>(last_transmittance);
        picture.divide = divide ? divide->data() : nullptr;
        picture.interrupt = interrupt ? interrupt->data() : nullptr;
        picture.rgb = rgb.values.get(), picture.alpha = alpha.values.get(), picture.distance = distance.values.get();
        picture.samples = samples.values.get();
        bool finished;
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            finished = splats::draw(for_pictures_, threads_, field, picture);
        }
        if (!finished) return nb::none();
        return nb::make_tuple(rgb.array(), alpha.array(), distance.array(), samples.array());
    }

    const char* simd() const { return kernels_.name; }
    int threads() const { return threads_.count(); }

private:
    template <class Work> void in_parts(size_t count, size_t each, Work work) {
        threads_.run(static_cast<int>((count + each - 1) / each), [&](int piece, int) {
            const size_t first = static_cast<size_t>(piece) * each;
            work(first, std::min(each, count - first));
        });
    }

    const FieldKernels &kernels_, &for_pictures_;
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

// The layers of a `hashgrid.Network`; they point into its arrays.
std::vector<Matrix> matrices_of(nb::handle network) {
    std::vector<Matrix> layers;
    const nb::tuple weights(network.attr("weights")), biases(network.attr("biases"));
    for (size_t i = 0; i < weights.size(); ++i) {
        const auto weight = nb::cast<Rows>(weights[i], false);
        const auto bias = nb::cast<In<float, nb::ndim<1>>>(biases[i], false);
        if (bias.shape(0) != weight.shape(0)) throw nb::value_error("expected a bias for each output");
        layers.push_back({weight.data(), static_cast<int>(weight.shape(0)), static_cast<int>(weight.shape(1)), bias.data()});
    }
    return layers;
}

std::shared_ptr<Field> field_of(nb::handle grid) {
    auto number = [](nb::handle from, const char* name) { return nb::cast<double>(from.attr(name)); };
    RawField raw{{},
                 matrices_of(grid.attr("density")),
                 matrices_of(grid.attr("colour")),
                 {},
                 number(grid, "offset"),
                 number(grid, "density_factor"),
                 nb::cast<int>(grid.attr("geometry")),
                 nb::cast<std::string>(grid.attr("warp")) != "box",
                 nb::cast<bool>(grid.attr("shifted_directions")),
                 nb::cast<bool>(grid.attr("hdr")),
                 steps_of(number(grid.attr("marching"), "step"), number(grid.attr("marching"), "cone"),
                          number(grid.attr("marching"), "longest"), number(grid.attr("marching"), "near")),
                 number(grid.attr("marching"), "least_alpha"),
                 nullptr};
    for (nb::handle level : grid.attr("levels")) {
        const auto table = nb::cast<Rows>(level.attr("table"), false);
        if (table.shape(0) * table.shape(1) > INT32_MAX) throw nb::value_error("expected fewer than 2^31 features of a level");
        raw.levels.push_back({table.data(), static_cast<uint32_t>(table.shape(0)), static_cast<int>(table.shape(1)), number(level, "scale"),
                              nb::cast<uint32_t>(level.attr("resolution"))});
    }
    std::copy_n(nb::cast<Bounds>(grid.attr("box")).data(), 6, raw.box);
    const nb::object occupancy = grid.attr("occupancy");
    if (!occupancy.is_none())
        raw.occupancy = occupancy_of(nb::cast<In<uint8_t, nb::ndim<4>>>(occupancy.attr("cells").attr("view")("uint8")),
                                     nb::cast<In<double, nb::shape<-1, 2, 3>>>(occupancy.attr("boxes")));
    nb::gil_scoped_release released;
    return std::make_shared<Field>(raw);
}

}  // namespace

NB_MODULE(_fields, m) {
    nb::set_leak_warnings(false);  // a process that is cut off frees nothing, and that is none of its user's concern
    nb::class_<Occupancy>(m, "Occupancy").def(nb::new_(&occupancy_of), nb::arg("cells"), nb::arg("boxes"));
    nb::class_<Steps>(m, "Steps").def(nb::new_(&steps_of), nb::arg("step"), nb::arg("cone"), nb::arg("longest"), nb::arg("near"));
    nb::class_<Field>(m, "Field").def(nb::new_(&field_of), nb::arg("grid")).def_prop_ro("nbytes", &Field::bytes);
    nb::class_<Workers>(m, "Workers")
        .def(nb::init<const std::string&, int>(), nb::arg("simd"), nb::arg("threads"))
        .def("encode", &Workers::encode, nb::arg("positions"), nb::arg("table"), nb::arg("levels"), nb::arg("offset"))
        .def("encode_backward", &Workers::encode_backward, nb::arg("positions"), nb::arg("dfeatures"), nb::arg("levels"), nb::arg("offset"),
             nb::arg("gradient").noconvert())
        .def("march", &Workers::march, nb::arg("origins"), nb::arg("directions"), nb::arg("shift"), nb::arg("occupancy").none(),
             nb::arg("bounds"), nb::arg("steps"), nb::arg("most"))
        .def("query", &Workers::query, nb::arg("field"), nb::arg("positions"), nb::arg("directions"))
        .def("draw", &Workers::draw, nb::arg("field"), nb::arg("origin"), nb::arg("field_from_pixel"), nb::arg("rectangle"),
             nb::arg("near"), nb::arg("far"), nb::arg("bounds"), nb::arg("cuts"), nb::arg("detail"), nb::arg("last_transmittance"),
             nb::arg("divide").none(), nb::arg("interrupt").none())
        .def_prop_ro("simd", &Workers::simd)
        .def_prop_ro("threads", &Workers::threads);
}
