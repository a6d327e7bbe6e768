// A small pool of threads. Workers look for work a few microseconds before they sleep, so the convolutions of
// a network find them awake.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lqe {

class Threads {
 public:
  // task(part, worker): worker is below the number of threads that run() was given.
  using Task = std::function<void(int part, int worker)>;

  Threads() = default;
  ~Threads();
  Threads(const Threads&) = delete;

  // Calls the task for every part below `parts`, on up to `threads` threads, this one among them. Callers take turns.
  void run(int threads, int parts, const Task& task);

 private:
  void work(int worker);
  void take_parts(const Task& task, int parts, int worker);

  std::mutex turn_;   // held by the caller that uses the pool
  std::mutex state_;  // guards what follows, but for the atomics
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  const Task* task_ = nullptr;  // null while no work is open
  int parts_ = 0, wanted_ = 0;
  std::atomic<unsigned> round_{0};  // counts up with every piece of work
  std::atomic<int> next_{0};        // the first part that nobody has taken
  std::atomic<int> inside_{0};      // workers that are on the open work
  std::atomic<bool> stop_{false};
};

}  // namespace lqe
