#ifndef PHX_ERLANG_ETF_READER_HPP
#define PHX_ERLANG_ETF_READER_HPP
// Reads Erlang's external term format (protocol 15.3) from untrusted bytes: every length is checked before it is used, and
// nesting is bounded. Nothing is allocated: binaries and atoms are views of the input.

#include <phx/core/error.hpp>
#include <phx/core/text/json.hpp>
#include <phx/erlang/etf.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace etf {

/// Which terms reader::skip accepts.
enum class terms : std::uint8_t {
  data,  ///< integers, finite floats, atoms, binaries, proper lists, tuples, maps
  any,   ///< processes, ports, references, functions, bit strings and improper lists as well
};

/// Reads terms from bytes, one after the other. A member that returns false found another kind of term or too few bytes; the
/// position is unspecified then.
class reader {
 public:
  /// @param bytes must outlive the reader, and the views it gives. Without the version byte.
  explicit reader(std::string_view bytes) noexcept : rest_(bytes) {}

  /// All bytes have been read.
  [[nodiscard]] bool done() const noexcept { return rest_.empty(); }
  /// The bytes that have not been read.
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }
  /// The tag of the next term; 0 at the end.
  [[nodiscard]] std::uint8_t peek() const noexcept {
    return rest_.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(rest_.front());
  }
  /// Whether the next term is an atom.
  [[nodiscard]] bool at_atom() const noexcept {
    std::uint8_t const t = peek();
    return t == atom_latin1 || t == atom_utf8 || t == small_atom_latin1 || t == small_atom_utf8;
  }
  /// Whether the next term is an integer.
  [[nodiscard]] bool at_integer() const noexcept {
    std::uint8_t const t = peek();
    return t == small_integer || t == etf::integer || t == small_big || t == large_big;
  }
  /// Whether the next term is a tuple.
  [[nodiscard]] bool at_tuple() const noexcept { return peek() == small_tuple || peek() == large_tuple; }

  /// The head of a tuple: `arity` elements follow.
  [[nodiscard]] bool tuple(std::uint32_t& arity) noexcept {
    return peek() == small_tuple ? take(1) && number(arity, 1) : peek() == large_tuple && take(1) && number(arity, 4);
  }
  /// The head of a map: `pairs` keys follow, each with its value.
  [[nodiscard]] bool map(std::uint32_t& pairs) noexcept { return peek() == etf::map && take(1) && number(pairs, 4); }
  /// The head of a non-empty list: `count` elements follow, then its tail, which is read with end_of_list().
  [[nodiscard]] bool list(std::uint32_t& count) noexcept { return peek() == etf::list && take(1) && number(count, 4); }
  /// The tail of a proper list, or an empty list.
  [[nodiscard]] bool end_of_list() noexcept { return peek() == nil && take(1); }
  /// A list of integers from 0 to 255, which Erlang writes as bytes.
  [[nodiscard]] bool byte_list(std::string_view& bytes) noexcept {
    std::uint32_t size = 0;
    return peek() == string && take(1) && number(size, 2) && cut(size, bytes);
  }
  /// A binary.
  [[nodiscard]] bool binary(std::string_view& bytes) noexcept {
    std::uint32_t size = 0;
    return peek() == etf::binary && take(1) && number(size, 4) && cut(size, bytes);
  }
  /// An atom. @param latin1 `text` is ISO 8859-1; otherwise UTF-8 that has not been checked.
  [[nodiscard]] bool atom(std::string_view& text, bool& latin1) noexcept {
    std::uint8_t const t = peek();
    latin1 = t == atom_latin1 || t == small_atom_latin1;
    std::uint32_t size = 0;
    if (t == atom_latin1 || t == atom_utf8) return take(1) && number(size, 2) && cut(size, text);
    return (t == small_atom_latin1 || t == small_atom_utf8) && take(1) && number(size, 1) && cut(size, text);
  }
  /// An atom whose encoding does not matter: it is compared with ASCII names.
  [[nodiscard]] bool atom(std::string_view& text) noexcept {
    bool latin1 = false;
    return atom(text, latin1);
  }
  /// An integer of any size: `bytes` are its magnitude, little-endian. @param buffer where `bytes` may point.
  [[nodiscard]] bool integer(bool& negative, std::string_view& bytes, char (&buffer)[4]) noexcept {
    std::uint32_t n = 0;
    std::string_view sign;
    if (peek() == small_integer || peek() == etf::integer) {
      bool const wide = peek() == etf::integer;
      if (!take(1) || !number(n, wide ? 4 : 1)) return false;
      negative = wide && n >> 31 != 0;
      if (negative) n = ~n + 1;
      for (unsigned i = 0; i < 4; ++i) buffer[i] = static_cast<char>(static_cast<unsigned char>(n >> (8 * i)));
      bytes = {buffer, 4};
      return true;
    }
    if (peek() != small_big && peek() != large_big) return false;
    std::size_t const width = peek() == small_big ? 1 : 4;
    if (!take(1) || !number(n, width) || !cut(1, sign) || !cut(n, bytes)) return false;
    negative = sign[0] != '\0';
    return true;
  }
  /// An integer that fits into 64 bits.
  [[nodiscard]] bool integer(std::int64_t& value) noexcept {
    bool negative = false;
    std::string_view bytes;
    char buffer[4];
    if (!integer(negative, bytes, buffer)) return false;
    std::uint64_t magnitude = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) {
      if (magnitude >> 56 != 0) return false;
      magnitude = magnitude << 8 | static_cast<unsigned char>(bytes[i]);
    }
    constexpr std::uint64_t most = static_cast<std::uint64_t>(INT64_MAX);
    if (magnitude > most + (negative ? 1 : 0)) return false;
    value = static_cast<std::int64_t>(negative ? ~magnitude + 1 : magnitude);
    return true;
  }
  /// A float. False if it is not finite: Erlang has no infinity and no NaN.
  [[nodiscard]] bool real(double& value) noexcept {
    std::string_view raw;
    if (peek() != new_float || !take(1) || !cut(8, raw)) return false;
    std::uint64_t bits = 0;
    for (char const c : raw) bits = bits << 8 | static_cast<unsigned char>(c);
    std::memcpy(&value, &bits, sizeof value);
    return std::isfinite(value);
  }

  /// Skips one whole term and checks it. Recurses once per level of nesting.
  /// @param depth allowed levels of lists, tuples and maps.
  ///   @return errc::none; errc::truncated; errc::too_deep; errc::unknown_kind: not a term, or not of `accepted`;
  ///   errc::wrong_shape: an improper list, or a float that is not finite.
  [[nodiscard]] errc skip(std::uint32_t depth, terms accepted) noexcept {
    bool const any = accepted == terms::any;
    std::uint32_t n = 0;
    std::string_view part;
    double real_value;
    std::uint64_t children = 0;
    bool is_list = false;
    switch (peek()) {
      case 0: return rest_.empty() ? errc::truncated : errc::unknown_kind;
      case small_integer: return fits(take(2));
      case etf::integer: return fits(take(5));
      case new_float:
        if (rest_.size() < 9) return errc::truncated;
        return real(real_value) || any ? errc::none : errc::wrong_shape;
      case small_big: return fits(take(1) && number(n, 1) && take(std::size_t{n} + 1));
      case large_big: return fits(take(1) && number(n, 4) && take(std::size_t{n} + 1));
      case atom_latin1:
      case atom_utf8:
      case small_atom_latin1:
      case small_atom_utf8: return fits(atom(part));
      case nil: return fits(take(1));
      case string: return fits(byte_list(part));
      case etf::binary: return fits(binary(part));
      case small_tuple:
      case large_tuple:
        if (!tuple(n)) return errc::truncated;
        children = n;
        break;
      case etf::list:
        if (!list(n)) return errc::truncated;
        children = n;
        is_list = true;
        break;
      case etf::map:
        if (!map(n)) return errc::truncated;
        children = std::uint64_t{n} * 2;
        break;
      default:
        if (!any) return errc::unknown_kind;
        switch (peek()) {
          case bit_binary: return fits(take(1) && number(n, 4) && take(std::size_t{n} + 1));
          case new_pid: return fits(take(1) && atom(part) && take(12));
          case pid: return fits(take(1) && atom(part) && take(9));
          case newer_reference: return fits(take(1) && number(n, 2) && atom(part) && take(4 + std::size_t{n} * 4));
          case new_reference: return fits(take(1) && number(n, 2) && atom(part) && take(1 + std::size_t{n} * 4));
          case port: return fits(take(1) && atom(part) && take(5));
          case new_port: return fits(take(1) && atom(part) && take(8));
          case v4_port: return fits(take(1) && atom(part) && take(12));
          case new_fun: return fits(take(1) && number(n, 4) && n >= 4 && take(n - 4));  // its size counts itself
          case export_fun: return fits(take(1) && atom(part) && atom(part) && peek() == small_integer && take(2));
          default: return errc::unknown_kind;
        }
    }
    if (depth == 0) return errc::too_deep;
    // Each child takes at least one byte, so a count larger than the input soon ends in errc::truncated.
    for (; children != 0; --children)
      if (errc const fault = skip(depth - 1, accepted); fault != errc::none) return fault;
    if (!is_list) return errc::none;
    if (any) return skip(depth - 1, accepted);
    if (rest_.empty()) return errc::truncated;
    return end_of_list() ? errc::none : errc::wrong_shape;
  }

 private:
  [[nodiscard]] static errc fits(bool taken) noexcept { return taken ? errc::none : errc::truncated; }
  [[nodiscard]] bool take(std::size_t n) noexcept {
    if (rest_.size() < n) return false;
    rest_.remove_prefix(n);
    return true;
  }
  [[nodiscard]] bool cut(std::size_t n, std::string_view& part) noexcept {
    if (rest_.size() < n) return false;
    part = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  [[nodiscard]] bool number(std::uint32_t& n, std::size_t bytes) noexcept {
    std::string_view raw;
    if (!cut(bytes, raw)) return false;
    n = 0;
    for (char const c : raw) n = n << 8 | static_cast<unsigned char>(c);
    return true;
  }

  std::string_view rest_;
};

/// Appends the text of an atom as UTF-8. @par Errors: std::bad_alloc.
inline void append_atom(std::string& out, std::string_view text, bool latin1) {
  if (!latin1) {
    out += text;
    return;
  }
  for (char const c : text) {
    char encoded[4];
    out.append(encoded, phx::json::detail::write_utf8(static_cast<unsigned char>(c), encoded));
  }
}

}  // namespace etf
}  // namespace PHX_BUILD
}  // namespace phx

#endif
