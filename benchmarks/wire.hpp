#ifndef BENCHMARKS_WIRE_HPP
#define BENCHMARKS_WIRE_HPP
// Shared by the load client and the bare server: a clock, Sec-WebSocket-Accept, frame headers, the end of a JSON value.
// Written independently of phx, since a check must not use the code it checks.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

namespace wire {

[[nodiscard]] inline std::uint64_t nanoseconds(clockid_t which = CLOCK_MONOTONIC) noexcept {
  timespec t{};
  clock_gettime(which, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(t.tv_nsec);
}

[[nodiscard]] inline std::string base64(unsigned char const* bytes, std::size_t size) {
  constexpr char const* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (std::size_t i = 0; i < size; ++i) {
    bits = bits << 8 | bytes[i];
    for (held += 8; held >= 6; held -= 6) out += digits[bits >> (held - 6) & 63];
  }
  if (held != 0) out += digits[bits << (6 - held) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

[[nodiscard]] inline std::string accept_key(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::uint64_t const bits = text.size() * 8;
  text += static_cast<char>(0x80);
  while (text.size() % 64 != 56) text += '\0';
  for (int i = 56; i >= 0; i -= 8) text += static_cast<char>(bits >> i);

  auto const turned = [](std::uint32_t x, int n) { return x << n | x >> (32 - n); };
  std::uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  for (std::size_t at = 0; at < text.size(); at += 64) {
    std::uint32_t w[80] = {};
    for (std::size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<unsigned char>(text[at + i]);
    for (std::size_t i = 16; i < 80; ++i) w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    std::uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; ++i) {
      std::uint32_t const mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5A827999
                                  : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                                  : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                                           : (b ^ c ^ d) + 0xCA62C1D6;
      std::uint32_t const next = turned(a, 5) + mixed + e + w[i];
      e = d;
      d = c;
      c = turned(b, 30);
      b = a;
      a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
  }
  std::array<unsigned char, 20> sum{};
  for (std::size_t i = 0; i < 20; ++i) sum[i] = static_cast<unsigned char>(h[i / 4] >> (24 - 8 * (i % 4)));
  return base64(sum.data(), sum.size());
}

/// Adds or removes a mask, in place.
inline void mask(char* at, std::size_t size, std::uint32_t key) noexcept {
  std::uint64_t const twice = std::uint64_t{key} << 32 | key;
  for (; size >= 8; size -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    word ^= twice;
    std::memcpy(at, &word, 8);
  }
  char four[4];
  std::memcpy(four, &key, 4);
  for (std::size_t i = 0; i < size; ++i) at[i] = static_cast<char>(at[i] ^ four[i & 3]);
}

/// The header of a whole frame. @param into 10 bytes. @param masked 0x80 or 0. @return its size
inline std::size_t header(char* into, unsigned op, std::size_t size, unsigned masked) noexcept {
  into[0] = static_cast<char>(0x80 | op);
  std::size_t const wide = size < 126 ? 0 : size < 65536 ? 2 : 8;
  into[1] = static_cast<char>(masked | (wide == 0 ? size : wide == 2 ? 126 : 127));
  for (std::size_t i = 0; i < wide; ++i) into[2 + i] = static_cast<char>(size >> (8 * (wide - 1 - i)));
  return 2 + wide;
}

struct frame {
  unsigned op = 0;
  bool last = false, masked = false, reserved = false, compressed = false;
  std::uint32_t key = 0;
  char* payload = nullptr;
  std::size_t size = 0;
};
/// Removes one complete frame from the front. @return false if there is none yet.
[[nodiscard]] inline bool take(char*& at, char const* end, frame& into) noexcept {
  auto const local = static_cast<std::size_t>(end - at);
  auto const byte = [at](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(at[i])); };
  if (local < 2) return false;
  into.op = byte(0) & 15;
  into.last = (byte(0) & 0x80) != 0;
  into.reserved = (byte(0) & 0x30) != 0;
  into.compressed = (byte(0) & 0x40) != 0;
  into.masked = (byte(1) & 0x80) != 0;
  std::size_t size = byte(1) & 127;
  std::size_t const wide = size < 126 ? 0 : size == 126 ? 2 : 8;
  std::size_t const head = 2 + wide + (into.masked ? 4 : 0);
  if (local < head) return false;
  if (wide != 0) size = 0;
  for (std::size_t i = 0; i < wide; ++i) size = size << 8 | byte(2 + i);
  if (local - head < size) return false;
  if (into.masked) std::memcpy(&into.key, at + head - 4, 4);
  into.payload = at + head;
  into.size = size;
  at += head + size;
  return true;
}

[[nodiscard]] inline char const* past_space(char const* at, char const* end) noexcept {
  while (at != end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  return at;
}
/// The end of the JSON value that begins here, found by its quotes and brackets alone; null if it is incomplete.
[[nodiscard]] inline char const* past_value(char const* at, char const* end) noexcept {
  int depth = 0;
  while (at != end) {
    switch (*at) {
      case '"':
        for (++at; at != end && *at != '"'; ++at)
          if (*at == '\\' && ++at == end) return nullptr;
        if (at == end) return nullptr;
        ++at;
        if (depth == 0) return at;
        break;
      case '[':
      case '{': ++depth, ++at; break;
      case ']':
      case '}':
        if (depth == 0) return at;  // the end of what this value is in
        ++at;
        if (--depth == 0) return at;
        break;
      case ',':
      case ':':
      case ' ':
        if (depth == 0) return at;
        [[fallthrough]];
      default: ++at;
    }
  }
  return nullptr;
}

}  // namespace wire

#endif
