// Memory that a warm renderer keeps: large blocks on huge pages where the system has them.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace splats {

inline void* allocate_pages(size_t bytes) {
    constexpr size_t huge = size_t{2} << 20;
    const size_t alignment = bytes >= huge ? huge : 64;
    void* p = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (!p) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == huge) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

// An array that only grows. Its content is lost when it does, unless `keep` elements are asked for.
template <class T> class Buffer {
public:
    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    T& operator[](size_t i) { return data_.get()[i]; }
    const T& operator[](size_t i) const { return data_.get()[i]; }
    size_t capacity() const { return capacity_; }
    size_t bytes() const { return capacity_ * sizeof(T); }

    void reserve(size_t count, size_t keep = 0) {
        if (count <= capacity_) return;
        if (keep > capacity_) keep = capacity_;
        if (keep && count < capacity_ * 2) count = capacity_ * 2;
        std::unique_ptr<T, Free> grown(static_cast<T*>(allocate_pages(count * sizeof(T))));
        if (keep) std::memcpy(static_cast<void*>(grown.get()), data_.get(), keep * sizeof(T));
        data_ = std::move(grown);
        capacity_ = count;
    }

private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T, Free> data_;
    size_t capacity_ = 0;
};

// Blocks for pictures: a picture that the caller has dropped gives its block to the next one.
class Pool : public std::enable_shared_from_this<Pool> {
public:
    ~Pool() {
        for (auto& block : free_) std::free(block.data);
    }

    // At least `bytes`; goes back to the pool when the pointer dies.
    std::shared_ptr<void> take(size_t bytes) {
        Block block{nullptr, bytes};
        {
            std::lock_guard<std::mutex> lock(mutex_);
            for (size_t i = 0; i < free_.size(); ++i)
                if (free_[i].bytes >= bytes && free_[i].bytes <= bytes + bytes / 2) {
                    block = free_[i];
                    free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
                    break;
                }
        }
        if (!block.data) block.data = allocate_pages(bytes);
        return {block.data, [pool = weak_from_this(), block](void*) {
                    if (auto alive = pool.lock())
                        alive->put(block);
                    else
                        std::free(block.data);
                }};
    }

private:
    struct Block {
        void* data;
        size_t bytes;
    };
    static constexpr size_t MOST = size_t{128} << 20;  // bytes that wait: the oldest go first

    void put(Block block) {
        std::lock_guard<std::mutex> lock(mutex_);
        free_.push_back(block);
        size_t waiting = 0;
        for (const Block& each : free_) waiting += each.bytes;
        while (waiting > MOST) {
            waiting -= free_.front().bytes;
            std::free(free_.front().data);
            free_.erase(free_.begin());
        }
    }

    std::mutex mutex_;
    std::vector<Block> free_;
};

}  // namespace splats
