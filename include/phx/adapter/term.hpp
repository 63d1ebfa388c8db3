#ifndef PHX_ADAPTER_TERM_HPP
#define PHX_ADAPTER_TERM_HPP
// Erlang terms in their external format (protocol 15.3): what an Elixir application puts into a token or a session. Those
// that are data: integers, floats, atoms, binaries, lists, tuples, maps. Whatever names a process or a function is refused.

#include <phx/adapter/detail/etf.hpp>
#include <phx/adapter/detail/inflate.hpp>
#include <phx/core/error.hpp>

#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phx::inline PHX_BUILD {

enum class term_kind : std::uint8_t { integer, number, atom, text, list, tuple, map };

class term;

/// One term that has been read, and all in it. A view of the `term` it came from; copied freely.
class term_view {
 public:
  [[nodiscard]] term_kind kind() const noexcept {
    if (byte_) return term_kind::integer;
    switch (tag()) {
      case etf::small_integer:
      case etf::integer:
      case etf::small_big:
      case etf::large_big: return term_kind::integer;
      case etf::new_float: return term_kind::number;
      case etf::atom_latin1:
      case etf::small_atom_latin1:
      case etf::atom_utf8:
      case etf::small_atom_utf8: return term_kind::atom;
      case etf::binary: return term_kind::text;
      case etf::small_tuple:
      case etf::large_tuple: return term_kind::tuple;
      case etf::map: return term_kind::map;
      default: return term_kind::list;
    }
  }
  /// Nothing for what is none, or beyond 64 bits.
  [[nodiscard]] std::optional<std::int64_t> integer() const noexcept {
    if (byte_) return static_cast<unsigned char>(bytes_[0]);
    if (tag() == etf::small_integer) return static_cast<unsigned char>(bytes_[1]);
    if (tag() == etf::integer) return static_cast<std::int32_t>(static_cast<std::uint32_t>(big_endian(1, 4)));
    if (tag() != etf::small_big && tag() != etf::large_big) return std::nullopt;
    std::size_t const head = tag() == etf::small_big ? 3 : 6;
    std::uint64_t value = 0;
    for (std::size_t i = bytes_.size(); i-- > head;) {
      if (value >> 56 != 0) return std::nullopt;
      value = (value << 8) | static_cast<unsigned char>(bytes_[i]);
    }
    constexpr std::uint64_t most = static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)());
    bool const negative = bytes_[head - 1] != 0;
    if (value > most + (negative ? 1 : 0)) return std::nullopt;
    if (!negative) return static_cast<std::int64_t>(value);
    return value == most + 1 ? (std::numeric_limits<std::int64_t>::min)() : -static_cast<std::int64_t>(value);
  }
  /// A float; always finite.
  [[nodiscard]] std::optional<double> number() const noexcept {
    if (byte_ || tag() != etf::new_float) return std::nullopt;
    std::uint64_t const bits = big_endian(1, 8);
    double d;
    std::memcpy(&d, &bits, sizeof d);
    return d;
  }
  /// A binary: an Elixir string, or any bytes.
  [[nodiscard]] std::optional<std::string_view> text() const noexcept {
    if (byte_ || tag() != etf::binary) return std::nullopt;
    return bytes_.substr(5);
  }
  /// An atom's name, in UTF-8.
  [[nodiscard]] std::optional<std::string> atom() const {
    if (kind() != term_kind::atom) return std::nullopt;
    bool const latin1 = tag() == etf::atom_latin1 || tag() == etf::small_atom_latin1;
    std::string name;
    for (char const c : bytes_.substr(tag() == etf::atom_latin1 || tag() == etf::atom_utf8 ? 3 : 2)) {
      unsigned const u = static_cast<unsigned char>(c);
      if (latin1 && u >= 0x80) name += static_cast<char>(0xC0u | (u >> 6));
      name += latin1 && u >= 0x80 ? static_cast<char>(0x80u | (u & 0x3Fu)) : c;
    }
    return name;
  }
  [[nodiscard]] bool is_atom(std::string_view name) const { return atom() == std::optional<std::string_view>(name); }
  [[nodiscard]] bool is_nil() const { return is_atom("nil"); }
  [[nodiscard]] std::optional<bool> boolean() const {
    if (is_atom("true")) return true;
    if (is_atom("false")) return false;
    return std::nullopt;
  }
  /// Of a list or tuple; of a map keys and values in turn; of all others none.
  [[nodiscard]] std::vector<term_view> elements() const {
    std::vector<term_view> all;
    if (byte_) return all;
    if (tag() == etf::string) {
      for (std::size_t i = 3; i < bytes_.size(); ++i) all.push_back(term_view(bytes_.substr(i, 1), true));
      return all;
    }
    walk w = inside();
    all.reserve(w.count);
    for (; w.count != 0; --w.count) all.push_back(next(w));
    return all;
  }
  /// How many elements, or pairs, it has.
  [[nodiscard]] std::size_t size() const noexcept {
    if (byte_) return 0;
    if (tag() == etf::string) return bytes_.size() - 3;
    return tag() == etf::map ? inside().count / 2 : inside().count;
  }
  /// A map's value under a string.
  [[nodiscard]] std::optional<term_view> find(std::string_view key) const noexcept {
    return find_if([&](term_view const& k) { return k.text() == key; });
  }
  /// A map's value under an atom.
  [[nodiscard]] std::optional<term_view> find_atom(std::string_view key) const {
    return find_if([&](term_view const& k) { return k.is_atom(key); });
  }

 private:
  friend class term;
  using etf = detail::etf::tag;
  struct walk {
    std::string_view rest;
    std::size_t count;  // of terms
  };
  explicit term_view(std::string_view bytes, bool byte = false) noexcept : bytes_(bytes), byte_(byte) {}

  [[nodiscard]] unsigned tag() const noexcept { return static_cast<unsigned char>(bytes_[0]); }
  [[nodiscard]] static std::uint64_t big_endian(std::string_view from, std::size_t at, std::size_t n) noexcept {
    std::uint64_t value = 0;
    for (char const c : from.substr(at, n)) value = (value << 8) | static_cast<unsigned char>(c);
    return value;
  }
  [[nodiscard]] std::uint64_t big_endian(std::size_t at, std::size_t n) const noexcept { return big_endian(bytes_, at, n); }
  [[nodiscard]] walk inside() const noexcept {
    switch (tag()) {
      case etf::small_tuple: return {bytes_.substr(2), big_endian(1, 1)};
      case etf::large_tuple:
      case etf::list: return {bytes_.substr(5), big_endian(1, 4)};
      case etf::map: return {bytes_.substr(5), 2 * big_endian(1, 4)};
      default: return {{}, 0};
    }
  }
  [[nodiscard]] static term_view next(walk& w) noexcept {
    errc fine = errc::none;
    std::size_t const n = measure(w.rest, 0xFFFFu, fine);  // has been measured before, as deep as it may be
    term_view const t(w.rest.substr(0, n));
    w.rest.remove_prefix(n);
    return t;
  }
  template <class F>
  [[nodiscard]] std::optional<term_view> find_if(F const& wanted) const {
    if (byte_ || tag() != etf::map) return std::nullopt;
    for (walk w = inside(); w.count != 0; w.count -= 2) {
      bool const found = wanted(next(w));
      term_view const value = next(w);
      if (found) return value;
    }
    return std::nullopt;
  }

  /// The bytes of the term that `from` begins with. 0: there is none, and `wrong` says why.
  [[nodiscard]] static std::size_t measure(std::string_view from, unsigned deeper, errc& wrong) noexcept {
    auto const no = [&](errc why) {
      wrong = why;
      return std::size_t{0};
    };
    auto const plain = [&](std::uint64_t n) {
      return n <= from.size() ? static_cast<std::size_t>(n) : no(errc::truncated);
    };
    auto const counted = [&](std::size_t width, std::size_t head) {  // a length, then so many bytes
      return from.size() < head ? no(errc::truncated) : plain(head + big_endian(from, 1, width));
    };
    if (from.empty()) return no(errc::truncated);
    std::size_t head = 5;
    std::uint64_t count = 0;
    bool list = false;
    switch (static_cast<unsigned char>(from[0])) {
      case etf::small_integer: return plain(2);
      case etf::integer: return plain(5);
      case etf::small_big: return counted(1, 3);
      case etf::large_big: return counted(4, 6);
      case etf::new_float:
        // Erlang has no infinity and no NaN
        if (from.size() >= 9 && (big_endian(from, 1, 2) & 0x7FF0u) == 0x7FF0u) return no(errc::wrong_shape);
        return plain(9);
      case etf::atom_latin1:
      case etf::atom_utf8: return counted(2, 3);
      case etf::small_atom_latin1:
      case etf::small_atom_utf8: return counted(1, 2);
      case etf::nil: return 1;
      case etf::string: return counted(2, 3);
      case etf::binary: return counted(4, 5);
      case etf::small_tuple:
        head = 2;
        break;
      case etf::large_tuple: break;
      case etf::list: list = true; break;
      case etf::map: break;
      default: return no(errc::unknown_kind);
    }
    if (from.size() < head) return no(errc::truncated);
    if (deeper == 0) return no(errc::too_deep);
    count = big_endian(from, 1, head - 1) * (static_cast<unsigned char>(from[0]) == etf::map ? 2u : 1u);
    std::size_t at = head;
    for (; count != 0; --count) {
      std::size_t const n = measure(from.substr(at), deeper - 1, wrong);
      if (n == 0) return 0;
      at += n;
    }
    if (!list) return at;
    if (at == from.size()) return no(errc::truncated);
    return static_cast<unsigned char>(from[at]) == etf::nil ? at + 1 : no(errc::wrong_shape);  // an improper list
  }

  std::string_view bytes_;
  bool byte_;  // an element of a list of bytes, which have no tags of their own
};

/// A term that owns its bytes.
///
///     phx::term::tuple({phx::term::atom("user"), phx::term::integer(42)})
///     phx::term::map({{phx::term::text("id"), phx::term::integer(7)}})
class term {
 public:
  /// What a term may cost.
  struct bounds {
    std::size_t bytes = 65'536;
    std::size_t inflated = 1'048'576;  ///< of a compressed one
    unsigned depth = 64;               ///< of lists, tuples and maps
  };

  /// @param bytes of term_to_binary, compressed or not, from one who is trusted: a term is not checked to be what you expect.
  /// @return errc::truncated, errc::too_deep, errc::limit_reached, errc::unknown_kind (no data, or of the runtime that wrote
  ///   it), errc::wrong_shape (no external term, bytes behind it, an improper list, a broken compression).
  [[nodiscard]] static result<term> read(std::string_view bytes, bounds const& most) {
    if (bytes.size() > most.bytes) return error{errc::limit_reached};
    if (bytes.empty()) return error{errc::truncated};
    if (static_cast<unsigned char>(bytes[0]) != etf::version) return error{errc::wrong_shape};
    bytes.remove_prefix(1);
    term t;
    if (!bytes.empty() && static_cast<unsigned char>(bytes[0]) == etf::compressed) {
      result<std::string> whole = detail::decompressed_term(bytes.substr(1), most.inflated);
      if (!whole) return whole.error();
      t.bytes_ = *std::move(whole);
    } else {
      t.bytes_ = bytes;
    }
    errc wrong = errc::wrong_shape;
    std::size_t const n = term_view::measure(t.bytes_, most.depth, wrong);
    if (n == 0) return error{wrong};
    if (n != t.bytes_.size()) return error{errc::wrong_shape};
    return t;
  }
  [[nodiscard]] static result<term> read(std::string_view bytes) { return read(bytes, bounds{}); }

  [[nodiscard]] static term integer(std::int64_t value) {
    return written([&](writer& to) { to.whole(value); });
  }
  /// @pre finite
  [[nodiscard]] static term number(double value) {
    assert(std::isfinite(value));
    return written([&](writer& to) { to.real(value); });
  }
  /// @pre at most 255 characters of UTF-8.
  [[nodiscard]] static term atom(std::string_view name) {
    return written([&](writer& to) { to.atom(name); });
  }
  [[nodiscard]] static term nil() { return atom("nil"); }
  [[nodiscard]] static term boolean(bool value) { return atom(value ? "true" : "false"); }
  /// A binary: an Elixir string, or any bytes.
  [[nodiscard]] static term text(std::string_view bytes) {
    return written([&](writer& to) { to.binary(bytes); });
  }
  [[nodiscard]] static term list(std::span<term const> elements) {
    bool bytes = elements.size() <= 0xFFFFu;
    for (term const& e : elements) bytes = bytes && static_cast<unsigned char>(e.bytes_[0]) == etf::small_integer;
    term t;
    writer to(t.bytes_);
    if (elements.empty()) {
      to.byte(etf::nil);
    } else if (bytes) {  // as Erlang writes any list of small integers
      to.byte(etf::string), to.u16(elements.size());
      for (term const& e : elements) t.bytes_ += e.bytes_[1];
    } else {
      to.byte(etf::list), to.u32(elements.size());
      t.add(elements);
      to.byte(etf::nil);
    }
    return t;
  }
  [[nodiscard]] static term list(std::initializer_list<term> elements) { return list(std::span(elements.begin(), elements.size())); }
  [[nodiscard]] static term tuple(std::span<term const> elements) {
    term t;
    writer(t.bytes_).tuple(elements.size());
    t.add(elements);
    return t;
  }
  [[nodiscard]] static term tuple(std::initializer_list<term> elements) {
    return tuple(std::span(elements.begin(), elements.size()));
  }
  /// @pre no key twice.
  [[nodiscard]] static term map(std::span<std::pair<term, term> const> pairs) {
    term t;
    writer(t.bytes_).map(pairs.size());
    for (auto const& [key, value] : pairs) (t.bytes_ += key.bytes_) += value.bytes_;
    return t;
  }
  [[nodiscard]] static term map(std::initializer_list<std::pair<term, term>> pairs) {
    return map(std::span(pairs.begin(), pairs.size()));
  }

  /// What read() reads.
  [[nodiscard]] std::string external() const { return static_cast<char>(static_cast<unsigned char>(etf::version)) + bytes_; }
  /// Dies with this term, or with the full expression where this is a temporary.
  [[nodiscard]] term_view view() const noexcept { return term_view(bytes_); }
  /// A copy of what is looked at.
  explicit term(term_view const& of) {
    if (of.byte_) *this = integer(*of.integer());
    else bytes_ = of.bytes_;
  }

 private:
  using writer = detail::etf::writer;
  using etf = detail::etf::tag;
  term() = default;
  template <class F>
  [[nodiscard]] static term written(F const& write) {
    term t;
    writer to(t.bytes_);
    write(to);
    return t;
  }
  void add(std::span<term const> elements) {
    for (term const& e : elements) bytes_ += e.bytes_;
  }

  std::string bytes_;  // without the version in front; never empty once made, but where it was moved from
};

}  // namespace phx::inline PHX_BUILD

#endif
