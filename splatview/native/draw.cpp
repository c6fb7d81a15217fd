// Pictures of fields. A tile's rays go forward together, a sample or a few each time, so that samples of neighbours fill the lanes;
// what has a weight waits for its colour until there is enough of it.
#include <algorithm>
#include <cmath>

#include "field.hpp"

namespace splats {
namespace {

constexpr int SIDE = 16;              // of a tile, in pixels
constexpr size_t RAYS = SIDE * SIDE;  // of a tile
constexpr size_t MOST_AHEAD = 8;      // samples of a ray in a turn: those after its end are in vain
constexpr size_t ROOM = RAYS + 2 * MOST_CHUNK;
// The weight that is worth a colour of its own: samples of less give theirs to the next.
constexpr float LEAST_WEIGHT = 1.0f / 4096;

// What samples add up to.
struct Sum {
    float alpha = 0, distance = 0, rgb[3] = {0, 0, 0};
};

struct Pixel {
    Ray ray;
    double forward;  // of its direction: the view axis's part
    float divide = INFINITY, transmittance = 1, waiting = 0;
    Sum parts[2];  // before `divide`, and behind it
    int samples = 0;
    bool over = false;
};

bool given_up(const FieldPicture& picture) { return picture.interrupt && *static_cast<const volatile uint8_t*>(picture.interrupt); }

// What one thread works with.
struct Desk {
    explicit Desk(const FieldView& view)
        : scratch(view.scratch()),
          rows(ROOM * static_cast<size_t>(view.row)),
          kept(2 * ROOM * static_cast<size_t>(view.row)),
          heads(ROOM * static_cast<size_t>(view.head)) {}

    std::vector<float> scratch, rows, kept, heads;
    float axes[3][ROOM] = {}, length[ROOM] = {}, density[ROOM], covers[ROOM], distance[ROOM];
    uint32_t pixel_of[ROOM] = {};
    // Samples that wait for their colour.
    size_t waiting = 0;
    uint32_t waiting_pixel[2 * ROOM] = {}, waiting_row[2 * ROOM];
    uint8_t waiting_part[2 * ROOM];
    float weight[2 * ROOM], rgb[3][2 * ROOM];
};

class Tile {
public:
    Tile(const FieldKernels& kernels, const Field& field, const FieldPicture& picture, Desk& desk)
        : kernels_(kernels),
          field_(field),
          view_(field.view()),
          picture_(picture),
          desk_(desk),
          steps_(field.steps().coarser(picture.detail)) {}

    void draw(int left, int top) {
        begin(left, top);
        while (!going_.empty() || held_) {
            if (given_up(picture_)) return;
            step();
        }
        flush();
        for (size_t i = 0; i < pixels_.size(); ++i) {
            const Pixel& pixel = pixels_[i];
            const size_t to = pixel_at(i, left, top);
            for (size_t part = 0; part < (picture_.divide ? 2 : 1); ++part) {
                const size_t at = part * static_cast<size_t>(picture_.width) * picture_.height + to;
                const Sum& sum = pixel.parts[part];
                std::copy_n(sum.rgb, 3, picture_.rgb + 3 * at);
                picture_.alpha[at] = sum.alpha, picture_.distance[at] = sum.distance;
            }
            picture_.samples[to] = pixel.samples;
        }
    }

private:
    void begin(int left, int top) {
        columns_ = std::min(SIDE, picture_.width - left);
        const int rows = std::min(SIDE, picture_.height - top);
        pixels_.assign(static_cast<size_t>(columns_ * rows), {});
        going_.clear();
        for (size_t i = 0; i < pixels_.size(); ++i) {
            const double x = picture_.left + left + static_cast<int>(i) % columns_ + 0.5;
            const double y = picture_.top + top + static_cast<int>(i) / columns_ + 0.5;
            Pixel& pixel = pixels_[i];
            double along[3], squared = 0;
            for (int axis = 0; axis < 3; ++axis) {
                const double* row = picture_.field_from_pixel + 3 * axis;
                along[axis] = row[0] * x + row[1] * y + row[2];
                squared += along[axis] * along[axis];
            }
            const double length = std::sqrt(squared);
            pixel.forward = 1 / length;
            if (picture_.divide) pixel.divide = picture_.divide[pixel_at(i, left, top)];
            for (int axis = 0; axis < 3; ++axis) {
                pixel.ray.origin[axis] = picture_.origin[axis], pixel.ray.direction[axis] = along[axis] / length;
                desk_.axes[axis][i] = static_cast<float>(pixel.ray.direction[axis]);
            }
            if (pixel.ray.enter(steps_, picture_.bounds, picture_.near * length, picture_.far * length, 0.5))
                going_.push_back(static_cast<uint32_t>(i));
        }
        if (going_.empty()) return;
        kernels_.directions(view_, {pixels_.size(), {desk_.axes[0], desk_.axes[1], desk_.axes[2]}, desk_.heads.data()},
                            desk_.scratch.data());
    }

