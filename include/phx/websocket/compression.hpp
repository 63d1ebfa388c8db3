#ifndef PHX_WEBSOCKET_COMPRESSION_HPP
#define PHX_WEBSOCKET_COMPRESSION_HPP
// permessage-deflate (RFC 7692), the part that needs no zlib: its options, its negotiation, and the interface through which
// a host compresses and inflates. websocket/deflate.hpp implements it, so that a host offers compression without linking
// zlib:
//
//     phx::beast::options opts;
//     opts.compression = phx::websocket::permessage_deflate();   // of websocket/deflate.hpp, target phx::deflate
//
// A host uses it as follows:
//
//     auto per_loop = opts.compression.make_compressor(limits.memory);                 // for each loop; null: off
//     auto [codec, answer] = per_loop->accept(request.headers, limits.frame);          // for each upgrade
//     write_switching_protocols(out, request, subprotocol, answer.view());
//     frame_reader reader(limits.frame, codec != nullptr);                             // null: uncompressed
//     phx::receive_frames(socket, reader, bytes, now, write, codec.get());             // bytes in
//     queue.push(codec ? codec->compress(f) : f);                                      // in Transport::send

#include <phx/core/text/ascii.hpp>
#include <phx/http/request.hpp>
#include <phx/message/frame.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace websocket {

/// The options of a server for permessage-deflate. Values out of range are clamped.
///
/// By default each message is compressed by itself, in both directions. A broadcast is then compressed once in each loop and
/// all its recipients get the same bytes, and a connection costs some 64 bytes; each loop has one compressor of
/// 2^(server_window_bits + 2) + 2^(memory_level + 9) bytes, 256 KiB, and 40 KiB while a compressed message arrives in parts.
///
/// With context takeover a message is compressed with reference to earlier ones: small messages that resemble each
/// other get smaller still. It costs each connection its own windows, from its first compressed message on, and each
/// recipient its own compression of a broadcast.
struct deflate_options {
  int level = 6;  ///< 1, fastest, to 9, smallest
  /// Shorter messages are sent uncompressed, and so are those that compression does not make smaller.
  std::size_t min_size = 256;
  /// The window for sending, 2^n bytes: 9 to 15. A client may request a smaller one.
  std::uint8_t server_window_bits = 15;
  /// The window that clients are asked to use, 2^n bytes: 9 to 15. Only clients that offer `client_max_window_bits` can be
  /// asked; it saves memory with `client_context_takeover` alone.
  std::uint8_t client_window_bits = 15;
  /// zlib's memLevel, 1 to 9: memory of a compressor.
  int memory_level = 8;
  /// A compressor for each connection, 256 KiB with the default window: 2^(server_window_bits + 2) + 2^(memory_level + 9)
  /// bytes.
  bool server_context_takeover = false;
  /// A window for each connection that sends compressed messages: 8 KiB and 2^client_window_bits bytes, 40 KiB by default.
  bool client_context_takeover = false;
};

/// The value of Sec-WebSocket-Extensions in a response. A value that owns its text; allocates nothing.
class extension_answer {
 public:
  /// The text for the header.
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  friend struct deflate_terms;
  void append(std::string_view more) noexcept {
    for (char const c : more) text_[size_++] = c;
  }
  void append_bits(std::string_view name, unsigned bits) noexcept {
    append(name);
    if (bits >= 10) text_[size_++] = '1';
    text_[size_++] = static_cast<char>('0' + bits % 10);
  }
  std::array<char, 144> text_{};
  std::uint8_t size_ = 0;
};

/// The negotiated parameters of a connection (RFC 7692, section 7.1).
struct deflate_terms {
  /// Each message that the server sends may refer to those before it.
  bool server_context_takeover = false;
  /// Each message that the client sends may refer to those before it.
  bool client_context_takeover = false;
  std::uint8_t server_window_bits = 15;  ///< 9 to 15
  std::uint8_t client_window_bits = 15;  ///< 8 to 15
  bool names_server_bits = false;        ///< the answer has `server_max_window_bits`
  bool names_client_bits = false;        ///< the answer has `client_max_window_bits`

  /// The header's value in the 101 response.
  [[nodiscard]] extension_answer answer() const noexcept {
    extension_answer out;
    out.append("permessage-deflate");
    if (!server_context_takeover) out.append("; server_no_context_takeover");
    if (!client_context_takeover) out.append("; client_no_context_takeover");
    if (names_server_bits) out.append_bits("; server_max_window_bits=", server_window_bits);
    if (names_client_bits) out.append_bits("; client_max_window_bits=", client_window_bits);
    return out;
  }
};

}  // namespace websocket

