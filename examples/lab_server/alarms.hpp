#ifndef EXAMPLES_LAB_SERVER_ALARMS_HPP
#define EXAMPLES_LAB_SERVER_ALARMS_HPP
// Timers that run outside the loop: they reply to a message long after its handler has returned, on another thread. (A
// channel that sends a message to itself uses send_after of its context instead, which ends with the channel.)

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace lab {

/// Timers, for any thread. An interface, so that a test can simulate the time.
class alarms {
 public:
  virtual void after(std::chrono::milliseconds delay, std::function<void()> callback) = 0;

 protected:
  ~alarms() = default;
};

/// Timers on a thread of its own, by the steady clock. Those that wait when it is destroyed do not run.
class alarm_clock final : public alarms {
 public:
  alarm_clock() : thread_([this] { run(); }) {}
  alarm_clock(alarm_clock const&) = delete;
  alarm_clock& operator=(alarm_clock const&) = delete;
  ~alarm_clock() { stop(); }
  /// No timer runs once it has returned, so that what they refer to may be destroyed. Do not call it from a timer.
  void stop() {
    {
      std::lock_guard const hold(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  void after(std::chrono::milliseconds delay, std::function<void()> callback) override {
    {
      std::lock_guard const hold(mutex_);
      waiting_.emplace(std::chrono::steady_clock::now() + delay, std::move(callback));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock hold(mutex_);
    while (!stopping_) {
      if (waiting_.empty()) {
        changed_.wait(hold);
      } else if (auto const first = waiting_.begin(); first->first > std::chrono::steady_clock::now()) {
        changed_.wait_until(hold, std::chrono::steady_clock::time_point(first->first));
      } else {
        std::function<void()> const due = std::move(first->second);
        waiting_.erase(first);
        hold.unlock();
        due();
        hold.lock();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lab

#endif
