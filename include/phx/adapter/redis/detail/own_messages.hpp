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

/// Recognises the messages that this node published, which Redis sends back to it. A message with this node's name that is
/// not one of them comes from a second node of the same name. It compares hashes; when in doubt the message counts as this
/// node's. One thread.
class own_messages {
 public:
  /// These were sent to Redis, in this order.
  void sent(std::vector<std::size_t> const& hashes) {
    if (current_.size() + hashes.size() > bound) {
      overflow_ = true;
      current_.clear();
    } else if (!overflow_) {
      current_.insert(current_.end(), hashes.begin(), hashes.end());
    }
  }
  /// Whether it is the next one that should come back: the common case, without reading the message. If not, read its name
  /// and call came_back().
  [[nodiscard]] bool is_next(std::size_t hash) noexcept {
    if (current_.empty() || current_.front() != hash) return false;
    current_.pop_front();
    return true;
  }
  /// A message with this node's name was received. @return false: this node did not send it.
  [[nodiscard]] bool came_back(std::size_t hash) noexcept {
    if (overflow_ || take(current_, hash)) return true;
    return take(previous_, hash);
  }
  /// Messages sent on the last connection may still be received on the new one.
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
  bool overflow_ = false;  // more were sent than are kept: nothing is known until the next connection
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
