// A pool of threads that share numbered pieces of work.
#pragma once
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace splats {

class Threads {
public:
    explicit Threads(int count);
    ~Threads();
    int count() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls work(piece, thread) for every piece, the caller's thread included; returns when all are done. Pieces are handed out in order.
    // The first exception ends the work and is thrown here.
    void run(int pieces, const std::function<void(int piece, int thread)>& work);

private:
    void serve(int thread);
    void share(int thread);

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(int, int)>* work_ = nullptr;
    std::atomic<int> next_{0}, busy_{0};
    std::atomic<unsigned> round_{0};
    int pieces_ = 0;
    std::exception_ptr failure_;
    bool stop_ = false;
};

}  // namespace splats
