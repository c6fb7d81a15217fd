// Python's door to the renderer: arrays in, arrays out, the GIL released while it draws.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <stdexcept>

#include "arrays.hpp"
#include "footprints.hpp"
#include "gradient.hpp"
#include "renderer.hpp"
#include "scene.hpp"

namespace nb = nanobind;
using namespace splats;

namespace {

using Mask = In<uint8_t, nb::ndim<1>>;
using Flag = In<uint8_t, nb::shape<1>>;
using Means = In<float, nb::shape<-1, 3>>;  // and log scales
using Quats = In<float, nb::shape<-1, 4>>;
using Logits = In<float, nb::ndim<1>>;
using Harmonics = In<float, nb::shape<-1, -1, 3>>;

struct Layer {
    std::shared_ptr<PackedScene> scene;
    LayerView view{};
    std::optional<Mask> hidden, tinted;  // kept alive while the layer is

    Layer(std::shared_ptr<PackedScene> packed, In<double, nb::shape<3, 4>> camera_from_layer, int sh_degree, bool antialiased,
          std::optional<Mask> hidden_mask, std::optional<Mask> tinted_mask)
        : scene(std::move(packed)), hidden(std::move(hidden_mask)), tinted(std::move(tinted_mask)) {
        const double* m = camera_from_layer.data();
        const double scale =
            std::cbrt(m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) + m[2] * (m[4] * m[9] - m[5] * m[8]));
        view.blocks = scene->blocks();
        for (const auto& mask : {hidden, tinted})
            if (mask && mask->shape(0) != view.blocks.count)
                throw nb::value_error("a mask must have one entry for each Gaussian of its layer");
        for (int i = 0; i < 3; ++i) {
            for (int j = 0; j < 3; ++j) view.linear[3 * i + j] = static_cast<float>(m[4 * i + j]);
            view.translation[i] = static_cast<float>(m[4 * i + 3]);
            view.eye[i] = static_cast<float>(-(m[i] * m[3] + m[4 + i] * m[7] + m[8 + i] * m[11]) / (scale * scale));
        }
        view.scale = static_cast<float>(scale);
        view.sh_coefficients = std::min((sh_degree + 1) * (sh_degree + 1), view.blocks.sh_coefficients);
        view.antialiased = antialiased;
        view.hidden = hidden ? hidden->data() : nullptr;
        view.tinted = tinted ? tinted->data() : nullptr;
    }
};

RawGaussians raw_of(const Means& means, const Quats& quats, const Means& log_scales, const Logits& opacity_logits, const Harmonics& sh) {
    const size_t count = means.shape(0);
    if (quats.shape(0) != count || log_scales.shape(0) != count || opacity_logits.shape(0) != count || sh.shape(0) != count ||
        count >= UINT32_MAX / 2)
        throw nb::value_error("expected arrays of one length, below 2^31");
    return {static_cast<uint32_t>(count),
            static_cast<int>(sh.shape(1)),
            means.data(),
            quats.data(),
            log_scales.data(),
            opacity_logits.data(),
            sh.data()};
}

// [count] zeros that Python owns.
std::pair<nb::object, uint8_t*> zeros(size_t count) {
    auto* bytes = static_cast<uint8_t*>(std::calloc(std::max<size_t>(count, 1), 1));
    if (!bytes) throw std::bad_alloc();
    nb::capsule owner(bytes, [](void* p) noexcept { std::free(p); });
    return {nb::cast(nb::ndarray<nb::numpy, uint8_t>(bytes, 1, &count, owner)), bytes};
}

Outlook outlook_of(const In<double, nb::shape<3, 4>>& camera_from_layer, const std::vector<double>& intrinsics, int width, int height) {
    if (intrinsics.size() != 4) throw nb::value_error("expected fx, fy, cx, cy");
    Outlook outlook{};
    outlook.width = width, outlook.height = height;
    outlook.fx = intrinsics[0], outlook.fy = intrinsics[1], outlook.cx = intrinsics[2], outlook.cy = intrinsics[3];
    const double* m = camera_from_layer.data();
    for (int i = 0; i < 3; ++i) std::copy(m + 4 * i, m + 4 * i + 3, outlook.linear + 3 * i), outlook.translation[i] = m[4 * i + 3];
    outlook.scale = std::sqrt(m[0] * m[0] + m[4] * m[4] + m[8] * m[8]);
    return outlook;
}

// Which centres, or which ellipses, lie in a region [H, W] of a picture.
nb::object footprints_in(const Means& means, const Quats& quats, const Means& log_scales, const Logits& opacity_logits, const Harmonics& sh,
                         In<double, nb::shape<3, 4>> camera_from_layer, const std::vector<double>& intrinsics,
                         In<uint8_t, nb::ndim<2>> region, double near, double far, std::optional<bool> antialiased, int threads) {
    const RawGaussians raw = raw_of(means, quats, log_scales, opacity_logits, sh);
    Outlook outlook = outlook_of(camera_from_layer, intrinsics, static_cast<int>(region.shape(1)), static_cast<int>(region.shape(0)));
    outlook.near = near, outlook.far = far, outlook.region = region.data();
    auto [mask, in] = zeros(raw.count);
    {
        nb::gil_scoped_release released;
        Threads pool(std::max(threads, 1));
        antialiased ? ellipses_in(raw, outlook, *antialiased, pool, in) : centres_in(raw, outlook, pool, in);
    }
    return mask;
}

class Renderer {
public:
    Renderer(const std::string& simd, int threads) : frames_(simd, threads), pool_(std::make_shared<Pool>()) {}

    std::shared_ptr<PackedScene> pack(const Means& means, const Quats& quats, const Means& log_scales, const Logits& opacity_logits,
                                      const Harmonics& sh) {
        const RawGaussians raw = raw_of(means, quats, log_scales, opacity_logits, sh);
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> lock(mutex_);
        return std::make_shared<PackedScene>(raw, frames_.threads());
    }

    std::shared_ptr<PackedScene> repack(const std::shared_ptr<PackedScene>& parent, const Means& means, const Quats& quats,
                                        const Means& log_scales, const Logits& opacity_logits, const Harmonics& sh, const Mask& changed,
                                        bool same_shapes, bool same_sh) {
        const RawGaussians raw = raw_of(means, quats, log_scales, opacity_logits, sh);
        if (raw.count != parent->blocks().count || raw.sh_coefficients != parent->blocks().sh_coefficients || changed.shape(0) != raw.count)
            throw nb::value_error("expected arrays of the parent's shapes");
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> lock(mutex_);
        return std::make_shared<PackedScene>(*parent, raw, changed.data(), same_shapes, same_sh, frames_.threads());
    }

