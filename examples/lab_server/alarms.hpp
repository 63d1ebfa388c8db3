#ifndef EXAMPLES_LAB_SERVER_ALARMS_HPP
#define EXAMPLES_LAB_SERVER_ALARMS_HPP
// "After so many milliseconds, from outside": what answers a push long after its handler has returned, and from another
// thread. (A channel that only wants to hear from itself uses send_after of its context, which ends with the channel.)

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace lab {

/// From any thread. An interface, so that a test can move time by hand.
class alarms {
 public:
  virtual void after(std::chrono::milliseconds delay, std::function<void()> item) = 0;

 protected:
  ~alarms() = default;
};

/// A thread of its own and the steady clock. What is still waiting when it is destroyed does not happen.
class alarm_clock final : public alarms {
 public:
  alarm_clock() : thread_([this] { run(); }) {}
  alarm_clock(alarm_clock const&) = delete;
  alarm_clock& operator=(alarm_clock const&) = delete;
  ~alarm_clock() { stop(); }
  /// Nothing goes off any more once it returns: whom the alarms would reach may go. Not from an alarm.
  void stop() {
    {
      std::lock_guard const hold(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  void after(std::chrono::milliseconds delay, std::function<void()> item) override {
    {
      std::lock_guard const hold(mutex_);
      waiting_.emplace(std::chrono::steady_clock::now() + delay, std::move(item));
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
