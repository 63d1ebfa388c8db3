#ifndef PHX_ERLANG_COMPRESSED_TERM_HPP
#define PHX_ERLANG_COMPRESSED_TERM_HPP
// Terms that Elixir compressed (protocol 15.3): Phoenix.Token's `compressed: true`, the Redis adapter's `compression_level`.
//
// zlib inflates them if PHX_ZLIB is defined: the targets phx::token and phx::redis define it, and link zlib, if CMake found
// zlib. Without it compressed terms are refused. All units of a program must agree.

#include <phx/core/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>

#ifdef PHX_ZLIB
#include <zlib.h>
#endif

namespace phx {
inline namespace PHX_BUILD {
#ifdef PHX_ZLIB
namespace detail {

/// Inflates all of `in` to exactly `size` bytes. False: broken, or of another size. Never makes more than `size` bytes.
[[nodiscard]] inline bool inflate_exactly(std::string_view in, std::size_t size, std::string& out) {
  struct state : z_stream {
    state() : z_stream{} {}
    state(state const&) = delete;
    state& operator=(state const&) = delete;
    ~state() { (void)inflateEnd(this); }
  } stream;
  if (in.size() > UINT32_MAX || size > UINT32_MAX || inflateInit(&stream) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // zlib only reads it
  stream.avail_in = static_cast<uInt>(in.size());
  int status = Z_OK;
  std::size_t made = 0;
  while (status == Z_OK && made < size) {  // in pieces, because the sender may lie about the size
    std::size_t const piece = size - made < 65'536 ? size - made : 65'536;
    out.resize(made + piece);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + made);
    stream.avail_out = static_cast<uInt>(piece);
    status = ::inflate(&stream, Z_NO_FLUSH);
    made += piece - stream.avail_out;
  }
  if (status == Z_OK) {  // only the end and its checksum may be left
    unsigned char surplus;
    stream.next_out = &surplus;
    stream.avail_out = 1;
    status = ::inflate(&stream, Z_NO_FLUSH);
    if (stream.avail_out == 0) return false;
  }
  return status == Z_STREAM_END && made == size && stream.avail_in == 0;
}

}  // namespace detail
#endif

namespace etf {

/// Inflates a compressed term; the result has no version byte. @param after_tag the bytes after `version` and `compressed`.
/// @return errc::truncated; errc::limit_reached: larger than `limit`; errc::wrong_shape: broken; errc::unknown_kind: this
/// program was
///   built without zlib.
/// @par Errors: std::bad_alloc.
[[nodiscard]] inline result<std::string> inflate(std::string_view after_tag, std::size_t limit) {
  if (after_tag.size() < 4) return error{errc::truncated};
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(after_tag[i]);
  if (size > limit) return error{errc::limit_reached};
#ifdef PHX_ZLIB
  std::string out;
  if (!detail::inflate_exactly(after_tag.substr(4), size, out)) return error{errc::wrong_shape};
  return out;
#else
  return error{errc::unknown_kind};
#endif
}

}  // namespace etf
}  // namespace PHX_BUILD
}  // namespace phx

#endif
