// Python's door to the neighbours of points: arrays in, arrays out, the GIL released in between.
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>

#include "arrays.hpp"
#include "tree.hpp"

namespace nb = nanobind;
using namespace splats;

namespace {

using Rows = In<int32_t, nb::ndim<1>>;
using Mask = In<uint8_t, nb::ndim<1>>;

constexpr size_t MOST = INT32_MAX;

float checked(double distance) {
    if (!(distance >= 0)) throw nb::value_error("expected a distance of 0 or more");
    return static_cast<float>(distance);
}

class Points {
public:
    Points(In<float, nb::shape<-1, 3>> points, int threads) {
        if (points.shape(0) >= MOST) throw nb::value_error("expected fewer than 2^31 points");
        if (threads < 1) throw nb::value_error("expected a number of threads from 1");
        nb::gil_scoped_release released;
        tree_ = std::make_unique<Tree>(points.data(), static_cast<uint32_t>(points.shape(0)), threads);
    }

    nb::tuple nearest(int k, std::optional<Rows> rows) const {
        if (k < 1 || k > 256) throw nb::value_error("expected 1 to 256 neighbours");
        std::optional<Block<int32_t>> found;
        std::optional<Block<float>> distances;
        {
            nb::gil_scoped_release released;
            std::vector<int32_t> all(rows ? 0 : tree_->rows());
            std::iota(all.begin(), all.end(), 0);
            const size_t count = rows ? rows->shape(0) : all.size();
            found.emplace(count, static_cast<size_t>(k)), distances.emplace(count, static_cast<size_t>(k));
            tree_->nearest(k, rows ? rows->data() : all.data(), count, found->values.get(), distances->values.get());
        }
        return nb::make_tuple(found->array(), distances->array());
    }

    Out<int32_t> counts(double radius, int limit) const {
        const float within = checked(radius);
        if (limit < 0) throw nb::value_error("expected a limit of 0 or more");
        Block<int32_t> out(tree_->rows());
        {
            nb::gil_scoped_release released;
            tree_->counts(within, limit, out.values.get());
        }
        return out.array();
    }

    Out<uint8_t> within(Mask chosen, double radius) const {
        const float reach = checked(radius);
        if (chosen.shape(0) != tree_->rows()) throw nb::value_error("a mask must have one entry for each point");
        Block<uint8_t> out(tree_->rows());
        {
            nb::gil_scoped_release released;
            tree_->within(chosen.data(), reach, out.values.get());
        }
        return out.array();
    }

    Out<int32_t> components(double gap) const {
        const float step = checked(gap);
        Block<int32_t> out(tree_->rows());
        {
            nb::gil_scoped_release released;
            tree_->components(step, out.values.get());
        }
        return out.array();
    }

    size_t bytes() const { return tree_->bytes(); }

private:
    std::unique_ptr<Tree> tree_;
};

void check(const Rows& first, const Rows& second, size_t rows) {
    if (first.shape(0) != second.shape(0)) throw nb::value_error("expected arrays of one length");
    if (rows >= MOST) throw nb::value_error("expected fewer than 2^31 rows");
}

Out<uint8_t> matched(Rows first, Rows second, size_t rows, size_t most) {
    check(first, second, rows);
    Block<uint8_t> out(first.shape(0));
    {
        nb::gil_scoped_release released;
        match(first.data(), second.data(), first.shape(0), static_cast<uint32_t>(rows), most, out.values.get());
    }
    return out.array();
}

nb::tuple joined(Rows first, Rows second, Mask differ, size_t rows) {
    check(first, second, rows);
    if (differ.shape(0) != first.shape(0)) throw nb::value_error("expected arrays of one length");
    Block<int32_t> roots(rows);
    Block<uint8_t> flipped(rows);
    {
        nb::gil_scoped_release released;
        join(first.data(), second.data(), differ.data(), first.shape(0), static_cast<uint32_t>(rows), roots.values.get(),
             flipped.values.get());
    }
    return nb::make_tuple(roots.array(), flipped.array());
}

}  // namespace

NB_MODULE(_points, m) {
    nb::set_leak_warnings(false);  // a process that is cut off frees nothing, and that is none of its user's concern
    nb::class_<Points>(m, "Points")
        .def(nb::init<In<float, nb::shape<-1, 3>>, int>(), nb::arg("points"), nb::arg("threads"))
        .def("nearest", &Points::nearest, nb::arg("k"), nb::arg("rows").none() = nb::none())
        .def("counts", &Points::counts, nb::arg("radius"), nb::arg("limit"))
        .def("within", &Points::within, nb::arg("chosen"), nb::arg("radius"))
        .def("components", &Points::components, nb::arg("gap"))
        .def_prop_ro("nbytes", &Points::bytes);
    m.def("match", &matched, nb::arg("first"), nb::arg("second"), nb::arg("rows"), nb::arg("most"));
    m.def("join", &joined, nb::arg("first"), nb::arg("second"), nb::arg("differ"), nb::arg("rows"));
}
