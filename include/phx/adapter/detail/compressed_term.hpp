#ifndef PHX_ADAPTER_DETAIL_COMPRESSED_TERM_HPP
#define PHX_ADAPTER_DETAIL_COMPRESSED_TERM_HPP
// Terms that Elixir compressed (protocol 15.3): Phoenix.Token's `compressed: true`, the Redis adapter's `compression_level`.
//
// zlib does it, where PHX_ZLIB is defined: the targets phx::token and phx::redis define it, and link zlib, if CMake found
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
namespace detail {

#ifdef PHX_ZLIB
/// Makes exactly `size` bytes from all of `in`. False: broken, or of another size. Never makes more than `size` bytes.
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
  while (status == Z_OK && made < size) {  // in pieces: the size is only what the sender claims
    std::size_t const piece = size - made < 65'536 ? size - made : 65'536;
    out.resize(made + piece);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + made);
    stream.avail_out = static_cast<uInt>(piece);
    status = inflate(&stream, Z_NO_FLUSH);
    made += piece - stream.avail_out;
  }
  if (status == Z_OK) {  // everything is made: only the end and its checksum may be left
    unsigned char surplus;
    stream.next_out = &surplus;
    stream.avail_out = 1;
    status = inflate(&stream, Z_NO_FLUSH);
    if (stream.avail_out == 0) return false;
  }
  return status == Z_STREAM_END && made == size && stream.avail_in == 0;
}
#endif

/// A compressed term's own bytes, without the version. @param after_tag what follows 131, 80.
/// @return errc::truncated; errc::limit_reached: it claims to be longer than `most`; errc::wrong_shape: broken;
///   errc::unknown_kind: this program was built without zlib.
[[nodiscard]] inline result<std::string> decompressed_term(std::string_view after_tag, std::size_t most) {
  if (after_tag.size() < 4) return error{errc::truncated};
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(after_tag[i]);
  if (size > most) return error{errc::limit_reached};
#ifdef PHX_ZLIB
  std::string whole;
  if (!inflate_exactly(after_tag.substr(4), size, whole)) return error{errc::wrong_shape};
  return whole;
#else
  return error{errc::unknown_kind};
#endif
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
