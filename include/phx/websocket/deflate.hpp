#ifndef PHX_WEBSOCKET_DEFLATE_HPP
#define PHX_WEBSOCKET_DEFLATE_HPP
// permessage-deflate (RFC 7692) by zlib: the only header of phx outside adapter/ that needs another library. CMake:
// phx::deflate. Without CMake: link zlib. Options, negotiation and use: websocket/compression.hpp.

#include <phx/core/limits.hpp>
#include <phx/websocket/compression.hpp>
#include <phx/websocket/detail/zlib_stream.hpp>

#include <array>
#include <memory>
#include <new>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Shared by the connections of one loop.
class deflate_compressor final : public websocket::compressor {
 public:
  static constexpr std::size_t room = 16 * 1024;  // of one piece, inflated or compressed

  deflate_compressor(websocket::deflate_options const& options, memory const& from) noexcept
      : compressor(options), memory_(from), pool_(memory_, kept_frames), out_(pool_) {}
  deflate_compressor(deflate_compressor const&) = delete;
  deflate_compressor& operator=(deflate_compressor const&) = delete;
  ~deflate_compressor() override {
    for (deflater* d : deflaters_) destroy(memory_, d);
    for (std::size_t i = 0; i < idle_count_; ++i) destroy(memory_, idle_[i]);
    for (char* const buffer : {inflate_buffer_, compress_buffer_})
      if (buffer != nullptr) memory_.release(buffer, room);
  }
  [[nodiscard]] std::unique_ptr<websocket::message_codec> open(websocket::deflate_terms const& terms,
                                                               std::size_t max_message) noexcept override;

  /// The buffer for inflated pieces; empty without memory. Not used to compress: while a channel handles a message, which is in
  /// this buffer, it sends others.
  [[nodiscard]] std::span<char> inflate_buffer() noexcept { return allocated(inflate_buffer_); }
  /// `f` compressed by itself, once for all connections of the loop. @return valid until the next call
  [[nodiscard]] frame const& compress_shared(frame const& f, std::uint8_t window_bits) noexcept {
    // The cache holds the frame, so no other frame can have its address. The newest first: a broadcast goes to one recipient
    // after the other; the others are for connections that get several broadcasts at once.
    char const* const address = f.data().data();
    for (std::size_t i = 1; i <= kept_frames; ++i) {
      std::size_t const at = (next_ - i) % kept_frames;
      if (addresses_[at] == address && cache_[at].window_bits == window_bits) return cache_[at].compressed;
    }
    deflater*& d = deflaters_[window_bits];
    if (d == nullptr) d = make_deflater(window_bits);
    if (d == nullptr) return f;
    d->reset();
    frame made = compress_by(*d, f);
    if (cost(f) > most_cached - cached_bytes_) {
      for (cached& c : cache_) c = {};
      addresses_ = {};
      cached_bytes_ = 0;
    }
    std::size_t const at = next_++ % kept_frames;
    cached& c = cache_[at];
    if (!c.plain.empty()) cached_bytes_ -= cost(c.plain);
    cached_bytes_ += cost(f);
    c = {f, made.empty() ? f : std::move(made), window_bits};
    addresses_[at] = address;
    return c.compressed;
  }
  /// `f` compressed with reference to what this deflater compressed before. @return valid until the next call
  [[nodiscard]] frame const& compress_own(deflater& d, frame const& f) noexcept {
    last_ = compress_by(d, f);
    return last_.empty() ? f : last_;
  }
  [[nodiscard]] deflater* make_deflater(std::uint8_t window_bits) noexcept {
    return usable(make<deflater>(memory_, memory_, options(), window_bits));
  }
  [[nodiscard]] inflater* make_inflater(std::uint8_t window_bits) noexcept {
    return usable(make<inflater>(memory_, memory_, window_bits));
  }
  /// For one message; null without memory.
  [[nodiscard]] inflater* borrow_inflater() noexcept { return idle_count_ != 0 ? idle_[--idle_count_] : make_inflater(15); }
  void return_inflater(inflater* i) noexcept {
    i->reset();
    if (idle_count_ == idle_.size()) return destroy(memory_, i);
    idle_[idle_count_++] = i;
  }
  template <class Stream>
  void destroy_stream(Stream* s) noexcept {
    destroy(memory_, s);
  }

 private:
  static constexpr std::size_t kept_frames = 32;           // a power of two: next_ wraps
  static constexpr std::size_t most_cached = 1024 * 1024;  // bytes of messages in the cache, or one message
  struct cached {
    frame plain{}, compressed{};
    std::uint8_t window_bits = 0;
  };

  [[nodiscard]] std::span<char> allocated(char*& buffer) noexcept {
    if (buffer == nullptr) buffer = static_cast<char*>(memory_.allocate(room));
    return {buffer, buffer == nullptr ? 0 : room};
  }
  [[nodiscard]] static std::size_t cost(frame const& f) noexcept {
    return f.data().size() < most_cached ? f.data().size() : most_cached;
  }
  template <class Stream>
  [[nodiscard]] Stream* usable(Stream* s) noexcept {
    if (s == nullptr || s->usable()) return s;
    destroy(memory_, s);
    return nullptr;
  }
  [[nodiscard]] frame compress_by(deflater& d, frame const& f) noexcept {
    std::span<char> const scratch = allocated(compress_buffer_);
    return scratch.empty() ? frame() : d.compress(f, out_, scratch);
  }

  memory const memory_;
  frame_pool pool_;
  frame_builder out_;
  char* inflate_buffer_ = nullptr;
  char* compress_buffer_ = nullptr;
  std::array<deflater*, 16> deflaters_{};             // by window_bits, created on demand
  std::array<char const*, kept_frames> addresses_{};  // of the frames in cache_
  std::array<cached, kept_frames> cache_{};
  std::size_t next_ = 0, cached_bytes_ = 0;
  std::array<inflater*, 4> idle_{};
  std::size_t idle_count_ = 0;
  frame last_{};
};

/// The codec of one connection: 48 bytes, and the negotiated windows.
class deflate_codec final : public websocket::message_codec {
 public:
  deflate_codec(deflate_compressor& shared, websocket::deflate_terms const& terms, std::size_t max_message) noexcept
      : shared_(shared), terms_(terms), max_message_(max_message) {}
  deflate_codec(deflate_codec const&) = delete;
  deflate_codec& operator=(deflate_codec const&) = delete;
  ~deflate_codec() override {
    if (deflater_ != nullptr) shared_.destroy_stream(deflater_);
    if (inflater_ != nullptr && terms_.client_context_takeover)
      shared_.destroy_stream(inflater_);
    else if (inflater_ != nullptr)
      shared_.return_inflater(inflater_);
  }

  [[nodiscard]] frame const& compress(frame const& f) noexcept override {
    if (f.data().size() < shared_.options().min_size) return f;
    if (!terms_.server_context_takeover) return shared_.compress_shared(f, terms_.server_window_bits);
    if (deflater_ == nullptr) deflater_ = shared_.make_deflater(terms_.server_window_bits);
    return deflater_ == nullptr ? f : shared_.compress_own(*deflater_, f);
  }
  void not_sent() noexcept override {
    if (deflater_ != nullptr) deflater_->reset();
  }
  [[nodiscard]] websocket::inflated inflate(std::string_view& bytes, bool last) noexcept override {
    if (inflater_ == nullptr)
      inflater_ = terms_.client_context_takeover ? shared_.make_inflater(window_of_client()) : shared_.borrow_inflater();
    std::span<char> const into = shared_.inflate_buffer();
    if (inflater_ == nullptr || into.empty()) return {{}, false, false, static_cast<std::uint16_t>(close_code::internal)};
    websocket::inflated const piece = inflater_->inflate(bytes, last, into, max_message_);
    if ((piece.last || piece.code != 0) && !terms_.client_context_takeover)
      shared_.return_inflater(std::exchange(inflater_, nullptr));
    return piece;
  }

 private:
  /// zlib's deflate uses a window of 9 bits if 8 are requested.
  [[nodiscard]] std::uint8_t window_of_client() const noexcept {
    return terms_.client_window_bits < 9 ? std::uint8_t{9} : terms_.client_window_bits;
  }
  deflate_compressor& shared_;
  websocket::deflate_terms const terms_;
  std::size_t const max_message_;
  deflater* deflater_ = nullptr;  // with server context takeover
  inflater* inflater_ = nullptr;  // borrowed for one message; its own with client context takeover
};

inline std::unique_ptr<websocket::message_codec> deflate_compressor::open(websocket::deflate_terms const& terms,
                                                                          std::size_t max_message) noexcept {
  return std::unique_ptr<websocket::message_codec>(new (std::nothrow) deflate_codec(*this, terms, max_message));
}

}  // namespace detail

namespace websocket {

/// permessage-deflate for a host: `opts.compression = phx::websocket::permessage_deflate({.level = 1});`
[[nodiscard]] inline compression permessage_deflate(deflate_options const& options = {}) noexcept {
  return {options, [](deflate_options const& o, memory const& from) noexcept {
            return std::unique_ptr<compressor>(new (std::nothrow) phx::detail::deflate_compressor(o, from));
          }};
}

}  // namespace websocket
}  // namespace PHX_BUILD
}  // namespace phx

#endif
