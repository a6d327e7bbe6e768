#include "threads.h"

#include <system_error>

namespace lqe {
namespace {

constexpr int kLooks = 4000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

Threads::~Threads() {
  {
    std::lock_guard<std::mutex> lock(state_);
    stop_ = true;
    ++round_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Threads::take_parts(const Task& task, int parts, int worker) {
  for (int part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < parts;) task(part, worker);
}

void Threads::run(int threads, int parts, const Task& task) {
  if (threads <= 1 || parts <= 1) {
    for (int part = 0; part < parts; ++part) task(part, 0);
    return;
  }
  std::lock_guard<std::mutex> turn(turn_);
  {
    std::lock_guard<std::mutex> lock(state_);
    try {
      while (int(workers_.size()) < threads - 1)
        workers_.emplace_back(&Threads::work, this, int(workers_.size()) + 1);
    } catch (const std::system_error&) {
      // The system gives no more threads: those that there are do the work.
    }
    task_ = &task;
    parts_ = parts;
    wanted_ = threads;
    next_.store(0, std::memory_order_relaxed);
    ++round_;
  }
  wake_.notify_all();
  take_parts(task, parts, 0);
  {
    std::lock_guard<std::mutex> lock(state_);
    task_ = nullptr;
  }
  while (inside_.load(std::memory_order_acquire) != 0) pause();
}

void Threads::work(int worker) {
  unsigned seen = 0;
  for (;;) {
    for (int look = 0; look < kLooks && round_.load(std::memory_order_acquire) == seen; ++look) pause();
    const Task* task;
    int parts;
    {
      std::unique_lock<std::mutex> lock(state_);
      wake_.wait(lock, [&] { return round_ != seen; });
      seen = round_;
      if (stop_) return;
      if (task_ == nullptr || worker >= wanted_) continue;
      task = task_;
      parts = parts_;
      inside_.fetch_add(1, std::memory_order_relaxed);
    }
    take_parts(*task, parts, worker);
    inside_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace lqe
