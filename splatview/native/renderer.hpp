// One frame: project, sort by depth, bin into tiles, blend (or search).
#pragma once
#include <atomic>
#include <string>

#include "memory.hpp"
#include "threads.hpp"
#include "types.hpp"

namespace splats {

struct Request {
    View view;
    std::vector<LayerView> layers;
    float background[3];
    Images images;
    Search search;                      // nothing is drawn if something is looked for
    Pull pull;                          // likewise
    const volatile uint8_t* interrupt;  // may be null
    bool is_strip;
    uint32_t overdraw_limit;  // the nearest Gaussians of a tile that are blended
};

struct Report {
    double project_ms, sort_ms, bin_ms, blend_ms;
    uint32_t drawn;
    uint64_t pairs;
    bool finished;
};

// A Gaussian-tile pair list for tests: the tile's records, front to back.
struct TileLists {
    std::vector<uint32_t> starts, records;
};

const Kernels& choose_kernels(const std::string& wanted);  // "" picks the fastest; throws std::invalid_argument if it cannot run here

class FrameRenderer {
public:
    FrameRenderer(const std::string& simd, int threads);
    Report render(const Request& request);
    Threads& threads() { return threads_; }
    const char* simd() const { return kernels_.name; }
    size_t bytes() const;
    void set_least_spare(int64_t bytes) { least_spare_ = bytes; }
    const Record* records() const { return records_.data(); }
    TileLists tile_lists(const View& view) const;

private:
    struct alignas(128) Segment {  // the tile lists of a range of depths, as chains of links; aligned: each belongs to one thread
        Buffer<uint32_t> entries, next, first, links, cursors;  // cursors: where a tile's next entry goes; a multiple of the link: no room
        uint32_t used = 0, most = 0, full = 0;                  // links; tiles that have had their share
        uint64_t pairs = 0;
        void start(uint32_t tiles, uint32_t most_links);
        void add(uint32_t tile, uint32_t record);
        uint32_t extend(uint32_t tile, uint32_t cursor);
    };
    struct ChunkOf {
        uint32_t layer, first_block, last_block, base;
    };
    struct VisibleOf {  // what a chunk's projection found: how many, and the least and greatest bits of their depths
        uint32_t count, low, high;
    };

    std::vector<int> strips(const Request& request) const;
    void draw(const Request& strip, Report& report);
    void project(const Request& request);
    uint32_t sort();
    void bin(const Request& request, uint32_t count);
    void bin_range(const View& view, uint32_t first, uint32_t last, Segment& segment) const;
    uint32_t gather_tile(uint32_t tile, Buffer<uint32_t>& list) const;
    void blend(const Request& request);
    void find_searched(const Request& request);
    int keep_searched(const View& view, Record* records, uint32_t* depths, int count) const;
    void search(const Request& request);
    void pull(const Request& request);

    const Kernels& kernels_;
    Threads threads_;
    int64_t least_spare_ = int64_t{16} << 20;  // bytes that any frame may take
    struct Scratch {                           // a thread's current chunk
        Buffer<Record> records;
        Buffer<uint32_t> depths;
    };
    std::vector<ChunkOf> chunks_;
    std::vector<Scratch> scratch_;
    Buffer<Record> records_;
    Buffer<VisibleOf> visible_;
    Buffer<uint32_t> depths_, sorted_, histograms_;
    Buffer<uint64_t> keyed_;
    std::vector<Segment> segments_;
    uint32_t overdraw_limit_ = UINT32_MAX;
    std::vector<Buffer<uint32_t>> lists_;  // a thread's current tile and its next
    // The tiles that meet the region; and how many of them lie above and to the left of each corner of tiles.
    std::vector<uint32_t> searched_, searched_sums_;
};

}  // namespace splats
