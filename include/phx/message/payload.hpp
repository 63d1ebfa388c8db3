#ifndef PHX_MESSAGE_PAYLOAD_HPP
#define PHX_MESSAGE_PAYLOAD_HPP
// What a message carries: JSON text or raw bytes (protocol 2). Payloads travel as text and are parsed only by a handler
// that asks, so a relayed payload keeps its bytes and big integers survive.

#include <phx/core/text/json.hpp>
#include <phx/core/memory.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {
struct payload_access;
}
class payload;

/// How a T becomes a payload, and how it is read from one. The adapter of a JSON library specialises it for all that it
/// converts (adapter/nlohmann.hpp); you may for a type of yours, and yours then wins:
/// @code
///   template <>
///   struct phx::json_traits<point> {
///     static phx::payload write(point const&);              // may throw
///     static phx::result<point> read(phx::payload const&);  // errc::wrong_shape, and in `entry` the field at fault
///   };
/// @endcode
/// Either function may be left out. As with std::hash: include the specialisation in every unit that uses a T as a payload,
/// before its first use, or two units would disagree on what a T is.
template <class T>
struct json_traits {};
/// A type that can be passed where a payload is asked for.
template <class T>
concept JsonWritable = requires(T const& value) {
  { json_traits<T>::write(value) } -> std::same_as<payload>;
};
/// A type that payload::get can read.
template <class T>
concept JsonReadable = requires(payload const& p) {
  { json_traits<T>::read(p) } -> std::same_as<result<T>>;
};

/// JSON text or raw bytes, at most 4 GiB less 64. Counted: a copy shares the bytes and may go to another thread.
/// The payload of a message borrows the frame it came in; copying *that* one makes bytes of its own, so no copy dangles.
class payload {
 public:
  /// `{}`
  payload() noexcept = default;
  /// @param text checked here, copied. What is not JSON makes a payload that is !valid(): sending it is an error value.
  [[nodiscard]] static payload json(std::string_view text, memory const& from = {}) noexcept {
    return phx::json::valid(text) ? copied(text, shape_of(text), from) : invalid();
  }
  /// @param bytes copied; any bytes. Carried by the V2 serializer only (protocol 3.4).
  [[nodiscard]] static payload binary(std::string_view bytes, memory const& from = {}) noexcept {
    return copied(bytes, shape::bytes, from);
  }
  /// JSON text by somebody who made it with a JSON library: not checked again.
  /// @pre `text` is valid JSON; phx sends it as it is.
  [[nodiscard]] static payload trusted_json(std::string_view text, memory const& from = {}) noexcept {
    return copied(text, shape_of(text), from);
  }
  /// A value that a JSON library writes, so that `here.push("moved", m)` takes a struct of yours (see json_traits). It is
  /// written where it is passed, in your code: what the library throws is thrown there, before phx is called.
  /// @par Cost: the library's text, and one copy of it.
  template <class T>
  requires(!std::is_base_of_v<payload, T>) && JsonWritable<T> payload(T const& value)
      : payload(json_traits<T>::write(value)) {}

  /// Shares the bytes; a borrowed payload is copied.
  payload(payload const& other) noexcept { copy(other); }
  /// Shares the bytes; a borrowed payload is copied.
  payload(payload&& other) noexcept
      : data_(std::exchange(other.data_, "{}")),
        owner_(std::exchange(other.owner_, nullptr)),
        size_(std::exchange(other.size_, 2)),
        shape_(std::exchange(other.shape_, shape::object)),
        borrowed_(std::exchange(other.borrowed_, false)) {}
  /// Lets go of the bytes it held.
  payload& operator=(payload const& other) noexcept {
    if (this != &other) {
      drop();
      copy(other);
    }
    return *this;
  }
  /// Lets go of the bytes it held.
  payload& operator=(payload&& other) noexcept {
    if (this != &other) {
      drop();
      new (this) payload(std::move(other));
    }
    return *this;
  }
  ~payload() { drop(); }

  /// The JSON text as it came, or the bytes. Lives as long as this payload.
  [[nodiscard]] std::string_view raw() const noexcept { return {data_, size_}; }
  /// Raw bytes, not JSON?
  [[nodiscard]] bool is_binary() const noexcept { return shape_ == shape::bytes; }
  /// A JSON object? Pushes and broadcasts must be one, or bytes.
  [[nodiscard]] bool is_object() const noexcept { return shape_ == shape::object; }
  /// False for text that was not JSON, and when there was no memory.
  [[nodiscard]] bool valid() const noexcept { return shape_ != shape::nothing; }
  /// This payload as a value: a tree, or a struct of yours (see json_traits).
  /// @return errc::not_json for bytes; errc::wrong_shape, and in `entry` the field at fault, where the library can name it.
  template <class T>
  requires JsonReadable<T>
  [[nodiscard]] result<T> get() const { return json_traits<T>::read(*this); }

