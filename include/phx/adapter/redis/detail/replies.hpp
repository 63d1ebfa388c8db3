#ifndef PHX_ADAPTER_REDIS_DETAIL_REPLIES_HPP
#define PHX_ADAPTER_REDIS_DETAIL_REPLIES_HPP
// Replies of Redis (RESP 2), parsed by hiredis. A peer cannot make it allocate by announcing a size: replies of pub/sub have
// at most four elements and are not nested, others are refused; text is allocated once it is complete.

#include <phx/core/error.hpp>

#include <hiredis/hiredis.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// One reply; its memory is used again for the next.
struct redis_reply {
  enum class kind : std::uint8_t { status, error, integer, text, nil, array };
  struct element {
    redis_reply::kind kind = redis_reply::kind::nil;
    std::string text{};
    std::int64_t integer = 0;
  };
  static constexpr std::size_t max_elements = 4;

  element itself{};  ///< the reply, unless it is an array
  std::array<element, max_elements> elements{};
  std::size_t count = 0;  ///< of an array

  /// The payload of a message that came for a subscription.
  [[nodiscard]] bool is_message(std::string_view& payload) const noexcept {
    if (itself.kind != kind::array || count != 3 || elements[0].text != "message") return false;
    if (elements[0].kind != kind::text || elements[2].kind != kind::text) return false;
    payload = elements[2].text;
    return true;
  }
};

/// Call feed() with what was received, then next() until it needs more. After a failure it cannot be used any more.
class redis_replies {
 public:
  enum class state : std::uint8_t { reply, need_more, failed };

  redis_replies() : reader_(redisReaderCreateWithFunctions(functions())) {
    if (reader_ != nullptr) reader_->privdata = this;
  }
  redis_replies(redis_replies const&) = delete;
  redis_replies& operator=(redis_replies const&) = delete;
  ~redis_replies() {
    if (reader_ != nullptr) redisReaderFree(reader_);
  }

  /// @return false: no memory.
  [[nodiscard]] bool feed(char const* bytes, std::size_t size) noexcept {
    return reader_ != nullptr && redisReaderFeed(reader_, bytes, size) == REDIS_OK;
  }
  [[nodiscard]] state next() noexcept {
    void* found = nullptr;
    if (reader_ == nullptr || redisReaderGetReply(reader_, &found) != REDIS_OK) return state::failed;
    return found == nullptr ? state::need_more : state::reply;
  }
  /// The last reply; valid until next() is called again.
  [[nodiscard]] redis_reply const& reply() const noexcept { return reply_; }
  /// Bytes of the reply that is not complete yet.
  [[nodiscard]] std::size_t buffered() const noexcept { return reader_ == nullptr ? 0 : reader_->len - reader_->pos; }
  /// Why it failed.
  [[nodiscard]] std::string_view error() const noexcept {
    if (unexpected_) return "a reply that pub/sub does not have";
    return reader_ == nullptr || reader_->err == 0 ? "no memory" : reader_->errstr;
  }

 private:
  using task = redisReadTask const*;

  [[nodiscard]] static redisReplyObjectFunctions* functions() noexcept {
    // `auto` because versions of hiredis differ in that type. The functions for RESP 3 stay null: this client uses RESP 2.
    static redisReplyObjectFunctions table = [] {
      redisReplyObjectFunctions f{};
      f.createString = [](task t, char* text, std::size_t size) -> void* {
        return of(t).put(t, kind_of(t), {text, size}, 0);
      };
      f.createArray = [](task t, auto count) -> void* { return of(t).put_array(t, static_cast<std::size_t>(count)); };
      f.createInteger = [](task t, long long value) -> void* { return of(t).put(t, redis_reply::kind::integer, {}, value); };
      f.createNil = [](task t) -> void* { return of(t).put(t, redis_reply::kind::nil, {}, 0); };
      f.freeObject = [](void*) {};
      return f;
    }();
    return &table;
  }
  [[nodiscard]] static redis_replies& of(task t) noexcept { return *static_cast<redis_replies*>(t->privdata); }
  [[nodiscard]] static redis_reply::kind kind_of(task t) noexcept {
    return t->type == REDIS_REPLY_STATUS  ? redis_reply::kind::status
           : t->type == REDIS_REPLY_ERROR ? redis_reply::kind::error
                                          : redis_reply::kind::text;
  }
  /// @return null, which hiredis takes for a failure: unexpected, or no memory.
  [[nodiscard]] void* put(task t, redis_reply::kind kind, std::string_view text, std::int64_t integer) noexcept {
    auto const index = static_cast<std::size_t>(t->idx);
    if (t->parent != nullptr && index >= redis_reply::max_elements) {
      unexpected_ = true;
      return nullptr;
    }
    redis_reply::element& into = t->parent == nullptr ? reply_.itself : reply_.elements[index];
    if (t->parent == nullptr) reply_.count = 0;
    into.kind = kind;
    into.integer = integer;
    return try_invoke([&] { into.text = text; }, [](char const*) {}) ? this : nullptr;
  }
  [[nodiscard]] void* put_array(task t, std::size_t count) noexcept {
    if (t->parent != nullptr || count > redis_reply::max_elements) {
      unexpected_ = true;
      return nullptr;
    }
    reply_.itself = {redis_reply::kind::array, {}, 0};
    reply_.count = count;
    return this;
  }

  redisReader* reader_;
  redis_reply reply_{};
  bool unexpected_ = false;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
