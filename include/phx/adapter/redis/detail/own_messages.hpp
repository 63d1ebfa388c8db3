#ifndef PHX_ADAPTER_REDIS_DETAIL_OWN_MESSAGES_HPP
#define PHX_ADAPTER_REDIS_DETAIL_OWN_MESSAGES_HPP

#include <phx/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Which of the messages that carry this node's name this node published: Redis sends them back to it. Any other one is from
/// a second node of the same name. It compares hashes, and errs on the side of silence. One thread.
class own_messages {
 public:
  /// They were handed to Redis, in this order.
  void sent(std::vector<std::size_t> const& hashes) {
    if (current_.size() + hashes.size() > bound) {
      overflow_ = true;
      current_.clear();
    } else if (!overflow_) {
      current_.insert(current_.end(), hashes.begin(), hashes.end());
    }
  }
  /// It is the one that is due: nearly always so. Any other message is for came_back(), once its name has been read.
  [[nodiscard]] bool is_next(std::size_t hash) noexcept {
    if (current_.empty() || current_.front() != hash) return false;
    current_.pop_front();
    return true;
  }
  /// One came back. @return false: this node did not send it.
  [[nodiscard]] bool came_back(std::size_t hash) noexcept {
    if (overflow_ || take(current_, hash)) return true;
    return take(previous_, hash);
  }
  /// What the last connection sent may still come, in the new one as well.
  void new_connection() noexcept {
    previous_ = std::move(current_);
    current_.clear();
    overflow_ = false;
  }

 private:
  static constexpr std::size_t bound = 100'000;

  [[nodiscard]] static bool take(std::deque<std::size_t>& hashes, std::size_t hash) noexcept {
    auto const found = std::find(hashes.begin(), hashes.end(), hash);
    if (found == hashes.end()) return false;
    hashes.erase(found);
    return true;
  }

  std::deque<std::size_t> current_{}, previous_{};
  bool overflow_ = false;  // more is on its way than is kept: until the next connection nothing can be told
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
