#ifndef PHX_ERLANG_TERM_HPP
#define PHX_ERLANG_TERM_HPP
// Erlang terms in their external format (protocol 15.3): what an Elixir application puts into a token or a session.
// Integers, floats, atoms, binaries, lists, tuples and maps are read and written; terms that name a process or a function
// are refused.

#include <phx/core/error.hpp>
#include <phx/erlang/compressed_term.hpp>
#include <phx/erlang/etf_reader.hpp>
#include <phx/erlang/etf_writer.hpp>

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

namespace phx {
inline namespace PHX_BUILD {

/// The kinds of terms: `number` is a float, `text` a binary.
enum class term_kind : std::uint8_t { integer, number, atom, text, list, tuple, map };

class elixir_struct;
class term;

/// One term and all that it contains: a view of the `term` it came from, which must outlive it. Copying is cheap.
class term_view {
 public:
  /// Which kind of term it is.
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
  /// An integer; nothing for another kind, or beyond 64 bits.
  [[nodiscard]] std::optional<std::int64_t> integer() const noexcept {
    if (byte_) return static_cast<unsigned char>(bytes_[0]);
    std::int64_t value = 0;
    if (!reader(bytes_).integer(value)) return std::nullopt;
    return value;
  }
  /// A float; always finite.
  [[nodiscard]] std::optional<double> number() const noexcept {
    double value = 0;
    if (byte_ || !reader(bytes_).real(value)) return std::nullopt;
    return value;
  }
  /// A binary: an Elixir string, or any bytes.
  [[nodiscard]] std::optional<std::string_view> text() const noexcept {
    if (byte_ || tag() != etf::binary) return std::nullopt;
    return bytes_.substr(5);
  }
  /// An atom's name, in UTF-8.
  [[nodiscard]] std::optional<std::string> atom() const {
    std::string_view text;
    bool latin1 = false;
    if (byte_ || !reader(bytes_).atom(text, latin1)) return std::nullopt;
    std::string name;
    etf::append_atom(name, text, latin1);
    return name;
  }
  /// Is it the atom of this name?
  [[nodiscard]] bool is_atom(std::string_view name) const { return atom() == std::optional<std::string_view>(name); }
  /// Is it the atom `nil`?
  [[nodiscard]] bool is_nil() const { return is_atom("nil"); }
  /// The boolean it is; nothing for other terms.
  [[nodiscard]] std::optional<bool> boolean() const {
    if (is_atom("true")) return true;
    if (is_atom("false")) return false;
    return std::nullopt;
  }
  /// The elements of a list or tuple; keys and values of a map in turn; none for other kinds. @par Errors: std::bad_alloc.
  [[nodiscard]] std::vector<term_view> elements() const {
    std::vector<term_view> out;
    if (byte_) return out;
    if (tag() == etf::string) {
      for (std::size_t i = 3; i < bytes_.size(); ++i) out.push_back(term_view(bytes_.substr(i, 1), true));
      return out;
    }
    walk w = inside();
    out.reserve(w.count);
    for (; w.count != 0; --w.count) out.push_back(next(w));
    return out;
  }
  /// The number of elements of a list or tuple, of pairs of a map; 0 for other kinds.
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
  friend class elixir_struct;
  using reader = etf::reader;
  struct walk {
    std::string_view rest;
    std::size_t count;  // of terms
  };
  explicit term_view(std::string_view bytes, bool byte = false) noexcept : bytes_(bytes), byte_(byte) {}

  [[nodiscard]] unsigned tag() const noexcept { return static_cast<unsigned char>(bytes_[0]); }
  [[nodiscard]] walk inside() const noexcept {
    reader in(bytes_);
    std::uint32_t n = 0;
    if (in.map(n)) return {in.rest(), std::size_t{2} * n};
    if (in.list(n) || in.tuple(n)) return {in.rest(), n};
    return {{}, 0};
  }
  [[nodiscard]] static term_view next(walk& w) noexcept {
    reader in(w.rest);
    (void)in.skip(any_depth, etf::terms::data);
    term_view const t(w.rest.substr(0, w.rest.size() - in.rest().size()));
    w.rest = in.rest();
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

  /// term::read has checked the depth already.
  static constexpr std::uint32_t any_depth = 0xFFFF;

  std::string_view bytes_;
  bool byte_;  // an element of a list of bytes, which has no tag of its own
};

/// A term that owns its bytes.
///
///     phx::term::tuple({phx::term::atom("user"), phx::term::integer(42)})
///     phx::term::map({{phx::term::text("id"), phx::term::integer(7)}})
class term {
 public:
  /// What reading a term may cost.
  struct bounds {
    std::size_t bytes = 65'536;        ///< of the input
    std::size_t inflated = 1'048'576;  ///< bytes of a compressed term, once inflated
    unsigned depth = 64;               ///< nested lists, tuples and maps
  };

  /// @param bytes the output of term_to_binary, compressed or not. Untrusted bytes are safe to read. @return
  ///   errc::truncated, errc::too_deep, errc::limit_reached, errc::unknown_kind (a process, port, reference or function; or
  ///   compressed, and built without zlib), errc::wrong_shape (not an external term, bytes after it, an improper list,
  ///   broken compression). @par Errors: std::bad_alloc.
  [[nodiscard]] static result<term> read(std::string_view bytes, bounds const& limit) {
    if (bytes.size() > limit.bytes) return error{errc::limit_reached};
    if (bytes.empty()) return error{errc::truncated};
    if (static_cast<unsigned char>(bytes[0]) != etf::version) return error{errc::wrong_shape};
    bytes.remove_prefix(1);
    term t;
    if (!bytes.empty() && static_cast<unsigned char>(bytes[0]) == etf::compressed) {
      result<std::string> inflated = etf::inflate(bytes.substr(1), limit.inflated);
      if (!inflated) return inflated.error();
      t.bytes_ = *std::move(inflated);
    } else {
      t.bytes_ = bytes;
    }
    etf::reader in(t.bytes_);
    if (errc const fault = in.skip(limit.depth, etf::terms::data); fault != errc::none) return error{fault};
    if (!in.done()) return error{errc::wrong_shape};
    return t;
  }
  /// The same with the default bounds.
  [[nodiscard]] static result<term> read(std::string_view bytes) { return read(bytes, bounds{}); }

  /// An integer.
  [[nodiscard]] static term integer(std::int64_t value) {
    return written([&](writer& to) { to.integer(value); });
  }
  /// A float. @pre finite.
  [[nodiscard]] static term number(double value) {
    assert(std::isfinite(value));
    return written([&](writer& to) { to.real(value); });
  }
  /// An atom. @pre at most 255 characters of UTF-8.
  [[nodiscard]] static term atom(std::string_view name) {
    return written([&](writer& to) { to.atom(name); });
  }
  /// The atom `nil`.
  [[nodiscard]] static term nil() { return atom("nil"); }
  /// The atom `true` or `false`.
  [[nodiscard]] static term boolean(bool value) { return atom(value ? "true" : "false"); }
  /// A binary: an Elixir string, or any bytes.
  [[nodiscard]] static term text(std::string_view bytes) {
    return written([&](writer& to) { to.binary(bytes); });
  }
  /// A proper list of these elements.
  [[nodiscard]] static term list(std::span<term const> elements) {
    bool bytes_only = elements.size() <= 0xFFFFu;
    for (term const& e : elements) bytes_only = bytes_only && static_cast<unsigned char>(e.bytes_[0]) == etf::small_integer;
    term t;
    writer to(t.bytes_);
    if (elements.empty()) {
      to.byte(etf::nil);
    } else if (bytes_only) {  // as Erlang writes any list of small integers
      to.byte(etf::string), to.u16(elements.size());
      for (term const& e : elements) t.bytes_ += e.bytes_[1];
    } else {
      to.byte(etf::list), to.u32(elements.size());
      t.append(elements);
      to.byte(etf::nil);
    }
    return t;
  }
  /// A proper list of these elements.
  [[nodiscard]] static term list(std::initializer_list<term> elements) {
    return list(std::span(elements.begin(), elements.size()));
  }
  /// A tuple of these elements.
  [[nodiscard]] static term tuple(std::span<term const> elements) {
    term t;
    writer(t.bytes_).tuple(elements.size());
    t.append(elements);
    return t;
  }
  /// A tuple of these elements.
  [[nodiscard]] static term tuple(std::initializer_list<term> elements) {
    return tuple(std::span(elements.begin(), elements.size()));
  }
  /// A map of these pairs. @pre no key twice.
  [[nodiscard]] static term map(std::span<std::pair<term, term> const> pairs) {
    term t;
    writer(t.bytes_).map(pairs.size());
    for (auto const& [key, value] : pairs) (t.bytes_ += key.bytes_) += value.bytes_;
    return t;
  }
  /// A map of these pairs.
  [[nodiscard]] static term map(std::initializer_list<std::pair<term, term>> pairs) {
    return map(std::span(pairs.begin(), pairs.size()));
  }

  /// The external format, uncompressed: read() accepts it, and so does binary_to_term.
  [[nodiscard]] std::string external() const { return static_cast<char>(static_cast<unsigned char>(etf::version)) + bytes_; }
  /// Valid as long as this term; of a temporary, until the end of the full expression.
  [[nodiscard]] term_view view() const noexcept { return term_view(bytes_); }
  /// A copy of the viewed term.
  explicit term(term_view const& view) {
    if (view.byte_)
      *this = integer(*view.integer());
    else
      bytes_ = view.bytes_;
  }

 private:
  using writer = etf::writer;
  term() = default;
  template <class F>
  [[nodiscard]] static term written(F const& write) {
    term t;
    writer to(t.bytes_);
    write(to);
    return t;
  }
  void append(std::span<term const> elements) {
    for (term const& e : elements) bytes_ += e.bytes_;
  }

  std::string bytes_;  // without the version byte; empty only after it was moved from
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif
