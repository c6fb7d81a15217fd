#include "threads.hpp"

#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
static void relax() { _mm_pause(); }
#else
static void relax() {}
#endif

namespace splats {
namespace {
constexpr int SPINS = 2000;  // a few tens of microseconds: the next stage of a frame comes at once
}

Threads::Threads(int count) {
    for (int thread = 1; thread < count; ++thread) workers_.emplace_back([this, thread] { serve(thread); });
}

Threads::~Threads() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        round_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void Threads::share(int thread) {
    try {
        for (int piece; (piece = next_.fetch_add(1, std::memory_order_relaxed)) < pieces_;) (*work_)(piece, thread);
    } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
        next_.store(pieces_, std::memory_order_relaxed);
    }
}

void Threads::run(int pieces, const std::function<void(int, int)>& work) {
    if (workers_.empty() || pieces <= 1) {
        for (int piece = 0; piece < pieces; ++piece) work(piece, 0);
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex_);
        work_ = &work, pieces_ = pieces;
        next_.store(0, std::memory_order_relaxed);
        busy_.store(static_cast<int>(workers_.size()));
        round_.fetch_add(1);
    }
    wake_.notify_all();
    share(0);
    for (int spin = 0; spin < SPINS && busy_.load(std::memory_order_acquire); ++spin) relax();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_.load() == 0; });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Threads::serve(int thread) {
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && round_.load(std::memory_order_acquire) == seen; ++spin) relax();
        {
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return round_.load() != seen; });
            seen = round_.load();
            if (stop_) return;
        }
        share(thread);
        if (busy_.fetch_sub(1) == 1) {
            std::lock_guard<std::mutex> lock(mutex_);
            done_.notify_one();
        }
    }
}

}  // namespace splats
