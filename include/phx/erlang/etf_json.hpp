#ifndef PHX_ERLANG_ETF_JSON_HPP
#define PHX_ERLANG_ETF_JSON_HPP
// A term as JSON text, as Jason writes it (protocol 13.2): a client of a C++ node gets what a client of a Phoenix node gets.
//
// | term | JSON |
// | --- | --- |
// | nil, true, false; any other atom | null, true, false; a string |
// | binary of UTF-8 | a string |
// | integer, float | the number, in Elixir's spelling |
// | proper list; map | an array; an object whose keys are binaries, atoms, numbers, charlists, dates or times |
// | Date, Time, NaiveDateTime, DateTime of the ISO calendar | a string in ISO 8601 |
// | Decimal | a string, without exponent |
// | Jason.OrderedObject | an object |
// | any other struct | what the program's struct_hook makes of it; without one: refused, so that no field leaks |
// | tuple, process, function (Jason.Fragment), binary that is not UTF-8 | refused |

#include <phx/erlang/etf_reader.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace etf {

/// Appends `value` as Erlang's float_to_binary(Value, [short]) writes it: the shortest digits that read back the same, with
/// an exponent where that is shorter, and from 2^53 on.
inline void append_float(std::string& out, double value) {
  char text[40];
  char* const end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
  std::string_view written(text, static_cast<std::size_t>(end - text));
  if (written.front() == '-') {
    out.push_back('-');
    written.remove_prefix(1);
  }
  std::size_t const e = written.find('e');
  std::string digits(1, written[0]);
  if (e > 2) digits += written.substr(2, e - 2);
  int const exponent = std::atoi(std::string(written.substr(e + 1)).c_str());
  int const count = static_cast<int>(digits.size());
  std::string const suffix = std::to_string(exponent);
  int const suffix_cost = static_cast<int>(suffix.size()) + (count == 1 ? 3 : 2);  // with its point and e
  auto const zeros = [](int n) { return std::string(static_cast<std::size_t>(n), '0'); };
  if (exponent < -1 && 1 - exponent <= suffix_cost) {
    out += "0." + zeros(-exponent - 1) + digits;
  } else if (exponent == -1) {
    out += "0." + digits;
  } else if (exponent >= 0 && exponent + 1 < count) {
    out += digits.insert(static_cast<std::size_t>(exponent) + 1, 1, '.');
  } else if (exponent >= 0 && exponent - count + 3 <= suffix_cost && std::abs(value) < 0x1p53) {
    out += digits + zeros(exponent + 1 - count) + ".0";
  } else {
    out += digits.insert(1, count == 1 ? ".0" : ".") + 'e' + suffix;
  }
}

/// The decimal digits of a little-endian magnitude. The time is quadratic in its size, which the caller bounds.
[[nodiscard]] inline std::string decimal_digits(std::string_view bytes) {
  std::vector<std::uint32_t> limbs((bytes.size() + 3) / 4);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    limbs[i / 4] |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * (i % 4));
  std::string digits;  // reversed until the end
  for (;;) {
    while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
    if (limbs.empty()) break;
    std::uint64_t remainder = 0;
    for (std::size_t i = limbs.size(); i-- != 0;) {
      remainder = remainder << 32 | limbs[i];
      limbs[i] = static_cast<std::uint32_t>(remainder / 1'000'000'000);
      remainder %= 1'000'000'000;
    }
    for (int i = 0; i < 9; ++i, remainder /= 10) digits.push_back(static_cast<char>('0' + remainder % 10));
  }
  while (!digits.empty() && digits.back() == '0') digits.pop_back();
  if (digits.empty()) digits.push_back('0');
  std::reverse(digits.begin(), digits.end());
  return digits;
}

class json_encoder;

/// The program's function for structs that Jason does not encode by itself; elixir_struct::hook makes one.
struct struct_hook {
  /// Handed to `encode`.
  void* self = nullptr;
  /// Appends JSON for the struct `term`, a whole map at depth `level`. False: the whole message is refused.
  bool (*encode)(void* self, json_encoder& encoder, std::string_view module, std::string_view term, std::uint32_t level,
                 std::string& out) = nullptr;
};

/// Writes the terms of one message as JSON. Every member may throw std::bad_alloc.
class json_encoder {
 public:
  /// @param input all bytes that terms will be read from. @param limit depth, and size of integers.
  json_encoder(std::string_view input, bounds const& limit, struct_hook const& hook = {})
      : limit_(limit), hook_(hook), may_have_structs_(input.find(struct_key) != input.npos) {}

  /// Appends the next term of `in` as JSON.
  /// @return false: it has no JSON form, or is a struct that the hook refused; `out` and the position are unspecified then.
  [[nodiscard]] bool value(reader& in, std::string& out, std::uint32_t level = 0) {
    if (in.at_atom()) return atom(in, out, true);
    if (in.at_integer()) return integer(in, out);
    std::string_view bytes;
    std::uint32_t count = 0;
    double real = 0;
    switch (in.peek()) {
      case new_float:
        if (!in.real(real)) return false;
        append_float(out, real);
        return true;
      case binary:
        if (!in.binary(bytes) || !phx::json::utf8(bytes)) return false;
        phx::json::append_quoted(out, bytes);
        return true;
      case nil: out += "[]"; return in.end_of_list();
      case string:
        if (!in.byte_list(bytes)) return false;
        out.push_back('[');
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          if (i != 0) out.push_back(',');
          out += std::to_string(static_cast<unsigned>(static_cast<unsigned char>(bytes[i])));
        }
        out.push_back(']');
        return true;
      case list:
        if (level == limit_.depth || !in.list(count)) return false;
        out.push_back('[');
        for (std::uint32_t i = 0; i < count; ++i) {
          if (i != 0) out.push_back(',');
          if (!value(in, out, level + 1)) return false;
        }
        out.push_back(']');
        return in.end_of_list();
      case map: return level != limit_.depth && map_value(in, out, level);
      default: return false;
    }
  }

  /// The module of the struct that made value() fail, without `Elixir.`; empty when it failed for another reason.
  [[nodiscard]] std::string const& refused_struct() const noexcept { return refused_struct_; }

  /// Finds a field of a struct; `at` is positioned before its value then.
  [[nodiscard]] bool field(std::string_view term, std::string_view name, reader& at) const noexcept {
    reader in(term);
    std::uint32_t pairs = 0;
    if (!in.map(pairs)) return false;
    for (; pairs != 0; --pairs) {
      std::string_view key;
      bool const is_atom = in.at_atom();
      if (is_atom ? !in.atom(key) : !skip(in)) return false;
      if (is_atom && key == name) {
        at = in;
        return true;
      }
      if (!skip(in)) return false;
    }
    return false;
  }

 private:
  static constexpr std::string_view struct_key = "__struct__";

  [[nodiscard]] bool skip(reader& in) const noexcept { return in.skip(limit_.depth, terms::any) == errc::none; }

  [[nodiscard]] bool atom(reader& in, std::string& out, bool as_value) {
    std::string_view name;
    bool latin1 = false;
    if (!in.atom(name, latin1) || (!latin1 && !phx::json::utf8(name))) return false;
    if (as_value && name == "nil") {
      out += "null";
    } else if (as_value && (name == "true" || name == "false")) {
      out += name;
    } else {
      std::string text;
      append_atom(text, name, latin1);
      phx::json::append_quoted(out, text);
    }
    return true;
  }
  [[nodiscard]] bool integer(reader& in, std::string& out) {
    bool negative = false;
    std::string_view bytes;
    char buffer[4];
    if (!in.integer(negative, bytes, buffer) || bytes.size() > limit_.integer_bytes) return false;
    std::string const digits = decimal_digits(bytes);
    if (negative && digits != "0") out.push_back('-');
    out += digits;
    return true;
  }
  /// A map's key, as String.Chars of Elixir converts it.
  [[nodiscard]] bool key(reader& in, std::string& out) {
    if (in.at_atom()) return atom(in, out, false);
    if (in.peek() == binary) return value(in, out);
    std::string_view bytes;
    double real = 0;
    std::string text;
    if (in.at_integer()) {
      if (!integer(in, text)) return false;
    } else if (in.peek() == new_float) {
      if (!in.real(real)) return false;
      append_float(text, real);
    } else if (in.peek() == string) {
      if (!in.byte_list(bytes)) return false;
      append_atom(text, bytes, true);  // a charlist: code points
    } else if (in.peek() == nil) {
      if (!in.end_of_list()) return false;
    } else {
      std::string_view term, module;
      if (!struct_term(in, term, module) || module == "Elixir.Decimal" ||
          known_struct(term, module, ' ', text) != struct_result::written)
        return false;
    }
    phx::json::append_quoted(out, text);
    return true;
  }
  [[nodiscard]] bool pair(reader& in, std::string& out, std::uint32_t level) {
    if (!key(in, out)) return false;
    out.push_back(':');
    return value(in, out, level + 1);
  }

  [[nodiscard]] bool map_value(reader& in, std::string& out, std::uint32_t level) {
    std::string_view term, module;
    if (may_have_structs_) {
      reader ahead = in;
      if (struct_term(ahead, term, module)) {
        in = ahead;
        return struct_value(term, module, out, level);
      }
    }
    std::uint32_t pairs = 0;
    if (!in.map(pairs)) return false;
    out.push_back('{');
    for (std::uint32_t i = 0; i < pairs; ++i) {
      if (i != 0) out.push_back(',');
      if (!pair(in, out, level)) return false;
    }
    out.push_back('}');
    return true;
  }

  /// Reads a map that has __struct__. @return false: the next term is no such map.
  [[nodiscard]] bool struct_term(reader& in, std::string_view& term, std::string_view& module) const noexcept {
    std::string_view const start = in.rest();
    reader at(start);
    if (!field(start, struct_key, at)) return false;
    if (!at.at_atom() || !at.atom(module)) module = {};
    if (!skip(in)) return false;
    term = start.substr(0, start.size() - in.rest().size());
    return true;
  }
  [[nodiscard]] bool struct_value(std::string_view term, std::string_view module, std::string& out, std::uint32_t level) {
    if (module == "Elixir.Jason.OrderedObject") return ordered_object(term, out, level);
    std::string text;
    switch (known_struct(term, module, 'T', text)) {
      case struct_result::written: phx::json::append_quoted(out, text); return true;
      case struct_result::malformed: return false;
      case struct_result::unknown: break;
    }
    constexpr std::string_view prefix = "Elixir.";
    if (module.starts_with(prefix)) module.remove_prefix(prefix.size());
    if (module == "Jason.Fragment") return false;  // a function
    std::size_t const start = out.size();
    if (hook_.encode != nullptr && hook_.encode(hook_.self, *this, module, term, level, out) &&
        phx::json::valid(std::string_view(out).substr(start)))
      return true;
    if (refused_struct_.empty()) refused_struct_ = module.empty() ? "?" : module;
    return false;
  }
  [[nodiscard]] bool ordered_object(std::string_view term, std::string& out, std::uint32_t level) {
    reader at(term);
    if (!field(term, "values", at)) return false;
    if (at.peek() == nil) {
      out += "{}";
      return true;
    }
    std::uint32_t count = 0, arity = 0;
    if (!at.list(count)) return false;
    out.push_back('{');
    for (std::uint32_t i = 0; i < count; ++i) {
      if (i != 0) out.push_back(',');
      if (!at.tuple(arity) || arity != 2 || !pair(at, out, level)) return false;
    }
    out.push_back('}');
    return at.end_of_list();
  }

  // ---- the structs that Jason encodes itself

  enum class struct_result : std::uint8_t { written, malformed, unknown };

  /// @param separator between date and time: 'T', or ' ' for a key, where a DateTime also names its zone.
  [[nodiscard]] struct_result known_struct(std::string_view term, std::string_view module, char separator,
                                           std::string& text) const {
    auto const written_if = [](bool written) { return written ? struct_result::written : struct_result::malformed; };
    if (module == "Elixir.Decimal") return written_if(decimal(term, text));
    bool const naive = module == "Elixir.NaiveDateTime", zoned = module == "Elixir.DateTime";
    bool const has_date = module == "Elixir.Date" || naive || zoned, has_time = module == "Elixir.Time" || naive || zoned;
    if (!has_date && !has_time) return struct_result::unknown;
    reader at(term);
    std::string_view calendar;
    if (!field(term, "calendar", at) || !at.atom(calendar)) return struct_result::malformed;
    if (calendar != "Elixir.Calendar.ISO") return struct_result::unknown;
    if (has_date && !date(term, text)) return struct_result::malformed;
    if (has_date && has_time) text.push_back(separator);
    if (has_time && !time(term, text)) return struct_result::malformed;
    return written_if(!zoned || zone(term, separator == ' ', text));
  }
  [[nodiscard]] bool number(std::string_view term, std::string_view name, std::int64_t least, std::int64_t most,
                            std::int64_t& value) const noexcept {
    reader at(term);
    return field(term, name, at) && at.integer(value) && value >= least && value <= most;
  }
  static void append_padded(std::string& text, std::int64_t value, std::size_t width) {
    if (value < 0) text.push_back('-');
    std::string const digits = std::to_string(value < 0 ? -value : value);
    if (digits.size() < width) text.append(width - digits.size(), '0');
    text += digits;
  }
  [[nodiscard]] bool date(std::string_view term, std::string& text) const {
    std::int64_t year, month, day;
    if (!number(term, "year", -9999, 9999, year) || !number(term, "month", 1, 12, month) || !number(term, "day", 1, 31, day))
      return false;
    append_padded(text, year, 4);
    text.push_back('-');
    append_padded(text, month, 2);
    text.push_back('-');
    append_padded(text, day, 2);
    return true;
  }
  [[nodiscard]] bool time(std::string_view term, std::string& text) const {
    std::int64_t hour, minute, second, microsecond, precision;
    std::uint32_t arity = 0;
    reader at(term);
    if (!number(term, "hour", 0, 23, hour) || !number(term, "minute", 0, 59, minute) ||
        !number(term, "second", 0, 60, second) || !field(term, "microsecond", at) || !at.tuple(arity) || arity != 2 ||
        !at.integer(microsecond) || !at.integer(precision) || microsecond < 0 || microsecond > 999'999 || precision < 0 ||
        precision > 6)
      return false;
    append_padded(text, hour, 2);
    text.push_back(':');
    append_padded(text, minute, 2);
    text.push_back(':');
    append_padded(text, second, 2);
    if (precision == 0) return true;
    text.push_back('.');
    append_padded(text, microsecond, 6);
    text.resize(text.size() - static_cast<std::size_t>(6 - precision));
    return true;
  }
  [[nodiscard]] bool zone(std::string_view term, bool named, std::string& text) const {
    constexpr std::int64_t day = 86'400;
    std::int64_t utc, standard;
    std::string_view name, abbreviation;
    reader at(term);
    if (!number(term, "utc_offset", -day, day, utc) || !number(term, "std_offset", -day, day, standard) ||
        !field(term, "time_zone", at) || !at.binary(name) || !phx::json::utf8(name))
      return false;
    std::int64_t const offset = utc + standard, seconds = offset < 0 ? -offset : offset;
    if (utc == 0 && standard == 0 && name == "Etc/UTC") {
      text.push_back('Z');
    } else {
      text.push_back(offset < 0 ? '-' : '+');
      append_padded(text, seconds / 3600, 2);
      text.push_back(':');
      append_padded(text, seconds % 3600 / 60, 2);
    }
    if (!named || name == "Etc/UTC") return true;
    if (!field(term, "zone_abbr", at) || !at.binary(abbreviation) || !phx::json::utf8(abbreviation)) return false;
    ((text += ' ') += abbreviation) += ' ';
    text += name;
    return true;
  }
  /// Decimal.to_string(value, :normal)
  [[nodiscard]] bool decimal(std::string_view term, std::string& text) const {
    std::int64_t sign, exponent;
    constexpr std::int64_t most_zeros = 1'000;
    reader at(term);
    if (!number(term, "sign", -1, 1, sign) || !field(term, "coef", at)) return false;
    if (sign == -1) text.push_back('-');
    if (at.at_atom()) {
      std::string_view name;
      if (!at.atom(name)) return false;
      if (name == "inf")
        text += "Infinity";
      else if (name == "NaN" || name == "qNaN")
        text += "NaN";
      else if (name == "sNaN")
        text += "sNaN";
      else
        return false;
      return true;
    }
    bool negative = false;
    std::string_view bytes;
    char buffer[4];
    if (!at.at_integer() || !at.integer(negative, bytes, buffer) || negative || bytes.size() > limit_.integer_bytes ||
        !number(term, "exp", -most_zeros - static_cast<std::int64_t>(limit_.integer_bytes) * 5 / 2, most_zeros, exponent))
      return false;
    std::string digits = decimal_digits(bytes);
    auto const point = static_cast<std::int64_t>(digits.size()) + exponent;  // how many digits stand before it
    if (exponent >= 0) {
      digits.append(static_cast<std::size_t>(exponent), '0');
    } else if (point > 0) {
      digits.insert(static_cast<std::size_t>(point), 1, '.');
    } else {
      digits.insert(0, "0." + std::string(static_cast<std::size_t>(-point), '0'));
    }
    text += digits;
    return true;
  }

  bounds limit_;
  struct_hook hook_;
  bool may_have_structs_;
  std::string refused_struct_{};
};

}  // namespace etf
}  // namespace PHX_BUILD
}  // namespace phx

#endif
