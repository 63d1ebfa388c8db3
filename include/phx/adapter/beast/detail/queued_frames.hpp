#ifndef PHX_ADAPTER_BEAST_DETAIL_QUEUED_FRAMES_HPP
#define PHX_ADAPTER_BEAST_DETAIL_QUEUED_FRAMES_HPP
// Nodes of the write queues of all connections of one loop.

#include <phx/message/frame.hpp>

#include <cstdint>
#include <new>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

struct queued_frame {
  queued_frame* next = nullptr;
  frame bytes{};
};

/// Keeps nodes for reuse, so that a queue that fills and empties does not go to the heap each time. Inside one strand.
class queued_frame_pool {
 public:
  queued_frame_pool() = default;
  queued_frame_pool(queued_frame_pool const&) = delete;
  queued_frame_pool& operator=(queued_frame_pool const&) = delete;
  ~queued_frame_pool() {
    while (free_ != nullptr) delete std::exchange(free_, free_->next);
  }
  /// Null: no memory.
  [[nodiscard]] queued_frame* acquire() noexcept {
    if (free_ == nullptr) return new (std::nothrow) queued_frame;
    --size_;
    queued_frame* const node = std::exchange(free_, free_->next);
    node->next = nullptr;
    return node;
  }
  void release(queued_frame* node) noexcept {
    node->bytes = frame();
    if (size_ == max_size) return delete node;
    ++size_;
    node->next = std::exchange(free_, node);
  }

 private:
  static constexpr std::uint32_t max_size = 64 * 1024;  // 1 MiB
  queued_frame* free_ = nullptr;
  std::uint32_t size_ = 0;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