    // (pictures by name, milliseconds by stage, counts), or None if it was interrupted.
    nb::object render(const std::vector<Layer*>& layers, const std::vector<double>& intrinsics, int width, int height, double near,
                      double far, double splat_scale, const std::string& style, uint32_t overdraw_limit, std::optional<Flag> interrupt,
                      const std::vector<double>& background, const std::vector<double>& tint, const std::vector<std::string>& outputs,
                      std::optional<In<float, nb::ndim<2>>> divide) {
        if (divide && (divide->shape(0) != static_cast<size_t>(height) || divide->shape(1) != static_cast<size_t>(width)))
            throw nb::value_error("expected a divide for each pixel");
        if (background.size() != 3 || (tint.size() != 3 && !tint.empty())) throw nb::value_error("expected two colours");
        Request request = request_of(layers, intrinsics, width, height, near, far, splat_scale, style, overdraw_limit, interrupt);
        for (LayerView& layer : request.layers) std::copy(tint.begin(), tint.end(), layer.tint), layer.mixes_tint = !tint.empty();
        std::copy(background.begin(), background.end(), request.background);

        std::map<std::string, std::shared_ptr<void>> blocks;
        const size_t pixels = static_cast<size_t>(width) * height;
        auto image = [&](const char* name, auto*& slot, size_t channels) {
            const bool wanted = std::find(outputs.begin(), outputs.end(), name) != outputs.end() ||
                                (std::string(name) == "id_layers" && request.images.ids) ||
                                (std::string(name) == "front" && divide.has_value());
            if (!wanted) return;
            auto block = blocks[name] = pool_->take(pixels * channels * sizeof *slot);
            slot = static_cast<std::remove_reference_t<decltype(slot)>>(block.get());
        };
        Images& to = request.images;
        image("rgb", to.rgb, 3), image("rgb8", to.rgb8, 3), image("alpha", to.alpha, 1), image("depth", to.depth, 1);
        image("median_depth", to.median_depth, 1), image("ids", to.ids, 1), image("id_layers", to.id_layers, 1),
            image("overdraw", to.overdraw, 1), image("coverage", to.coverage, 1), image("front", to.front, Images::FRONT);
        to.divide = divide ? divide->data() : nullptr;
        if (to.divide && (to.rgb8 || to.median_depth || to.ids || to.overdraw || to.coverage))
            throw nb::value_error("expected rgb, alpha and depth alone of what is divided");
        Report report;
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            report = frames_.render(request);
            last_ = request.view;
        }
        if (!report.finished) return nb::none();
        nb::dict images, timings, counts;
        for (auto& [name, block] : blocks) {
            const size_t channels = name == "rgb" || name == "rgb8" ? 3 : name == "front" ? Images::FRONT : 0;
            const size_t shape[3] = {static_cast<size_t>(height), static_cast<size_t>(width), channels};
            const bool whole = name == "ids" || name == "id_layers" || name == "overdraw";
            const nb::dlpack::dtype type = name == "rgb8" ? nb::dtype<uint8_t>() : whole ? nb::dtype<int32_t>() : nb::dtype<float>();
            nb::capsule owner(new std::shared_ptr<void>(block), [](void* p) noexcept { delete static_cast<std::shared_ptr<void>*>(p); });
            images[name.c_str()] = nb::cast(nb::ndarray<nb::numpy>(block.get(), channels ? 3 : 2, shape, owner, nullptr, type));
        }
        timings["project"] = report.project_ms, timings["sort"] = report.sort_ms, timings["bin"] = report.bin_ms,
        timings["blend"] = report.blend_ms;
        counts["drawn"] = report.drawn, counts["pairs"] = report.pairs;
        return nb::make_tuple(images, timings, counts);
    }

    // For each layer which of its Gaussians weigh at least `least` at a pixel of the region, or None if it was interrupted.
    nb::object contributors(const std::vector<Layer*>& layers, const std::vector<double>& intrinsics, int width, int height, double near,
                            double far, double splat_scale, const std::string& style, uint32_t overdraw_limit,
                            std::optional<Flag> interrupt, In<uint8_t, nb::ndim<2>> region, double least) {
        if (region.shape(0) != static_cast<size_t>(height) || region.shape(1) != static_cast<size_t>(width))
            throw nb::value_error("expected a region of the picture's size");
        Request request = request_of(layers, intrinsics, width, height, near, far, splat_scale, style, overdraw_limit, interrupt);
        std::vector<uint8_t*> found;
        nb::list masks;
        for (LayerView& layer : request.layers) {
            layer.sh_coefficients = 1, layer.tinted = nullptr;  // no colour is looked at
            auto [mask, bytes] = zeros(layer.blocks.count);
            masks.append(mask), found.push_back(bytes);
        }
        request.search = {region.data(), static_cast<size_t>(width), static_cast<float>(least), found.data()};
        bool finished;
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            last_ = {};
            finished = frames_.render(request).finished;
        }
        return finished ? nb::object(masks) : nb::none();
    }

    // [N, PULLED] how the sum over the picture of `given` [H, W, 5] times what is drawn of one packed scene grows with its parameters.
    nb::object gradient(Layer* layer, const Means& means, const Quats& quats, const Means& log_scales, const Logits& opacity_logits,
                        const Harmonics& sh, In<double, nb::shape<3, 4>> camera_from_layer, const std::vector<double>& intrinsics,
                        In<float, nb::shape<-1, -1, Pull::GIVEN>> given, double near, double far) {
        const RawGaussians raw = raw_of(means, quats, log_scales, opacity_logits, sh);
        if (raw.count != layer->view.blocks.count || layer->view.antialiased) throw nb::value_error("expected the layer's own arrays");
        const int width = static_cast<int>(given.shape(1)), height = static_cast<int>(given.shape(0));
        Request request = request_of({layer}, intrinsics, width, height, near, far, 1, "splats", UINT32_MAX, std::nullopt);
        const Outlook outlook = outlook_of(camera_from_layer, intrinsics, width, height);
        Block<float> pulled(raw.count, PULLED);
        {
            nb::gil_scoped_release released;
            std::lock_guard<std::mutex> lock(mutex_);
            sums_.assign(Pull::SUMS * size_t{raw.count}, 0);
            int64_t* sums = sums_.data();
            request.pull = {given.data(), &sums};
            last_ = {};
            frames_.render(request);
            splats::gradient(raw, outlook, sums, frames_.threads(), pulled.values.get());
        }
        return nb::cast(pulled.array());
    }

    // Of the last frame: for every tile, row by row, the (layer, id) of its Gaussians front to back; and the tiles across.
    nb::tuple tile_lists() {
        std::lock_guard<std::mutex> lock(mutex_);
        const TileLists lists = frames_.tile_lists(last_);
        nb::list tiles;
        for (size_t tile = 0; tile + 1 < lists.starts.size(); ++tile) {
            nb::list members;
            for (uint32_t i = lists.starts[tile]; i < lists.starts[tile + 1]; ++i) {
                const Record& record = frames_.records()[lists.records[i]];
                members.append(nb::make_tuple(record.layer & ~TINTED, record.id));
            }
            tiles.append(members);
        }
        return nb::make_tuple(tiles, last_.tiles_x);
    }

    const char* simd() const { return frames_.simd(); }
    int threads() { return frames_.threads().count(); }
    size_t nbytes() const { return frames_.bytes(); }
    void set_least_spare(int64_t bytes) { frames_.set_least_spare(bytes); }

