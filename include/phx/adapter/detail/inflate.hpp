#ifndef PHX_ADAPTER_DETAIL_INFLATE_HPP
#define PHX_ADAPTER_DETAIL_INFLATE_HPP
// zlib's format (RFC 1950, 1951), read: a verifier of tokens must inflate what `compressed: true` wrote (protocol 15.5), and
// a node beside Phoenix's what `compression_level` did (13.2).
// Simple rather than fast, and no reason to ask for zlib.

#include <phx/core/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace phx::inline PHX_BUILD::detail {

class inflater {
 public:
  inflater(std::string_view in, std::size_t size) : in_(in), size_(size) { out_.reserve(size < 65'536 ? size : 65'536); }

  /// False: it is broken, or not of this size. Whatever it is, no more than `size` bytes are made of it.
  [[nodiscard]] bool run() {
    if (in_.size() < 6 || (byte(0) & 0x0Fu) != 8 || (byte(0) * 256 + byte(1)) % 31 != 0 || (byte(1) & 0x20u) != 0) return false;
    at_ = 2;
    for (bool last = false; !last;) {
      last = bits(1) != 0;
      unsigned const how = bits(2);
      if (broken_ || how == 3 || !(how == 0 ? stored() : how == 1 ? fixed() : dynamic())) return false;
    }
    if (in_.size() - at_ != 4 || out_.size() != size_) return false;
    std::uint32_t a = 1, b = 0;
    for (char const c : out_) {
      a = (a + static_cast<unsigned char>(c)) % 65'521u;
      b = (b + a) % 65'521u;
    }
    return (b << 16 | a) == (byte(at_) << 24 | byte(at_ + 1) << 16 | byte(at_ + 2) << 8 | byte(at_ + 3));
  }
  [[nodiscard]] std::string take() && { return std::move(out_); }

 private:
  struct code {
    std::array<std::uint16_t, 16> count{};    // of codes of each length
    std::array<std::uint16_t, 288> symbol{};  // in the order of their codes

    /// False: more codes than there can be.
    [[nodiscard]] bool make(std::uint8_t const* lengths, unsigned n) noexcept {
      count = {};
      for (unsigned i = 0; i < n; ++i) ++count[lengths[i]];
      int left = 1;
      for (unsigned length = 1; length < 16; ++length)
        if ((left = left * 2 - count[length]) < 0) return false;
      std::array<std::uint16_t, 16> first{};
      for (unsigned length = 1; length < 15; ++length)
        first[length + 1] = static_cast<std::uint16_t>(first[length] + count[length]);
      for (unsigned i = 0; i < n; ++i)
        if (lengths[i] != 0) symbol[first[lengths[i]]++] = static_cast<std::uint16_t>(i);
      count[0] = 0;
      return true;
    }
  };

  [[nodiscard]] std::uint32_t byte(std::size_t i) const noexcept { return static_cast<unsigned char>(in_[i]); }
  [[nodiscard]] unsigned bits(unsigned n) noexcept {
    while (have_ < n) {
      if (at_ == in_.size()) {
        broken_ = true;
        return 0;
      }
      held_ |= byte(at_++) << have_;
      have_ += 8;
    }
    unsigned const value = held_ & ((1u << n) - 1u);
    held_ >>= n;
    have_ -= n;
    return value;
  }
  /// 288, which is no symbol, where no code fits.
  [[nodiscard]] unsigned symbol(code const& c) noexcept {
    int value = 0, first = 0, index = 0;
    for (unsigned length = 1; length < 16 && !broken_; ++length) {
      value |= static_cast<int>(bits(1));
      int const count = c.count[length];
      if (value - count < first) return broken_ ? 288 : c.symbol[static_cast<std::size_t>(index + value - first)];
      index += count;
      first = (first + count) * 2;
      value *= 2;
    }
    return 288;
  }
  [[nodiscard]] bool stored() {
    held_ = have_ = 0;
    if (in_.size() - at_ < 4) return false;
    std::size_t const n = byte(at_) | byte(at_ + 1) << 8;
    if ((n ^ 0xFFFFu) != (byte(at_ + 2) | byte(at_ + 3) << 8)) return false;
    at_ += 4;
    if (in_.size() - at_ < n || size_ - out_.size() < n) return false;
    out_.append(in_.substr(at_, n));
    at_ += n;
    return true;
  }
  [[nodiscard]] bool fixed() {
    std::array<std::uint8_t, 288> lengths{};
    for (unsigned i = 0; i < 288; ++i) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    std::array<std::uint8_t, 30> distances{};
    distances.fill(5);
    return literals_.make(lengths.data(), 288) && distances_.make(distances.data(), 30) && body();
  }
  [[nodiscard]] bool dynamic() {
    constexpr std::uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    unsigned const literals = bits(5) + 257, distances = bits(5) + 1, n = bits(4) + 4;
    if (broken_ || literals > 286 || distances > 30) return false;
    std::array<std::uint8_t, 320> lengths{};
    for (unsigned i = 0; i < n; ++i) lengths[order[i]] = static_cast<std::uint8_t>(bits(3));
    if (broken_ || !literals_.make(lengths.data(), 19)) return false;
    lengths = {};
    for (unsigned i = 0; i < literals + distances;) {
      unsigned const s = symbol(literals_);
      if (broken_ || s > 18) return false;
      if (s < 16) {
        lengths[i++] = static_cast<std::uint8_t>(s);
        continue;
      }
      if (s == 16 && i == 0) return false;
      std::uint8_t const again = s == 16 ? lengths[i - 1] : std::uint8_t{0};
      unsigned const times = s == 16 ? 3 + bits(2) : s == 17 ? 3 + bits(3) : 11 + bits(7);
      if (broken_ || i + times > literals + distances) return false;
      for (unsigned k = 0; k < times; ++k) lengths[i++] = again;
    }
    return lengths[256] != 0 && literals_.make(lengths.data(), literals) &&
           distances_.make(lengths.data() + literals, distances) && body();
  }
  [[nodiscard]] bool body() {
    constexpr std::uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                               31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    constexpr std::uint8_t length_more[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    constexpr std::uint16_t far_base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                            193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    constexpr std::uint8_t far_more[30] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
    for (;;) {
      unsigned s = symbol(literals_);
      if (broken_ || s > 285) return false;
      if (s == 256) return true;
      if (s < 256) {
        if (out_.size() == size_) return false;
        out_ += static_cast<char>(s);
        continue;
      }
      s -= 257;
      std::size_t const n = length_base[s] + bits(length_more[s]);
      unsigned const d = symbol(distances_);
      if (broken_ || d > 29) return false;
      std::size_t const back = far_base[d] + bits(far_more[d]);
      if (broken_ || back > out_.size() || size_ - out_.size() < n) return false;
      for (std::size_t i = 0; i < n; ++i) out_ += out_[out_.size() - back];
    }
  }

  std::string_view in_;
  std::size_t size_;
  std::size_t at_ = 0;
  std::uint32_t held_ = 0;
  unsigned have_ = 0;
  bool broken_ = false;
  code literals_{}, distances_{};
  std::string out_;
};

/// @param size what it says it makes; the caller has bounded it.
[[nodiscard]] inline std::optional<std::string> zlib_inflated(std::string_view in, std::size_t size) {
  inflater i(in, size);
  if (!i.run()) return std::nullopt;
  return std::move(i).take();
}

/// A compressed term's own bytes, without the version (protocol 15.3): `after_tag` is what follows 131, 80.
/// @return errc::truncated; errc::limit_reached: it says that it is longer than `most`; errc::wrong_shape: a broken compression.
[[nodiscard]] inline result<std::string> decompressed_term(std::string_view after_tag, std::size_t most) {
  if (after_tag.size() < 4) return error{errc::truncated};
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(after_tag[i]);
  if (size > most) return error{errc::limit_reached};
  std::optional<std::string> whole = zlib_inflated(after_tag.substr(4), size);
  if (!whole) return error{errc::wrong_shape};
  return *std::move(whole);
}

}  // namespace phx::inline PHX_BUILD::detail

#endif