    // Where pixel `i` of the tile is in the picture.
    size_t pixel_at(size_t i, int left, int top) const {
        return static_cast<size_t>(top + static_cast<int>(i) / columns_) * picture_.width + left + i % columns_;
    }

    // Every ray goes on by a sample, or a few where not many do. What does not fill a chunk is held until the next turn.
    void step() {
        const size_t each = std::clamp<size_t>(MOST_CHUNK / std::max<size_t>(going_.size(), 1), 1, MOST_AHEAD);
        size_t count = held_;
        for (const uint32_t number : going_) {
            Pixel& pixel = pixels_[number];
            for (size_t i = 0; i < each && !pixel.over; ++i) {
                double distance, length;
                float point[3];
                pixel.over = !next(pixel.ray, distance, length, point);
                if (pixel.over) break;
                for (int axis = 0; axis < 3; ++axis) desk_.axes[axis][count] = point[axis];
                desk_.distance[count] = static_cast<float>(distance * pixel.forward), desk_.length[count] = static_cast<float>(length);
                desk_.pixel_of[count++] = number;
            }
        }
        const size_t now = count == held_ ? count : count / MOST_CHUNK * MOST_CHUNK;
        kernels_.density(view_, {now, desk_.axes[0], desk_.axes[1], desk_.axes[2], desk_.length, nullptr, desk_.covers, desk_.rows.data()},
                         desk_.scratch.data());
        for (size_t i = 0; i < now; ++i) blend(i);
        held_ = count - now;
        for (float* values : {desk_.axes[0], desk_.axes[1], desk_.axes[2], desk_.length, desk_.distance})
            std::copy_n(values + now, held_, values);
        std::copy_n(desk_.pixel_of + now, held_, desk_.pixel_of);
        going_.erase(std::remove_if(going_.begin(), going_.end(), [&](uint32_t number) { return pixels_[number].over; }), going_.end());
        if (desk_.waiting >= RAYS) flush();
    }

    // The next sample of a ray of which the cuts leave something: less density over a length is as much over less of it.
    bool next(Ray& ray, double& distance, double& length, float point[3]) const {
        while (ray.next(steps_, field_.occupancy(), distance, length, point)) {
            if (picture_.cuts.empty()) return true;
            const float left = left_by(picture_.cuts, point);
            length *= left;
            if (left > 0) return true;
        }
        return false;
    }

    void blend(size_t sample) {
        Pixel& pixel = pixels_[desk_.pixel_of[sample]];
        if (pixel.transmittance <= 0) return;
        float weight = pixel.transmittance * desk_.covers[sample];
        if (pixel.transmittance - weight < picture_.last_transmittance) weight = pixel.transmittance;
        ++pixel.samples;
        pixel.transmittance -= weight;
        pixel.waiting += weight;  // what waits while the ray passes its divide has its colour behind it
        const uint8_t part = desk_.distance[sample] >= pixel.divide;
        pixel.parts[part].alpha += weight, pixel.parts[part].distance += weight * desk_.distance[sample];
        pixel.over |= pixel.transmittance <= 0;
        if (pixel.waiting < LEAST_WEIGHT) return;
        const auto row = static_cast<size_t>(view_.row);
        std::copy_n(desk_.rows.data() + sample * row, row, desk_.kept.data() + desk_.waiting * row);
        desk_.waiting_pixel[desk_.waiting] = desk_.pixel_of[sample], desk_.waiting_part[desk_.waiting] = part;
        desk_.weight[desk_.waiting++] = pixel.waiting;
        pixel.waiting = 0;
    }