private:
    static Request request_of(const std::vector<Layer*>& layers, const std::vector<double>& intrinsics, int width, int height, double near,
                              double far, double splat_scale, const std::string& style, uint32_t overdraw_limit,
                              const std::optional<Flag>& interrupt) {
        if (intrinsics.size() != 4) throw nb::value_error("expected fx, fy, cx, cy");
        if (width < 1 || height < 1 || width > 32768 || height > 32768)
            throw nb::value_error("expected a size of 1 to 32768 pixels a side");
        Request request{};
        request.view = {width,
                        height,
                        (width + TILE - 1) / TILE,
                        (height + TILE - 1) / TILE,
                        static_cast<float>(intrinsics[0]),
                        static_cast<float>(intrinsics[1]),
                        static_cast<float>(intrinsics[2]),
                        static_cast<float>(intrinsics[3]),
                        static_cast<float>(near),
                        static_cast<float>(far),
                        static_cast<float>(splat_scale),
                        style == "centres",
                        style == "outlines",
                        0,
                        0,
                        0,
                        0};
        View& view = request.view;
        const float out_x = 0.15f * static_cast<float>(width) / view.fx, out_y = 0.15f * static_cast<float>(height) / view.fy;
        view.left = -view.cx / view.fx - out_x, view.right = (static_cast<float>(width) - view.cx) / view.fx + out_x;
        view.top = -view.cy / view.fy - out_y, view.bottom = (static_cast<float>(height) - view.cy) / view.fy + out_y;
        for (uint32_t i = 0; i < layers.size(); ++i) {
            request.layers.push_back(layers[i]->view);
            request.layers.back().index = i;
        }
        request.overdraw_limit = std::max(overdraw_limit, 1u);
        request.interrupt = interrupt ? interrupt->data() : nullptr;
        return request;
    }

    FrameRenderer frames_;
    std::shared_ptr<Pool> pool_;
    std::mutex mutex_;
    std::vector<int64_t> sums_;
    View last_{};
};

}  // namespace