namespace detail {

/// As next_part, but ignores separators in quotes (RFC 9110, section 5.6.4).
[[nodiscard]] constexpr std::string_view next_unquoted_part(std::string_view& rest, char separator) noexcept {
  bool quoted = false;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (quoted && rest[i] == '\\') {
      ++i;
    } else if (rest[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && rest[i] == separator) {
      std::string_view const part = rest.substr(0, i);
      rest.remove_prefix(i + 1);
      return part;
    }
  }
  return std::exchange(rest, {});
}
/// 8 to 15 without leading zeros, bare or in quotes; 0 for anything else.
[[nodiscard]] constexpr std::uint8_t deflate_window_bits(std::string_view text) noexcept {
  if (text.size() > 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  if (text == "8" || text == "9") return static_cast<std::uint8_t>(text[0] - '0');
  if (text.size() == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5')
    return static_cast<std::uint8_t>(10 + text[1] - '0');
  return 0;
}
[[nodiscard]] constexpr std::uint8_t deflate_bits_in_range(std::uint8_t bits) noexcept {
  return bits < 9 ? std::uint8_t{9} : bits > 15 ? std::uint8_t{15} : bits;
}
/// One element of Sec-WebSocket-Extensions. Nothing: another extension, or declined.
[[nodiscard]] constexpr std::optional<websocket::deflate_terms> deflate_offer(
    std::string_view offer, websocket::deflate_options const& wanted) noexcept {
  bool server_no_takeover = false, client_no_takeover = false, client_bits_offered = false;
  std::uint8_t server_bits = 0, client_bits = 0;
  bool more = false;
  auto const next = [&] {
    std::size_t const before = offer.size();
    std::string_view const part = next_unquoted_part(offer, ';');
    more = part.size() < before;  // a separator was removed: a parameter has to follow
    return part;
  };
  if (trimmed(next()) != "permessage-deflate") return std::nullopt;
  while (more) {
    std::string_view value = next();
    bool const has_value = value.find('=') != std::string_view::npos;
    std::string_view const name = trimmed(next_part(value, '='));
    std::uint8_t const bits = deflate_window_bits(trimmed(value));
    if (name == "server_no_context_takeover" && !has_value && !server_no_takeover) {
      server_no_takeover = true;
    } else if (name == "client_no_context_takeover" && !has_value && !client_no_takeover) {
      client_no_takeover = true;
    } else if (name == "server_max_window_bits" && server_bits == 0 && bits >= 9) {
      server_bits = bits;
    } else if (name == "client_max_window_bits" && !client_bits_offered && (!has_value || bits != 0)) {
      client_bits_offered = true;
      client_bits = has_value ? bits : std::uint8_t{15};
    } else {
      return std::nullopt;
    }
  }
  websocket::deflate_terms terms;
  terms.server_context_takeover = wanted.server_context_takeover && !server_no_takeover;
  terms.client_context_takeover = wanted.client_context_takeover && !client_no_takeover;
  std::uint8_t const server_most = deflate_bits_in_range(wanted.server_window_bits);
  terms.server_window_bits = server_bits != 0 && server_bits < server_most ? server_bits : server_most;
  terms.names_server_bits = server_bits != 0 || server_most < 15;
  std::uint8_t const client_most = deflate_bits_in_range(wanted.client_window_bits);
  terms.names_client_bits = client_bits_offered && client_most < 15;
  if (terms.names_client_bits) terms.client_window_bits = client_bits < client_most ? client_bits : client_most;
  return terms;
}

}  // namespace detail

namespace websocket {

/// The first offer of permessage-deflate in a request's Sec-WebSocket-Extensions that a server with these options can
/// accept; nothing if there is none: the connection stays uncompressed. An offer is declined for a parameter that is
/// unknown, duplicate or has an invalid value (RFC 7692, section 7.1), and for `server_max_window_bits=8`, since zlib makes
/// no such window.
[[nodiscard]] constexpr std::optional<deflate_terms> negotiate_deflate(std::span<http::header const> headers,
                                                                       deflate_options const& wanted) noexcept {
  for (http::header const& h : headers) {
    if (!detail::equal_ignoring_case(h.name, "sec-websocket-extensions")) continue;
    for (std::string_view rest = h.value; !rest.empty();)
      if (auto const terms = detail::deflate_offer(detail::next_unquoted_part(rest, ','), wanted)) return terms;
  }
  return std::nullopt;
}

/// A piece of an inflated message.
struct inflated {
  std::string_view part{};  ///< valid until the next `inflate` of any codec of its loop
  bool last = false;        ///< it completes the message
  bool more = false;        ///< call inflate again before you bring more bytes
  std::uint16_t code = 0;   ///< not 0: close with it. 1007: not a deflate stream; 1009: too large; 1011: no memory
};

/// Compresses and inflates for one connection, inside its loop. Destroy it before its compressor.
class message_codec {
 public:
  message_codec() = default;
  message_codec(message_codec const&) = delete;
  message_codec& operator=(message_codec const&) = delete;
  virtual ~message_codec() = default;

  /// The frame to write instead of `f`: the compressed message as a frame whose websocket() has RSV1 set, or `f` itself if
  /// it is small, does not get smaller, or memory ran out. Frames go out in the order of these calls.
  /// @return valid until the next `compress` of any codec of its loop; copy the handle. @pre !f.empty()
  [[nodiscard]] virtual frame const& compress(frame const& f) noexcept = 0;
  /// Call it if the frame of the last compress is not sent, since your queue has no memory. With context takeover the client
  /// would otherwise miss a part of its window.
  virtual void not_sent() noexcept = 0;
  /// Inflates the next piece of a message whose frame_event has `compressed`. Call it until `more` is false.
  /// @param bytes frame_event::part; what was read is removed @param last frame_event::last
  [[nodiscard]] virtual inflated inflate(std::string_view& bytes, bool last) noexcept = 0;
};

/// The result of compressor::accept.
struct accepted_compression {
  std::unique_ptr<message_codec> codec{};  ///< null: the connection stays uncompressed
  extension_answer answer{};               ///< for the 101 response; empty without a codec
};

/// Shared by the connections of one loop: compressor and window, and the last broadcasts with their compressed form. Used
/// inside its loop.
class compressor {
 public:
  /// @param options of the negotiation too
  explicit compressor(deflate_options const& options) noexcept : options_(options) {}
  compressor(compressor const&) = delete;
  compressor& operator=(compressor const&) = delete;
  virtual ~compressor() = default;

  /// The codec of a connection with the negotiated `terms`. @param max_message bytes that a message may inflate to:
  /// limits::frame
  /// @return null without memory
  [[nodiscard]] virtual std::unique_ptr<message_codec> open(deflate_terms const& terms,
                                                            std::size_t max_message) noexcept = 0;

  /// Negotiates with the client that sent these headers, see negotiate_deflate, and opens its codec.
  /// @param max_message bytes that a message may inflate to: limits::frame
  [[nodiscard]] accepted_compression accept(std::span<http::header const> headers, std::size_t max_message) noexcept {
    accepted_compression agreed;
    if (auto const terms = negotiate_deflate(headers, options_)) {
      agreed.codec = open(*terms, max_message);
      if (agreed.codec != nullptr) agreed.answer = terms->answer();
    }
    return agreed;
  }
  /// The options it was made with.
  [[nodiscard]] deflate_options const& options() const noexcept { return options_; }

 private:
  deflate_options const options_;
};

/// Whether and how a host compresses: a value for its options. Empty by default: nothing is compressed, and no program needs
/// zlib. permessage_deflate() of websocket/deflate.hpp makes one that does.
class compression {
 public:
  /// Makes the compressor of one loop. Must not throw; null without memory.
  using factory = std::unique_ptr<compressor> (*)(deflate_options const&, memory const&) noexcept;

  constexpr compression() noexcept = default;
  /// For an implementation of your own.
  constexpr compression(deflate_options const& options, factory make) noexcept : options_(options), make_(make) {}

  /// Whether anything is compressed.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return make_ != nullptr; }
  /// For one loop. @param from limits::memory; copied @return null if nothing is compressed, and without memory
  [[nodiscard]] std::unique_ptr<compressor> make_compressor(memory const& from = {}) const noexcept {
    return make_ == nullptr ? nullptr : make_(options_, from);
  }

 private:
  deflate_options options_{};
  factory make_ = nullptr;
};

/// The result of deliver_inflated.
struct inflate_result {
  bool open = true;        ///< false: `deliver` returned false, and the codec may be destroyed
  std::uint16_t code = 0;  ///< not 0: close with it
};
/// Inflates all of `bytes` and calls `deliver(part, last) -> bool` for each piece, until that returns false.
template <class Deliver>
[[nodiscard]] inflate_result deliver_inflated(message_codec& codec, std::string_view bytes, bool last,
                                              Deliver&& deliver) noexcept {
  for (;;) {
    inflated const piece = codec.inflate(bytes, last);
    if (piece.code != 0) return {true, piece.code};
    bool const more = piece.more;
    if ((!piece.part.empty() || piece.last) && !deliver(piece.part, piece.last)) return {false, 0};
    if (!more) return {};
  }
}

}  // namespace websocket
}  // namespace PHX_BUILD
}  // namespace phx

#endif
