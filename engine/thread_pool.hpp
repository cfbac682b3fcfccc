#pragma once
// The threads behind parallel_for. A job is a number of pieces; whoever runs takes the next one, the calling thread
// included, and nobody waits for a thread that has not begun. On a machine whose cores do other work too, a caller
// that gets the only core does every piece itself. Threads that have nothing to do look for work for a short
// time, then sleep.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace simsmoe {

class ThreadPool {
 public:
  using Call = void (*)(const void* context, std::int64_t piece);

  // The pool of the process. It is never destroyed: its threads sleep until the process ends.
  static ThreadPool& instance();

  // call(context, i) for every i in [0, pieces), on this thread and at most threads - 1 others; returns when all of
  // them are done. `call` must not throw. While a job is running, the caller of another one does its pieces alone.
  void run(std::int64_t pieces, int threads, Call call, const void* context);

  // True within `call`, on any thread.
  static bool in_piece();

  // How long a thread that waits looks for work before it sleeps: shorter where other programs want the cores, too.
  std::chrono::microseconds spin_time() const;

 private:
  ThreadPool() = default;
  void start_workers(int count);
  void work(int index);
  bool can_take(int index) const;
  bool take_and_run(int index);
  void wait_for_workers();
  void look_for_other_programs();

  // The job's number (high half) and its pieces that nobody has taken (low half), in one word: who takes a piece takes
  // it from the job that it saw, which cannot end before that piece is done. The other members of a job are written
  // before this word and hence valid for whoever has taken a piece.
  // What threads wait for has a cache line of its own.
  alignas(64) std::atomic<std::uint64_t> free_pieces_{0};
  alignas(64) std::atomic<std::int64_t> unfinished_{0};
  alignas(64) std::atomic<int> threads_{1};
  std::atomic<Call> call_{nullptr};
  std::atomic<const void*> context_{nullptr};

  std::mutex one_job_;  // held by the caller of run(); guards the four below
  int workers_ = 0;
  bool can_start_ = true;  // false once the system refused a thread
  std::chrono::steady_clock::time_point last_look_{};
  std::chrono::nanoseconds waited_{0};  // for a core, until the last look
  std::atomic<bool> machine_is_busy_{false};

  std::mutex sleep_;
  std::condition_variable job_begins_, job_ends_;
  std::atomic<int> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
};

}  // namespace simsmoe