    void flush() {
        const size_t count = desk_.waiting;
        for (size_t i = count; i < count + MOST_CHUNK; ++i) desk_.waiting_pixel[i] = 0;
        kernels_.colour(view_,
                        {count,
                         desk_.kept.data(),
                         desk_.heads.data(),
                         desk_.waiting_row,
                         desk_.waiting_pixel,
                         {desk_.rgb[0], desk_.rgb[1], desk_.rgb[2]}},
                        desk_.scratch.data());
        for (size_t i = 0; i < count; ++i)
            for (int channel = 0; channel < 3; ++channel)
                pixels_[desk_.waiting_pixel[i]].parts[desk_.waiting_part[i]].rgb[channel] += desk_.weight[i] * desk_.rgb[channel][i];
        desk_.waiting = 0;
    }

    const FieldKernels& kernels_;
    const Field& field_;
    const FieldView& view_;
    const FieldPicture& picture_;
    Desk& desk_;
    const Steps steps_;
    int columns_ = 0;
    size_t held_ = 0;  // samples
    std::vector<Pixel> pixels_;
    std::vector<uint32_t> going_;
};

std::vector<std::unique_ptr<Desk>> desks_for(const Field& field, Threads& threads) {
    std::vector<std::unique_ptr<Desk>> desks;
    for (int i = 0; i < threads.count(); ++i) {
        desks.push_back(std::make_unique<Desk>(field.view()));
        for (uint32_t k = 0; k < 2 * ROOM; ++k) desks.back()->waiting_row[k] = k;
    }
    return desks;
}

}  // namespace

bool draw(const FieldKernels& kernels, Threads& threads, const Field& field, const FieldPicture& picture) {
    const auto desks = desks_for(field, threads);
    const int across = (picture.width + SIDE - 1) / SIDE, down = (picture.height + SIDE - 1) / SIDE;
    threads.run(across * down, [&](int piece, int thread) {
        if (!given_up(picture)) Tile(kernels, field, picture, *desks[thread]).draw(piece % across * SIDE, piece / across * SIDE);
    });
    return !given_up(picture);
}

void query(const FieldKernels& kernels, Threads& threads, const Field& field, const float* positions, const float* along, size_t count,
           float* density, float* rgb) {
    const auto desks = desks_for(field, threads);
    threads.run(static_cast<int>((count + RAYS - 1) / RAYS), [&](int piece, int thread) {
        Desk& desk = *desks[thread];
        const size_t first = static_cast<size_t>(piece) * RAYS, here = std::min(RAYS, count - first);
        for (size_t i = 0; i < here; ++i) {
            const float* d = along + 3 * (first + i);
            const float length = std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
            for (int axis = 0; axis < 3; ++axis) desk.axes[axis][i] = d[axis] / length;
        }
        const FieldView& view = field.view();
        kernels.directions(view, {here, {desk.axes[0], desk.axes[1], desk.axes[2]}, desk.heads.data()}, desk.scratch.data());
        for (size_t i = 0; i < here; ++i)
            for (int axis = 0; axis < 3; ++axis) desk.axes[axis][i] = positions[3 * (first + i) + axis];
        kernels.density(view, {here, desk.axes[0], desk.axes[1], desk.axes[2], nullptr, desk.density, nullptr, desk.rows.data()},
                        desk.scratch.data());
        kernels.colour(
            view, {here, desk.rows.data(), desk.heads.data(), desk.waiting_row, desk.waiting_row, {desk.rgb[0], desk.rgb[1], desk.rgb[2]}},
            desk.scratch.data());
        std::copy_n(desk.density, here, density + first);
        for (size_t i = 0; i < here; ++i)
            for (int channel = 0; channel < 3; ++channel) rgb[3 * (first + i) + channel] = desk.rgb[channel][i];
    });
}

}  // namespace splats
