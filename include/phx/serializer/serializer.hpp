#ifndef PHX_SERIALIZER_SERIALIZER_HPP
#define PHX_SERIALIZER_SERIALIZER_HPP
// Serializers: the concept, a type-erased reference to one, and the choice by `vsn` (protocol 3.1).

#include <phx/message/frame.hpp>
#include <phx/core/limits.hpp>
#include <phx/message/message.hpp>
#include <phx/serializer/version.hpp>

#include <concepts>
#include <span>

namespace phx {
inline namespace PHX_BUILD {

/// What a decoder gets besides the bytes: the limits to enforce, and memory for text that is not in the frame in the form it
/// is needed (an unescaped topic, a payload translated to JSON). A decoder calls room(); its loop calls reset() after each
/// message. Owns its memory; used on the loop's thread.
class scratch {
 public:
  /// @param from the allocator.
  explicit scratch(memory const& from) noexcept : from_(from) {}
  scratch(scratch const&) = delete;
  scratch& operator=(scratch const&) = delete;
  ~scratch() {
    reset();
    release(first_);
  }

  std::uint32_t name = limits{}.name;              ///< limits::name of this socket's mount
  std::uint32_t json_depth = limits{}.json_depth;  ///< limits::json_depth likewise

  /// `n` bytes that are valid until the message has been handled; null without memory.
  [[nodiscard]] char* room(std::size_t n) noexcept {
    if (n == 0) n = 1;
    chunk* into = first_;
    if (into == nullptr || into->size - into->used < n) {
      std::size_t const size = n < 4096 ? 4096 : n;
      void* const at = from_.allocate(sizeof(chunk) + size);
      if (at == nullptr) return nullptr;
      into = new (at) chunk{first_, size, 0};
      first_ = into;
    }
    char* const given = reinterpret_cast<char*>(into + 1) + into->used;
    into->used += n;
    return given;
  }
  /// Frees everything but one small chunk. The loop calls it between messages.
  void reset() noexcept {
    while (first_ != nullptr && (first_->next != nullptr || first_->size > 4096))
      release(std::exchange(first_, first_->next));
    if (first_ != nullptr) first_->used = 0;
  }

 private:
  struct chunk {
    chunk* next;
    std::size_t size, used;
  };
  void release(chunk* c) noexcept {
    if (c != nullptr) from_.release(c, sizeof(chunk) + c->size);
  }
  memory from_;
  chunk* first_ = nullptr;
};

/// How generations of Phoenix differ in behaviour. (In the bytes they differ by their encode functions.)
struct wire_rules {
  bool duplicate_join_refused = false;     ///< 1.0, 1.1: a second join is refused, `already joined`; the old channel stays
  bool leave_of_unjoined_answered = true;  ///< before 1.5 a leave of a topic that is not joined is an unmatched topic
};

// clang-format off
template <class S>
concept has_requirement = requires {
  { S::requirement } -> std::convertible_to<std::string_view>;
};
template <class S>
concept decodes = requires(opcode op, std::string_view in, scratch& room, message& out) {
  { S::decode(op, in, room, out) } noexcept -> std::same_as<errc>;
};
template <class S, class Record>
concept encodes = requires(frame_builder& out, Record const& record) {
  { S::encode(out, record) } noexcept -> std::same_as<errc>;
};
// clang-format on

/// One version of the wire format: a type with static functions and no state, called on any loop's thread.
/// requirement: the `vsn` it serves, as an Elixir requirement such as "~> 2.0.0"; of a mount's serializers the first match
///   is chosen.
/// decode: reads one whole message from an untrusted client, and fills `out` with views of `in` and of memory from `room`.
///   A text message has not been checked to be UTF-8. Any result but errc::none closes the connection (3.6).
/// encode: calls out.start and appends. On an error nothing is sent and the caller gets the error (3.5). If it does not call
///   start, nothing is sent. A payload's `raw()` is valid JSON, or bytes if `is_binary()`.
/// rules, optional: a constexpr wire_rules.
template <class S>
concept Serializer = has_requirement<S> && decodes<S> && encodes<S, reply> && encodes<S, push> && encodes<S, broadcast>;

/// A type-erased reference to a serializer, the size of a pointer. Owns nothing: a serializer has no state. Refs to the same
/// type are equal. Make one with of<S>(), list it in mount::serializers.
class serializer_ref {
 public:
  serializer_ref() = default;
  /// The reference to a serializer type.
  template <Serializer S>
  [[nodiscard]] static serializer_ref of() noexcept {
    return serializer_ref(&table_of<S>);
  }

  /// False for a default-constructed one; nothing else may then be called.
  [[nodiscard]] explicit operator bool() const noexcept { return table_ != nullptr; }
  /// True if both refer to the same serializer.
  [[nodiscard]] friend bool operator==(serializer_ref a, serializer_ref b) noexcept { return a.table_ == b.table_; }
  /// The `vsn` it serves.
  [[nodiscard]] std::string_view requirement() const noexcept { return table_->requirement; }
  /// How its generation of Phoenix behaves.
  [[nodiscard]] wire_rules const& rules() const noexcept { return table_->rules; }
  /// See Serializer.
  [[nodiscard]] errc decode(opcode op, std::string_view in, scratch& room, message& out) const noexcept {
    return table_->decode(op, in, room, out);
  }
  /// See Serializer.
  [[nodiscard]] errc encode(frame_builder& out, reply const& r) const noexcept { return table_->encode_reply(out, r); }
  /// See Serializer.
  [[nodiscard]] errc encode(frame_builder& out, push const& p) const noexcept { return table_->encode_push(out, p); }
  /// See Serializer.
  [[nodiscard]] errc encode(frame_builder& out, broadcast const& b) const noexcept {
    return table_->encode_broadcast(out, b);
  }

 private:
  struct table {
    std::string_view requirement;
    wire_rules rules;
    errc (*decode)(opcode, std::string_view, scratch&, message&) noexcept;
    errc (*encode_reply)(frame_builder&, reply const&) noexcept;
    errc (*encode_push)(frame_builder&, push const&) noexcept;
    errc (*encode_broadcast)(frame_builder&, broadcast const&) noexcept;
  };
  template <class S>
  [[nodiscard]] static constexpr wire_rules rules_of() noexcept {
    if constexpr (requires { S::rules; })
      return S::rules;
    else
      return {};
  }
  template <class S>
  static constexpr table table_of{
      S::requirement,
      rules_of<S>(),
      [](opcode op, std::string_view in, scratch& room, message& out) noexcept { return S::decode(op, in, room, out); },
      [](frame_builder& out, reply const& r) noexcept { return S::encode(out, r); },
      [](frame_builder& out, push const& p) noexcept { return S::encode(out, p); },
      [](frame_builder& out, broadcast const& b) noexcept { return S::encode(out, b); }};

  explicit serializer_ref(table const* t) noexcept : table_(t) {}
  table const* table_ = nullptr;
};

/// The first of `offered` whose requirement `vsn` meets; null if none does, or if `vsn` is not a version (3.1).
[[nodiscard]] inline serializer_ref choose(std::span<serializer_ref const> offered, std::string_view vsn) noexcept {
  for (serializer_ref const s : offered)
    if (satisfies(vsn, s.requirement())) return s;
  return {};
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif
