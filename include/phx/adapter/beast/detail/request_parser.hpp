#ifndef PHX_ADAPTER_BEAST_DETAIL_REQUEST_PARSER_HPP
#define PHX_ADAPTER_BEAST_DETAIL_REQUEST_PARSER_HPP
// Reads the HTTP requests of one connection, one after the other, with Beast's parser; and refuses what Beast's parser
// accepts but a proxy in front of the server may read in another way.

#include <phx/adapter/beast/detail/operation_memory.hpp>
#include <phx/core/text/ascii.hpp>
#include <phx/http/request.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// A body that grows as it comes: http::string_body would reserve as much as the content-length announces.
struct growing_body {
  using value_type = std::string;
  class reader {
   public:
    template <bool IsRequest, class Fields>
    reader(boost::beast::http::header<IsRequest, Fields>&, value_type& body) noexcept : body_(body) {}
    template <class Length>
    void init(Length const&, error_code& ec) noexcept {
      ec = {};
    }
    template <class Buffers>
    std::size_t put(Buffers const& buffers, error_code& ec) {
      std::size_t const before = body_.size();
      for (auto it = net::buffer_sequence_begin(buffers); it != net::buffer_sequence_end(buffers); ++it) {
        net::const_buffer const part(*it);
        body_.append(static_cast<char const*>(part.data()), part.size());
      }
      ec = {};
      return body_.size() - before;
    }
    void finish(error_code& ec) noexcept { ec = {}; }

   private:
    value_type& body_;
  };
};

/// Call start() for each request, then for what the socket gives: prepare, commit, advance until it needs more. The views it
/// gives are valid until start() or release(). Members that allocate throw std::bad_alloc.
class request_parser {
 public:
  enum class step : std::uint8_t {
    need_more,  ///< of the client's bytes
    head,       ///< once for each request: the head is complete; call allow_body before advance()
    complete,   ///< the request is
    failed      ///< it is answered with error_status()
  };

  explicit request_parser(std::uint32_t head_bytes) : head_bytes_(head_bytes), bytes_(std::size_t{head_bytes} + 4096) {}

  void start() {
    begun_ = has_head_ = false;
    parser_.emplace();
    parser_->header_limit(head_bytes_);
    parser_->body_limit((std::numeric_limits<std::uint64_t>::max)());  // until the head tells which limit is due
  }
  [[nodiscard]] step advance() {
    if (!skip_empty_lines()) return step::need_more;
    while (bytes_.size() != 0 && !parser_->is_done()) {
      error_code ec;
      std::size_t const used = parser_->put(bytes_.data(), ec);
      bytes_.consume(used);
      if (ec == boost::beast::http::error::need_more) ec = {};
      if (ec) return fail(status_of(ec));
      if (!has_head_ && parser_->is_header_done()) {
        read_headers();
        has_head_ = true;
        return step::head;
      }
      if (used == 0) break;
    }
    if (parser_->is_done()) return step::complete;
    if (full()) return fail(has_head_ ? 400 : 431);
    return step::need_more;
  }
  [[nodiscard]] std::uint16_t error_status() const noexcept { return error_status_; }

  // ---- bytes from the socket

  [[nodiscard]] std::span<char> prepare() {
    auto const to = bytes_.prepare((std::min)(read_size, bytes_.max_size() - bytes_.size()));
    return {static_cast<char*>(to.data()), to.size()};
  }
  void commit(std::size_t n) noexcept { bytes_.commit(n); }
  /// Bytes behind the request: the next request, or a WebSocket's first frames.
  [[nodiscard]] std::span<char> rest() noexcept {
    auto const data = bytes_.data();
    return {static_cast<char*>(data.data()), data.size()};
  }
  [[nodiscard]] bool has_rest() const noexcept { return bytes_.size() != 0; }
  [[nodiscard]] bool full() const noexcept { return bytes_.size() == bytes_.max_size(); }
  void discard_rest() noexcept { bytes_.clear(); }
  /// Frees the request's memory; the bytes behind it stay.
  void release() noexcept {
    parser_.reset();
    headers_.clear();
    if (bytes_.size() == 0) bytes_ = boost::beast::flat_buffer(bytes_.max_size());
  }

  // ---- the request

  /// Some of it has come.
  [[nodiscard]] bool begun() const noexcept { return begun_; }
  [[nodiscard]] bool has_head() const noexcept { return has_head_; }
  [[nodiscard]] std::string_view method() const { return view(parser_->get().method_string()); }
  [[nodiscard]] std::string_view target() const { return view(parser_->get().target()); }
  /// Without the trailers of a chunked body: a proxy that checked the headers has not seen those.
  [[nodiscard]] std::vector<header> const& headers() const noexcept { return headers_; }
  [[nodiscard]] unsigned version() const { return parser_->get().version(); }
  [[nodiscard]] bool persistent() const { return parser_->get().keep_alive() && version() >= 11; }
  [[nodiscard]] bool is_head_request() const { return parser_->get().method() == boost::beast::http::verb::head; }
  [[nodiscard]] std::string_view body() const { return parser_->get().body(); }
  [[nodiscard]] bool chunked() const { return parser_->chunked(); }
  /// There is a body, and nothing of it has come.
  [[nodiscard]] bool body_missing() const { return !parser_->is_done() && bytes_.size() == 0; }
  /// False: the body is announced to be larger.
  [[nodiscard]] bool allow_body(std::uint64_t limit) {
    if (auto const length = parser_->content_length(); length && *length > limit) return false;
    parser_->body_limit(limit);
    parser_->eager(true);
    return true;
  }
  /// False: another server or proxy might see another request in it. Beast ignores a transfer-encoding it does not know, and
  /// reads the body as the next request; it accepts several lengths that agree; and it takes a fragment for part of the
  /// target.
  [[nodiscard]] bool unambiguous() const noexcept {
    using phx::detail::equal_ignoring_case;
    std::size_t hosts = 0, lengths = 0;
    if (parser_->get().target().find('#') != boost::beast::string_view::npos) return false;
    for (header const& h : headers_) {
      if (equal_ignoring_case(h.name, "content-length")) lengths += h.value.find(',') == std::string_view::npos ? 1u : 2u;
      if (equal_ignoring_case(h.name, "transfer-encoding") &&
          (!equal_ignoring_case(h.value, "chunked") || parser_->get().version() < 11))
        return false;
      hosts += equal_ignoring_case(h.name, "host") ? 1u : 0u;
    }
    return hosts < 2 && lengths < 2;
  }

 private:
  static constexpr std::size_t read_size = 16 * 1024;

  template <class Text>
  [[nodiscard]] static std::string_view view(Text const& text) noexcept {
    return {text.data(), text.size()};
  }
  [[nodiscard]] static std::uint16_t status_of(error_code ec) noexcept {
    using boost::beast::http::error;
    if (ec == error::header_limit || ec == error::buffer_overflow) return 431;
    if (ec == error::body_limit) return 413;
    if (ec == error::bad_version) return 505;
    return 400;
  }
  [[nodiscard]] step fail(std::uint16_t status) noexcept {
    error_status_ = status;
    return step::failed;
  }
  /// Empty lines before a request are ignored (RFC 9112, 2.2): old clients send one after a body. False: nothing else came.
  [[nodiscard]] bool skip_empty_lines() noexcept {
    while (!begun_ && bytes_.size() != 0) {
      auto const* const first = static_cast<char const*>(bytes_.data().data());
      if (first[0] == '\r' && bytes_.size() == 1) break;
      begun_ = first[0] != '\r' || first[1] != '\n';
      if (!begun_) bytes_.consume(2);
    }
    return begun_;
  }
  void read_headers() {
    headers_.clear();
    for (auto const& field : parser_->get()) headers_.push_back({view(field.name_string()), view(field.value())});
  }

  std::uint32_t head_bytes_;
  boost::beast::flat_buffer bytes_;
  std::optional<boost::beast::http::request_parser<growing_body>> parser_;
  std::vector<header> headers_;
  std::uint16_t error_status_ = 400;
  bool begun_ = false;
  bool has_head_ = false;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