 private:
  friend struct detail::payload_access;
  enum class shape : std::uint8_t { object, other, bytes, nothing };

  [[nodiscard]] static shape shape_of(std::string_view text) noexcept {
    std::size_t const at = text.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && text[at] == '{' ? shape::object : shape::other;
  }
  [[nodiscard]] static payload invalid() noexcept {
    payload p;
    p.data_ = "";
    p.size_ = 0;
    p.shape_ = shape::nothing;
    return p;
  }
  [[nodiscard]] static payload copied(std::string_view from_bytes, shape s, memory const& from) noexcept {
    detail::block* const owner = detail::block::make(from, from_bytes.size());
    if (owner == nullptr) return invalid();
    if (!from_bytes.empty()) std::memcpy(owner->bytes(), from_bytes.data(), from_bytes.size());
    payload p;
    p.data_ = owner->bytes();
    p.owner_ = owner;
    p.size_ = static_cast<std::uint32_t>(from_bytes.size());
    p.shape_ = s;
    return p;
  }
  void copy(payload const& other) noexcept {
    if (other.borrowed_) {
      new (this) payload(copied(other.raw(), other.shape_, {}));
      return;
    }
    data_ = other.data_;
    owner_ = other.owner_;
    size_ = other.size_;
    shape_ = other.shape_;
    borrowed_ = false;
    if (owner_ != nullptr) owner_->keep();
  }
  void drop() noexcept {
    if (owner_ != nullptr) owner_->drop();
    owner_ = nullptr;
  }

  char const* data_ = "{}";
  detail::block* owner_ = nullptr;
  std::uint32_t size_ = 2;
  shape shape_ = shape::object;
  bool borrowed_ = false;
};

namespace detail {
/// For phx and for serializers: payloads that point into a frame being read.
struct payload_access {
  [[nodiscard]] static payload borrow(std::string_view bytes, bool binary) noexcept {
    payload p;
    p.data_ = bytes.data() == nullptr ? "" : bytes.data();
    p.size_ = static_cast<std::uint32_t>(bytes.size());
    p.shape_ = binary ? payload::shape::bytes : payload::shape_of(bytes);
    p.borrowed_ = true;
    return p;
  }
  /// Makes `into` borrow the text of one JSON value, without spaces around it.
  static void borrow_json(std::string_view token, payload& into) noexcept {
    into.drop();
    into.data_ = token.data();
    into.size_ = static_cast<std::uint32_t>(token.size());
    into.shape_ = token.front() == '{' ? payload::shape::object : payload::shape::other;
    into.borrowed_ = true;
  }
  /// The same bytes without a count: for a record that does not outlive `p`.
  [[nodiscard]] static payload lend(payload const& p) noexcept {
    payload q;
    q.data_ = p.data_;
    q.size_ = p.size_;
    q.shape_ = p.shape_;
    q.borrowed_ = true;
    return q;
  }
  [[nodiscard]] static bool borrowed(payload const& p) noexcept { return p.borrowed_; }
  /// Bytes put together from parts; !valid() without memory.
  template <class... Part>
  [[nodiscard]] static payload assembled(memory const& from, Part const&... parts) noexcept {
    block* const owner = block::make(from, (std::size_t{0} + ... + parts.size()));
    if (owner == nullptr) return payload::invalid();
    payload p;
    std::size_t at = 0;
    auto const add = [&](std::string_view part) {
      if (!part.empty()) std::memcpy(owner->bytes() + at, part.data(), part.size());
      at += part.size();
    };
    (add(parts), ...);
    p.data_ = owner->bytes();
    p.owner_ = owner;
    p.size_ = static_cast<std::uint32_t>(at);
    p.shape_ = payload::shape::bytes;
    return p;
  }
  [[nodiscard]] static payload owned(payload const& p, memory const& from) noexcept {
    return p.borrowed_ ? payload::copied(p.raw(), p.shape_, from) : p;
  }
};
}  // namespace detail

}  // namespace PHX_BUILD
}  // namespace phx

#endif
