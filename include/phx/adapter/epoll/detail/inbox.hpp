#ifndef PHX_ADAPTER_EPOLL_DETAIL_INBOX_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_INBOX_HPP
// What other threads ask of a loop of the epoll host. Late answers may outlive the server, so it is shared with them.

#include <phx/adapter/epoll/detail/net.hpp>
#include <phx/http/response.hpp>
#include <phx/loop/loop.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

class http_connection;
class inbox;

/// What a late_answer has of its connection. `connection` is used inside the loop only, and is null once nobody waits.
struct late_answer_state {
  late_answer_state(std::shared_ptr<inbox> of, http_connection& waiting) noexcept
      : loop(std::move(of)), connection(&waiting) {}
  std::shared_ptr<inbox> loop;
  http_connection* connection;
  http_answer answer{};
  std::shared_ptr<late_answer_state> next{};  // in the inbox
};

/// From any thread: `post`, and the waker. The loop takes.
class inbox {
 public:
  detail::waker waker{};

  /// Needs no memory.
  void post(std::shared_ptr<late_answer_state> const& answered) noexcept {
    {
      std::lock_guard const hold(mutex_);
      if (closed_) return;
      answered->next = std::exchange(answers_, answered);
    }
    waker.wake();
  }
  /// A connection that another loop has accepted. False without memory, and when the loop has ended: then it is still the
  /// caller's.
  [[nodiscard]] bool post(arrival& client) noexcept {
    bool taken = false;
    {
      std::lock_guard const hold(mutex_);
      taken = !closed_ && try_invoke([&] { clients_.push_back(std::move(client)); }, [](char const*) noexcept {});
    }
    if (taken) waker.wake();
    return taken;
  }
  /// @par Errors: std::bad_alloc.
  void post(std::function<void(phx::loop&)> task) {
    {
      std::lock_guard const hold(mutex_);
      if (closed_) return;
      tasks_.push_back(std::move(task));
    }
    waker.wake();
  }

  struct content {
    std::shared_ptr<late_answer_state> answers{};
    std::vector<arrival> clients{};
    std::vector<std::function<void(phx::loop&)>> tasks{};

    content() = default;
    content(content&&) = default;
    content& operator=(content&&) = delete;
    ~content() {
      while (next_answer()) {
      }
    }
    /// One by one: a chain destroyed at once would be as deep as it is long.
    [[nodiscard]] std::shared_ptr<late_answer_state> next_answer() noexcept {
      std::shared_ptr<late_answer_state> first = std::move(answers);
      answers = nullptr;
      if (first) answers = std::exchange(first->next, nullptr);
      return first;
    }
  };
  [[nodiscard]] content take() noexcept {
    content all;
    std::lock_guard const hold(mutex_);
    all.answers.swap(answers_);
    all.clients.swap(clients_);
    all.tasks.swap(tasks_);
    return all;
  }
  /// What is posted from now on is dropped.
  [[nodiscard]] content close() noexcept {
    {
      std::lock_guard const hold(mutex_);
      closed_ = true;
    }
    return take();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<late_answer_state> answers_{};
  std::vector<arrival> clients_{};
  std::vector<std::function<void(phx::loop&)>> tasks_{};
  bool closed_ = false;
};

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
