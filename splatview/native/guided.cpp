#include "guided.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace splats {

void sum_blocks(const Guided& task, int each, int row, float* sums) {
    const int samples_x = (task.width + each - 1) / each, samples_y = (task.height + each - 1) / each;
    std::memset(sums, 0, sizeof(float) * GUIDE_SUMS * static_cast<size_t>(task.columns));
    auto first = [](int block, int samples, int blocks) {
        return static_cast<int>((int64_t{block} * samples + blocks - 1) / blocks);  // of the samples whose block is this or a later one
    };
    for (int y = first(row, samples_y, task.rows); y < first(row + 1, samples_y, task.rows); ++y)
        for (int block = 0, x = 0; block < task.columns; ++block) {
            float* sum = sums + GUIDE_SUMS * block;
            for (const int end = first(block + 1, samples_x, task.columns); x < end; ++x) {
                const size_t at = static_cast<size_t>(y) * each * task.width + static_cast<size_t>(x) * each;
                if (!task.known[at]) continue;
                sum[0] += 1;
                for (int c = 0; c < 3; ++c) {
                    const float from = task.rendered[3 * at + c], to = task.found[3 * at + c];
                    sum[1 + c] += from, sum[4 + c] += to, sum[7 + c] += from * to, sum[10 + c] += from * from;
                }
            }
        }
}

namespace {

struct Between {
    int low, high;
    float share;  // of the higher
};

// Where the middle of a pixel is among the middles of blocks.
Between between(int pixel, int size, int blocks) {
    const float at = (static_cast<float>(pixel) + 0.5f) * static_cast<float>(blocks) / static_cast<float>(size) - 0.5f;
    const float kept = std::clamp(at, 0.0f, static_cast<float>(blocks - 1));
    const int low = static_cast<int>(kept);
    return {low, std::min(low + 1, blocks - 1), kept - static_cast<float>(low)};
}

}  // namespace

void fill_rows(const Guided& task, const float* lines, int top, int bottom) {
    constexpr size_t LINE = 6;
    const size_t numbers = LINE * static_cast<size_t>(task.columns), width = static_cast<size_t>(task.width);
    std::vector<float> here(numbers);
    std::vector<Between> across(width);
    for (int x = 0; x < task.width; ++x) across[static_cast<size_t>(x)] = between(x, task.width, task.columns);
    for (int y = top; y < bottom; ++y) {
        const Between down = between(y, task.height, task.rows);
        const float *low = lines + numbers * down.low, *high = lines + numbers * down.high;
        for (size_t i = 0; i < numbers; ++i) here[i] = low[i] + down.share * (high[i] - low[i]);
        const uint8_t* known = task.known + static_cast<size_t>(y) * width;
        for (size_t x = 0; x < width; ++x) {
            const void* next = std::memchr(known + x, 0, width - x);
            if (!next) break;
            x = static_cast<size_t>(static_cast<const uint8_t*>(next) - known);
            const float *left = here.data() + LINE * across[x].low, *right = here.data() + LINE * across[x].high;
            const size_t at = 3 * (static_cast<size_t>(y) * width + x);
            float line[LINE];
            for (size_t i = 0; i < LINE; ++i) line[i] = left[i] + across[x].share * (right[i] - left[i]);
            for (size_t c = 0; c < 3; ++c) {
                const float value = task.rendered[at + c] * line[c] + line[3 + c] + 0.5f;
                task.found[at + c] = static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
            }
        }
    }
}

}  // namespace splats