NB_MODULE(_splats, m) {
    nb::set_leak_warnings(false);  // a process that is cut off frees nothing, and that is none of its user's concern
    m.attr("NO_LIMIT") = nb::int_(UINT32_MAX);
    m.def("footprints_in", &footprints_in, nb::arg("means"), nb::arg("quats"), nb::arg("log_scales"), nb::arg("opacity_logits"),
          nb::arg("sh"), nb::arg("camera_from_layer"), nb::arg("intrinsics"), nb::arg("region"), nb::arg("near"), nb::arg("far"),
          nb::arg("antialiased").none(), nb::arg("threads"));
    nb::class_<PackedScene>(m, "PackedScene").def_prop_ro("nbytes", &PackedScene::bytes).def_prop_ro("stretched", &PackedScene::stretched);
    nb::class_<Layer>(m, "Layer")
        .def(nb::init<std::shared_ptr<PackedScene>, In<double, nb::shape<3, 4>>, int, bool, std::optional<Mask>, std::optional<Mask>>(),
             nb::arg("scene"), nb::arg("camera_from_layer"), nb::arg("sh_degree"), nb::arg("antialiased"), nb::arg("hidden").none(),
             nb::arg("tinted").none());
    nb::class_<Renderer>(m, "Renderer")
        .def(nb::init<const std::string&, int>(), nb::arg("simd"), nb::arg("threads"))
        .def("pack", &Renderer::pack, nb::arg("means"), nb::arg("quats"), nb::arg("log_scales"), nb::arg("opacity_logits"), nb::arg("sh"))
        .def("repack", &Renderer::repack, nb::arg("parent"), nb::arg("means"), nb::arg("quats"), nb::arg("log_scales"),
             nb::arg("opacity_logits"), nb::arg("sh"), nb::arg("changed"), nb::arg("same_shapes"), nb::arg("same_sh"))
        .def("render", &Renderer::render, nb::arg("layers"), nb::arg("intrinsics"), nb::arg("width"), nb::arg("height"), nb::arg("near"),
             nb::arg("far"), nb::arg("splat_scale"), nb::arg("style"), nb::arg("overdraw_limit"), nb::arg("interrupt").none(),
             nb::arg("background"), nb::arg("tint"), nb::arg("outputs"), nb::arg("divide") = nb::none())
        .def("contributors", &Renderer::contributors, nb::arg("layers"), nb::arg("intrinsics"), nb::arg("width"), nb::arg("height"),
             nb::arg("near"), nb::arg("far"), nb::arg("splat_scale"), nb::arg("style"), nb::arg("overdraw_limit"),
             nb::arg("interrupt").none(), nb::arg("region"), nb::arg("least"))
        .def("gradient", &Renderer::gradient, nb::arg("layer"), nb::arg("means"), nb::arg("quats"), nb::arg("log_scales"),
             nb::arg("opacity_logits"), nb::arg("sh"), nb::arg("camera_from_layer"), nb::arg("intrinsics"), nb::arg("given"),
             nb::arg("near"), nb::arg("far"))
        .def("tile_lists", &Renderer::tile_lists)
        .def("set_least_spare", &Renderer::set_least_spare, nb::arg("nbytes"))
        .def_prop_ro("simd", &Renderer::simd)
        .def_prop_ro("threads", &Renderer::threads)
        .def_prop_ro("nbytes", &Renderer::nbytes);
}
