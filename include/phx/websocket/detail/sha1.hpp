#ifndef PHX_WEBSOCKET_DETAIL_SHA1_HPP
#define PHX_WEBSOCKET_DETAIL_SHA1_HPP
// SHA-1 (RFC 3174), for Sec-WebSocket-Accept only. Its input is public, so that SHA-1's weakness does not matter.

#include <phx/fwd.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

class sha1 {
 public:
  void update(std::string_view text) noexcept {
    for (char const c : text) {
      block_[size_++ % 64] = static_cast<unsigned char>(c);
      if (size_ % 64 == 0) add_block();
    }
  }
  /// The hash. Call it once, after all input.
  [[nodiscard]] std::array<char, 20> digest() noexcept {
    std::uint64_t const bits = size_ * 8;
    update(std::string_view("\x80", 1));
    while (size_ % 64 != 56) update(std::string_view("\0", 1));
    for (int shift = 56; shift >= 0; shift -= 8) {
      char const c = static_cast<char>(bits >> shift & 0xFF);
      update({&c, 1});
    }
    std::array<char, 20> out{};
    for (std::size_t i = 0; i < 20; ++i) out[i] = static_cast<char>(hash_[i / 4] >> (24 - 8 * (i % 4)) & 0xFF);
    return out;
  }

 private:
  [[nodiscard]] static constexpr std::uint32_t rotate(std::uint32_t x, unsigned n) noexcept {
    return x << n | x >> (32 - n);
  }
  void add_block() noexcept {
    std::uint32_t w[80];
    for (std::size_t i = 0; i < 16; ++i)
      w[i] = std::uint32_t{block_[4 * i]} << 24 | std::uint32_t{block_[4 * i + 1]} << 16 |
             std::uint32_t{block_[4 * i + 2]} << 8 | block_[4 * i + 3];
    for (std::size_t i = 16; i < 80; ++i) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    std::uint32_t a = hash_[0], b = hash_[1], c = hash_[2], d = hash_[3], e = hash_[4];
    for (std::size_t i = 0; i < 80; ++i) {
      std::uint32_t const f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                              : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                              : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                       : (b ^ c ^ d) + 0xca62c1d6;
      std::uint32_t const next = rotate(a, 5) + f + e + w[i];
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = next;
    }
    hash_[0] += a;
    hash_[1] += b;
    hash_[2] += c;
    hash_[3] += d;
    hash_[4] += e;
  }

  std::uint32_t hash_[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::uint64_t size_ = 0;
  unsigned char block_[64] = {};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
