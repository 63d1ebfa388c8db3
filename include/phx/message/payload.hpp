#ifndef PHX_MESSAGE_PAYLOAD_HPP
#define PHX_MESSAGE_PAYLOAD_HPP
// The payload of a message: JSON text or raw bytes (protocol 2). JSON stays text and is parsed only when a handler calls
// get(), so a relayed payload keeps its exact bytes, and big integers are not rounded.

#include <phx/core/text/json.hpp>
#include <phx/core/memory.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {
struct payload_access;
}
class payload;

/// How a T is written to a payload and read from one. An adapter of a JSON library specialises it for every type that the
/// library converts (adapter/nlohmann.hpp). You may specialise it for a type of yours, which takes precedence:
/// @code
///   template <>
///   struct phx::json_traits<point> {
///     static phx::payload write(point const&);              // may throw
///     static phx::result<point> read(phx::payload const&);  // errc::wrong_shape, with the field at fault in `entry`
///   };
/// @endcode
/// Either function may be left out. As with std::hash, include the specialisation before the first use of T as a payload in
/// every translation unit; otherwise the program violates the one-definition rule.
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

/// JSON text or raw bytes, at most 4 GiB less 64. Make one with json, binary or trusted_json, or pass a value that
/// json_traits can write; read one with raw or get. Immutable and reference-counted: a copy shares the bytes and may go to
/// another thread. The payload of a received message refers to the receive buffer instead; copying it copies the bytes, so
/// that a copy is always safe to keep. @par Cost: a copy is one atomic increment; of a received one, an allocation.
class payload {
 public:
  /// `{}`
  payload() noexcept = default;
  /// @param text checked and copied. If it is not JSON, the payload is !valid(), and sending it returns an error.
  /// @param from the allocator of the copy.
  [[nodiscard]] static payload json(std::string_view text, memory const& from = {}) noexcept {
    return phx::json::valid(text) ? copied(text, shape_of(text), from) : invalid();
  }
  /// @param bytes any bytes; copied. Only clients of version 2 can receive them (protocol 3.4).
  /// @param from the allocator of the copy.
  [[nodiscard]] static payload binary(std::string_view bytes, memory const& from = {}) noexcept {
    return copied(bytes, shape::bytes, from);
  }
  /// JSON text that a JSON library has written: copied, not checked. @param from the allocator of the copy.
  /// @pre `text` is valid JSON; phx sends it as it is.
  [[nodiscard]] static payload trusted_json(std::string_view text, memory const& from = {}) noexcept {
    return copied(text, shape_of(text), from);
  }
  /// A value that a JSON library writes, so that `ctx.push("moved", m)` takes a struct of yours (see json_traits). The
  /// conversion runs in your code, before phx is called, and throws what the library throws.
  /// @par Cost: the library's text, and one copy of it.
  template <class T>
  requires(!std::is_base_of_v<payload, T>) && JsonWritable<T> payload(T const& value)
      : payload(json_traits<T>::write(value)) {}

  /// Shares the bytes; copies those of a received message.
  payload(payload const& other) noexcept { copy(other); }
  /// Takes the bytes over; `other` becomes `{}`.
  payload(payload&& other) noexcept
      : data_(std::exchange(other.data_, "{}")),
        owner_(std::exchange(other.owner_, nullptr)),
        size_(std::exchange(other.size_, 2)),
        shape_(std::exchange(other.shape_, shape::object)),
        borrowed_(std::exchange(other.borrowed_, false)) {}
  /// As the copy constructor; releases the bytes it had.
  payload& operator=(payload const& other) noexcept {
    if (this != &other) {
      drop();
      copy(other);
    }
    return *this;
  }
  /// As the move constructor; releases the bytes it had.
  payload& operator=(payload&& other) noexcept {
    if (this != &other) {
      drop();
      new (this) payload(std::move(other));
    }
    return *this;
  }
  ~payload() { drop(); }

  /// The JSON text, unchanged, or the bytes. Valid as long as this payload.
  [[nodiscard]] std::string_view raw() const noexcept { return {data_, size_}; }
  /// True for raw bytes, false for JSON.
  [[nodiscard]] bool is_binary() const noexcept { return shape_ == shape::bytes; }
  /// True for a JSON object. Pushes and broadcasts must be an object, or bytes.
  [[nodiscard]] bool is_object() const noexcept { return shape_ == shape::object; }
  /// False if the text was not JSON, or memory ran out.
  [[nodiscard]] bool valid() const noexcept { return shape_ != shape::nothing; }
  /// This payload as a value: a tree, or a struct of yours (see json_traits).
  /// @return errc::not_json for bytes; errc::wrong_shape with the field at fault in `entry`, if the library can name it.
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
    if (owner_ != nullptr) owner_->add_ref();
  }
  void drop() noexcept {
    if (owner_ != nullptr) owner_->drop_ref();
    owner_ = nullptr;
  }

  char const* data_ = "{}";
  detail::block* owner_ = nullptr;
  std::uint32_t size_ = 2;
  shape shape_ = shape::object;
  bool borrowed_ = false;
};

namespace detail {
/// For phx and serializers: payloads that refer to bytes they do not own.
struct payload_access {
  [[nodiscard]] static payload borrow(std::string_view bytes, bool binary) noexcept {
    payload p;
    p.data_ = bytes.data() == nullptr ? "" : bytes.data();
    p.size_ = static_cast<std::uint32_t>(bytes.size());
    p.shape_ = binary ? payload::shape::bytes : payload::shape_of(bytes);
    p.borrowed_ = true;
    return p;
  }
  /// Makes `into` refer to `value`: one JSON value without spaces around it.
  static void borrow_json(std::string_view value, payload& into) noexcept {
    into.drop();
    into.data_ = value.data();
    into.size_ = static_cast<std::uint32_t>(value.size());
    into.shape_ = value.front() == '{' ? payload::shape::object : payload::shape::other;
    into.borrowed_ = true;
  }
  /// A payload that refers to the bytes of `p` without counting, for a record that does not outlive `p`.
  [[nodiscard]] static payload lend(payload const& p) noexcept {
    payload q;
    q.data_ = p.data_;
    q.size_ = p.size_;
    q.shape_ = p.shape_;
    q.borrowed_ = true;
    return q;
  }
  [[nodiscard]] static bool borrowed(payload const& p) noexcept { return p.borrowed_; }
  /// A binary payload of all parts in order; !valid() if memory runs out.
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
