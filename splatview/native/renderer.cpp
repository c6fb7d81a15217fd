#include "renderer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cpu.hpp"

namespace splats {
namespace {

constexpr uint32_t LINKS = 64;  // records of one link of a tile's chain
// Links of all chains, 2 GB: where splats cover the picture thousands of times over, the farthest are left out.
constexpr uint32_t MOST_LINKS = 1u << 23;
constexpr int RUN = 16;  // neighbouring tiles that a thread blends in turn
constexpr uint32_t NONE = UINT32_MAX;
constexpr int64_t FRAME_BYTES = 112;  // of a Gaussian in view: record, depth, sort keys, places in chains, and some of the rest
constexpr int DIGIT = 13;             // bits of a radix pass
constexpr uint32_t DIGITS = 1u << DIGIT;

double now_ms() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

const Kernels& choose_kernels(const std::string& wanted) { return choose(wanted, {&kernels_avx512, &kernels_avx2, &kernels_portable}); }

FrameRenderer::FrameRenderer(const std::string& simd, int threads)
    : kernels_(choose_kernels(simd)), threads_(threads), lists_(2 * threads_.count()) {}

size_t FrameRenderer::bytes() const {
    size_t total = records_.bytes() + depths_.bytes() + visible_.bytes() + sorted_.bytes() + histograms_.bytes() + keyed_.bytes();
    for (const Segment& s : segments_) total += s.entries.bytes() + s.next.bytes() + s.first.bytes() + s.cursors.bytes() + s.links.bytes();
    for (const auto& list : lists_) total += list.bytes();
    for (const Scratch& scratch : scratch_) total += scratch.records.bytes() + scratch.depths.bytes();
    return total;
}

namespace {

// Rows of tiles [first, last) of a picture as a request of their own.
Request strip_of(const Request& whole, int first, int last) {
    Request strip = whole;
    strip.is_strip |= last - first < whole.view.tiles_y;
    const int top = first * TILE;
    strip.view.height = std::min(whole.view.height, last * TILE) - top;
    strip.view.tiles_y = last - first;
    strip.view.cy -= static_cast<float>(top);
    const size_t pixels = static_cast<size_t>(top) * static_cast<size_t>(whole.view.width);
    auto move = [&](auto*& image, size_t channels) { image = image ? image + channels * pixels : nullptr; };
    Images& to = strip.images;
    move(to.rgb, 3), move(to.rgb8, 3), move(to.alpha, 1), move(to.depth, 1), move(to.median_depth, 1), move(to.ids, 1),
        move(to.id_layers, 1), move(to.overdraw, 1), move(to.coverage, 1), move(to.divide, 1), move(to.front, Images::FRONT);
    if (strip.pull.sums) strip.pull.given += Pull::GIVEN * pixels;
    if (strip.search.found) strip.search.region += static_cast<size_t>(top) * strip.search.stride;
    return strip;
}

// The tiles around the region that is searched as a request of their own; no rows if the region is empty.
Request around_region(const Request& whole) {
    const View& view = whole.view;
    int left = view.width, right = 0, top = view.height, bottom = 0;
    for (int y = 0; y < view.height; ++y) {
        const uint8_t *row = whole.search.region + static_cast<size_t>(y) * whole.search.stride, *end = row + view.width;
        auto set = [](uint8_t byte) { return byte != 0; };
        const auto first = static_cast<int>(std::find_if(row, end, set) - row);
        if (first == view.width) continue;
        int last = view.width;
        while (!row[last - 1]) --last;
        left = std::min(left, first), right = std::max(right, last), top = std::min(top, y), bottom = y + 1;
    }
    const int first_column = left / TILE, columns = right ? (right - 1) / TILE + 1 - first_column : 0, first_row = top / TILE;
    Request part = strip_of(whole, right ? first_row : 0, right ? (bottom - 1) / TILE + 1 : 0);
    part.is_strip |= columns < view.tiles_x;
    part.view.width = std::min(view.width - first_column * TILE, columns * TILE);
    part.view.tiles_x = columns;
    part.view.cx -= static_cast<float>(first_column * TILE);
    part.search.region += first_column * TILE;
    return part;
}

}  // namespace

// The rows of tiles at which a picture is cut: one strip, unless the records of the Gaussians in view would take more memory than
// the scene allows; then it is halved where it must be.
std::vector<int> FrameRenderer::strips(const Request& request) const {
    int64_t spare = 0, all = 0;
    for (const LayerView& layer : request.layers) spare += layer.blocks.spare, all += layer.blocks.count;
    const int64_t most = std::max(spare, least_spare_) / FRAME_BYTES;  // Gaussians
    std::vector<int> cuts = {0, request.view.tiles_y};
    if (all <= most) return cuts;
    for (size_t i = 0; i + 1 < cuts.size();) {
        const Request strip = strip_of(request, cuts[i], cuts[i + 1]);
        int64_t in_view = 0;
        for (const LayerView& layer : request.layers)
            for (uint32_t first = 0; first < layer.blocks.blocks; first += CHUNK_BLOCKS)
                in_view += LANES * __builtin_popcountll(
                                       kernels_.in_view(strip.view, layer, first, std::min(layer.blocks.blocks, first + CHUNK_BLOCKS)));
        if (in_view > most && cuts[i + 1] - cuts[i] > 1)
            cuts.insert(cuts.begin() + static_cast<std::ptrdiff_t>(i) + 1, (cuts[i] + cuts[i + 1]) / 2);
        else
            ++i;
    }
    return cuts;
}

Report FrameRenderer::render(const Request& whole) {
    Report report{};
    const double start = now_ms();
    const Request request = whole.search.found ? around_region(whole) : whole;
    if (!request.view.tiles_y) return report.finished = true, report;
    const std::vector<int> cuts = strips(request);
    report.project_ms = now_ms() - start;
    auto stopped = [&] { return request.interrupt && *request.interrupt; };
    for (size_t i = 0; i + 1 < cuts.size() && !stopped(); ++i) draw(strip_of(request, cuts[i], cuts[i + 1]), report);
    report.finished = !stopped();
    return report;
}

void FrameRenderer::draw(const Request& request, Report& report) {
    auto stopped = [&] { return request.interrupt && *request.interrupt; };
    const double t0 = now_ms();
    if (request.search.found) find_searched(request);
    project(request);
    const double t1 = now_ms();
    report.project_ms += t1 - t0;
    if (stopped()) return;
    const uint32_t visible = sort();
    const double t2 = now_ms();
    report.sort_ms += t2 - t1;
    report.drawn += visible;
    if (stopped()) return;
    bin(request, visible);
    for (const Segment& segment : segments_) report.pairs += segment.pairs;
    const double t3 = now_ms();
    report.bin_ms += t3 - t2;
    if (stopped()) return;
    request.search.found ? search(request) : request.pull.sums ? pull(request) : blend(request);
    report.blend_ms += now_ms() - t3;
}

void FrameRenderer::project(const Request& request) {
    chunks_.clear();
    uint64_t total = 0;
    for (uint32_t layer = 0; layer < request.layers.size(); ++layer) {
        const uint32_t blocks = request.layers[layer].blocks.blocks;
        for (uint32_t first = 0; first < blocks; first += CHUNK_BLOCKS) {
            const uint32_t last = std::min(blocks, first + CHUNK_BLOCKS);
            chunks_.push_back({layer, first, last, 0});
            total += (last - first) * LANES + 1;  // one more: the kernel writes a lane ahead
        }
    }
    if (total >= NONE) throw std::length_error("a frame holds at most 2^32 Gaussians");
    records_.reserve(total);  // only what is in view is touched
    depths_.reserve(total);
    visible_.reserve(chunks_.size());
    scratch_.resize(static_cast<size_t>(threads_.count()));
    std::atomic<uint32_t> used{0};
    const bool some_searched = request.search.found && searched_.size() < static_cast<size_t>(request.view.tiles_x * request.view.tiles_y);
    threads_.run(static_cast<int>(chunks_.size()), [&](int piece, int thread) {
        ChunkOf& c = chunks_[piece];
        const LayerView& layer = request.layers[c.layer];
        const uint64_t chosen = kernels_.in_view(request.view, layer, c.first_block, c.last_block);
        int count = 0;
        if (request.is_strip || some_searched) {  // most of what may be in view is not: keep only what is
            Scratch& scratch = scratch_[thread];
            scratch.records.reserve(CHUNK + 1);
            scratch.depths.reserve(CHUNK + 1);
            count = kernels_.project(request.view, layer, c.first_block, chosen, scratch.records.data(), scratch.depths.data());
            if (some_searched) count = keep_searched(request.view, scratch.records.data(), scratch.depths.data(), count);
            c.base = used.fetch_add(static_cast<uint32_t>(count), std::memory_order_relaxed);
            std::memcpy(static_cast<void*>(records_.data() + c.base), scratch.records.data(), static_cast<size_t>(count) * sizeof(Record));
            std::memcpy(depths_.data() + c.base, scratch.depths.data(), static_cast<size_t>(count) * sizeof(uint32_t));
        } else {
            c.base = used.fetch_add(static_cast<uint32_t>(LANES * __builtin_popcountll(chosen) + 1), std::memory_order_relaxed);
            count = kernels_.project(request.view, layer, c.first_block, chosen, records_.data() + c.base, depths_.data() + c.base);
        }
        const uint32_t* depths = depths_.data() + c.base;
        uint32_t low = NONE, high = 0;
        for (int i = 0; i < count; ++i) low = std::min(low, depths[i]), high = std::max(high, depths[i]);
        visible_[piece] = {static_cast<uint32_t>(count), low, high};
    });
}

// Orders the visible records by depth: least significant digit first, over the bits of the depth that are in use, the lowest
// left out where more than two digits would be needed (a step of a millionth of the depth from 1 cm to 10 km). Ties keep the layers' own
// order.
uint32_t FrameRenderer::sort() {
    const int threads = threads_.count(), chunks = static_cast<int>(chunks_.size());
    uint32_t visible = 0, low = NONE, high = 0;
    for (int c = 0; c < chunks; ++c)
        visible += visible_[c].count, low = std::min(low, visible_[c].low), high = std::max(high, visible_[c].high);
    if (!visible) return 0;
    keyed_.reserve(visible);
    sorted_.reserve(visible);
    histograms_.reserve(static_cast<size_t>(threads) * DIGITS);

    // Threads take runs of chunks with about the same number of records.
    std::vector<int> from(threads + 1, chunks);
    uint64_t passed = 0;
    for (int c = 0, t = 0; c < chunks && t < threads; ++c) {
        while (t < threads && passed >= static_cast<uint64_t>(visible) * t / threads) from[t++] = c;
        passed += visible_[c].count;
    }
    auto each = [&](int t, auto&& visit) {
        for (int c = from[t]; c < from[t + 1]; ++c)
            for (uint32_t i = 0, base = chunks_[c].base; i < visible_[c].count; ++i) visit(depths_[base + i], base + i);
    };
    const uint32_t range = high - low;
    const int used = range ? 32 - __builtin_clz(range) : 0, drop = std::max(0, used - 2 * DIGIT);

    auto offsets = [&] {
        uint32_t sum = 0;
        for (uint32_t digit = 0; digit < DIGITS; ++digit)
            for (int t = 0; t < threads; ++t) {
                uint32_t& h = histograms_[static_cast<size_t>(t) * DIGITS + digit];
                const uint32_t count = h;
                h = sum, sum += count;
            }
    };
    threads_.run(threads, [&](int t, int) {
        uint32_t* h = &histograms_[static_cast<size_t>(t) * DIGITS];
        std::fill(h, h + DIGITS, 0);
        each(t, [&](uint32_t depth, uint32_t) { ++h[(depth - low) >> drop & (DIGITS - 1)]; });
    });
    offsets();
    threads_.run(threads, [&](int t, int) {
        uint32_t* h = &histograms_[static_cast<size_t>(t) * DIGITS];
        each(t, [&](uint32_t depth, uint32_t record) {
            const uint32_t key = (depth - low) >> drop;
            keyed_[h[key & (DIGITS - 1)]++] = static_cast<uint64_t>(key >> DIGIT) << 32 | record;
        });
    });
    auto share = [&](int t) { return static_cast<uint32_t>(static_cast<uint64_t>(visible) * t / threads); };
    threads_.run(threads, [&](int t, int) {
        uint32_t* h = &histograms_[static_cast<size_t>(t) * DIGITS];
        std::fill(h, h + DIGITS, 0);
        for (uint32_t i = share(t); i < share(t + 1); ++i) ++h[keyed_[i] >> 32];
    });
    offsets();
    threads_.run(threads, [&](int t, int) {
        uint32_t* h = &histograms_[static_cast<size_t>(t) * DIGITS];
        for (uint32_t i = share(t); i < share(t + 1); ++i) sorted_[h[keyed_[i] >> 32]++] = static_cast<uint32_t>(keyed_[i]);
    });
    return visible;
}

void FrameRenderer::Segment::start(uint32_t tiles, uint32_t most_links) {
    first.reserve(tiles);
    cursors.reserve(tiles);
    links.reserve(tiles);
    std::fill(cursors.data(), cursors.data() + tiles, 0);
    std::fill(links.data(), links.data() + tiles, 0);
    used = 1, pairs = 0, full = 0;  // link 0 is never used: a cursor of 0 is an empty chain
    most = most_links;
}

inline void FrameRenderer::Segment::add(uint32_t tile, uint32_t record) {
    uint32_t at = cursors[tile];
    if (at % LINKS == 0 && (at = extend(tile, at)) == NONE) return;
    entries[at] = record;
    cursors[tile] = at + 1;
}

// A fresh link for a tile whose last one is full, or that has none; returns its first place, NONE if the tile has had its share.
uint32_t FrameRenderer::Segment::extend(uint32_t tile, uint32_t cursor) {
    if (links[tile] >= most) {
        if (links[tile] == most) ++links[tile], ++full;  // it is told once
        return NONE;
    }
    ++links[tile];
    const size_t fresh = used++, wanted = (fresh + 1) * LINKS;
    if (wanted > entries.capacity()) {
        entries.reserve(std::max<size_t>(wanted, 1 << 16), fresh * LINKS);
        next.reserve(entries.capacity() / LINKS + 1, fresh);
    }
    (cursor ? next[(cursor - 1) / LINKS] : first[tile]) = static_cast<uint32_t>(fresh);
    return static_cast<uint32_t>(fresh * LINKS);
}

void FrameRenderer::bin(const Request& request, uint32_t count) {
    const View& view = request.view;
    overdraw_limit_ = request.overdraw_limit;
    const uint32_t wanted = (overdraw_limit_ - 1) / LINKS + 1;
    const int pieces = threads_.count() == 1 ? 1 : 2 * threads_.count();
    const uint32_t tiles = static_cast<uint32_t>(view.tiles_x * view.tiles_y);
    segments_.resize(pieces);
    threads_.run(pieces, [&](int piece, int) {
        segments_[piece].start(tiles, std::min(std::max(MOST_LINKS / tiles / static_cast<uint32_t>(pieces), 32u), wanted));
        auto share = [&](int p) { return static_cast<uint32_t>(static_cast<uint64_t>(count) * p / pieces); };
        bin_range(view, share(piece), share(piece + 1), segments_[piece]);
    });
}

void FrameRenderer::bin_range(const View& view, uint32_t first, uint32_t last, Segment& segment) const {
    constexpr uint32_t AHEAD = 24;
    const uint32_t across = static_cast<uint32_t>(view.tiles_x), tiles = across * static_cast<uint32_t>(view.tiles_y);
    for (uint32_t i = first; i < last && segment.full < tiles; ++i) {
        if (i + AHEAD < last) __builtin_prefetch(&records_[sorted_[i + AHEAD]]);
        const uint32_t at = sorted_[i];
        const Record& record = records_[at];
        const uint32_t columns = record.span & 0xffff, rows = record.span >> 16,
                       corner = (record.tile >> 16) * across + (record.tile & 0xffff);
        if (columns <= MASK_SIDE && rows <= MASK_SIDE) {
            uint64_t touched;
            std::memcpy(&touched, record.mask, sizeof touched);
            segment.pairs += static_cast<uint64_t>(__builtin_popcountll(touched));
            for (; touched; touched &= touched - 1) {
                const uint32_t bit = static_cast<uint32_t>(__builtin_ctzll(touched));
                segment.add(corner + (bit >> 3) * across + (bit & 7), at);
            }
            continue;
        }
        const float q = std::max(record.peak - (MIN_ALPHA_LOG2 - SLACK), 0.0f), qe = q / record.e, half_height = std::sqrt(qe);
        const float tip = -record.h * qe / std::max(std::sqrt(record.h * record.h * qe + q / record.a), 1e-20f);
        const float left_limit = static_cast<float>((record.tile & 0xffff) * TILE),
                    right_limit = left_limit + static_cast<float>(columns * TILE - 1);
        for (uint32_t row = 0; row < rows; ++row) {
            const float top = static_cast<float>(((record.tile >> 16) + row) * TILE) - record.y;
            const float low = std::max(top, -half_height), high = std::min(top + (TILE - 1), half_height);
            if (!(low <= high)) continue;
            auto reach = [&](float dy) { return std::sqrt(std::max(q - record.e * dy * dy, 0.0f) / record.a); };
            const float right_y = std::min(std::max(tip, low), high), left_y = std::min(std::max(-tip, low), high);
            const float left = std::ceil(std::max(record.x - record.h * left_y - reach(left_y), left_limit));
            const float right = std::floor(std::min(record.x - record.h * right_y + reach(right_y), right_limit));
            if (!(left <= right)) continue;
            const uint32_t from = static_cast<uint32_t>(left) / TILE, to = static_cast<uint32_t>(right) / TILE;
            const uint32_t start = ((record.tile >> 16) + row) * across;
            for (uint32_t column = from; column <= to; ++column) segment.add(start + column, at);
            segment.pairs += to - from + 1;
        }
    }
}

// A tile's records, front to back and within the limit, to `list`, and the first ones on their way into the cache; returns how many.
uint32_t FrameRenderer::gather_tile(uint32_t tile, Buffer<uint32_t>& list) const {
    uint32_t total = 0;
    for (const Segment& segment : segments_) {
        const uint32_t end = segment.cursors[tile];
        if (!end) continue;
        const uint32_t last = (end - 1) / LINKS;
        for (uint32_t link = segment.first[tile];; link = segment.next[link]) {
            list.reserve(size_t{total} + LINKS + LANES, total);
            std::memcpy(list.data() + total, &segment.entries[size_t{link} * LINKS], LINKS * sizeof(uint32_t));
            if (link == last) break;
            total += LINKS;
        }
        total += end - last * LINKS;
        if (total >= overdraw_limit_) {
            total = overdraw_limit_;
            break;
        }
    }
    if (total) std::fill(list.data() + total, list.data() + total + LANES, list[0]);
    for (uint32_t i = 0; i < std::min<uint32_t>(total, BATCH); ++i) __builtin_prefetch(&records_[list[i]]);
    return total;
}

void FrameRenderer::blend(const Request& request) {
    const View& view = request.view;
    const int tiles = view.tiles_x * view.tiles_y;
    threads_.run((tiles + RUN - 1) / RUN, [&](int piece, int thread) {
        // The next tile's list is gathered before this one is blended, so that its first records are there in time.
        const int first = piece * RUN, last = std::min(tiles, first + RUN);
        Buffer<uint32_t>* lists = &lists_[2 * thread];
        uint32_t count = gather_tile(static_cast<uint32_t>(first), lists[0]);
        for (int tile = first; tile < last; ++tile) {
            if (request.interrupt && *request.interrupt) return;
            const uint32_t coming = tile + 1 < last ? gather_tile(static_cast<uint32_t>(tile + 1), lists[(tile + 1 - first) & 1]) : 0;
            TileTask task{&view, records_.data(), lists[(tile - first) & 1].data(), count, tile % view.tiles_x, tile / view.tiles_x,
                          {},    request.images};
            std::copy(request.background, request.background + 3, task.background);
            kernels_.blend(task);
            count = coming;
        }
    });
}

// Lists the tiles that meet the region.
void FrameRenderer::find_searched(const Request& request) {
    const View& view = request.view;
    searched_.clear();
    for (int tile = 0; tile < view.tiles_x * view.tiles_y; ++tile) {
        const int left = tile % view.tiles_x * TILE, top = tile / view.tiles_x * TILE;
        const size_t columns = static_cast<size_t>(std::min(TILE, view.width - left));
        bool meets = false;
        for (int y = top; y < std::min(top + TILE, view.height) && !meets; ++y)
            meets = std::memchr(request.search.region + static_cast<size_t>(y) * request.search.stride + left, 1, columns) != nullptr;
        if (meets) searched_.push_back(static_cast<uint32_t>(tile));
    }
    const size_t across = static_cast<size_t>(view.tiles_x) + 1;
    searched_sums_.assign(across * (static_cast<size_t>(view.tiles_y) + 1), 0);
    for (const uint32_t tile : searched_) {
        const uint32_t columns = static_cast<uint32_t>(view.tiles_x);
        searched_sums_[(tile / columns + 1) * across + tile % columns + 1] = 1;
    }
    for (size_t i = across; i < searched_sums_.size(); ++i)
        if (i % across) searched_sums_[i] += searched_sums_[i - 1] + searched_sums_[i - across] - searched_sums_[i - across - 1];
}

// Keeps, of `count` records with their depths, those whose bounding box meets a tile that is searched; returns how many.
int FrameRenderer::keep_searched(const View& view, Record* records, uint32_t* depths, int count) const {
    const size_t across = static_cast<size_t>(view.tiles_x) + 1;
    int kept = 0;
    for (int i = 0; i < count; ++i) {
        const Record& record = records[i];
        const uint32_t* above = &searched_sums_[(record.tile >> 16) * across + (record.tile & 0xffff)];
        const uint32_t *below = above + (record.span >> 16) * across, columns = record.span & 0xffff;
        if (below[columns] - below[0] == above[columns] - above[0]) continue;
        records[kept] = record, depths[kept] = depths[i], ++kept;
    }
    return kept;
}

void FrameRenderer::search(const Request& request) {
    const View& view = request.view;
    constexpr int FEW = RUN / 4;  // a region has not many tiles
    const int tiles = static_cast<int>(searched_.size());
    threads_.run((tiles + FEW - 1) / FEW, [&](int piece, int thread) {
        for (int at = piece * FEW; at < std::min(tiles, (piece + 1) * FEW); ++at) {
            if (request.interrupt && *request.interrupt) return;
            const int tile = static_cast<int>(searched_[at]);
            Buffer<uint32_t>& list = lists_[2 * thread];
            const uint32_t count = gather_tile(static_cast<uint32_t>(tile), list);
            kernels_.search({&view, records_.data(), list.data(), count, tile % view.tiles_x, tile / view.tiles_x, {}, {}}, request.search);
        }
    });
}

void FrameRenderer::pull(const Request& request) {
    const View& view = request.view;
    threads_.run(view.tiles_x * view.tiles_y, [&](int tile, int thread) {
        if (request.interrupt && *request.interrupt) return;
        Buffer<uint32_t>& list = lists_[2 * thread];
        const uint32_t count = gather_tile(static_cast<uint32_t>(tile), list);
        kernels_.pull({&view, records_.data(), list.data(), count, tile % view.tiles_x, tile / view.tiles_x, {}, {}}, request.pull);
    });
}

TileLists FrameRenderer::tile_lists(const View& view) const {
    TileLists lists;
    lists.starts.push_back(0);
    Buffer<uint32_t> list;
    for (uint32_t tile = 0; tile < static_cast<uint32_t>(view.tiles_x * view.tiles_y); ++tile) {
        const uint32_t count = gather_tile(tile, list);
        lists.records.insert(lists.records.end(), list.data(), list.data() + count);
        lists.starts.push_back(static_cast<uint32_t>(lists.records.size()));
    }
    return lists;
}

}  // namespace splats
