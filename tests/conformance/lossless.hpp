#ifndef TESTS_CONFORMANCE_LOSSLESS_HPP
#define TESTS_CONFORMANCE_LOSSLESS_HPP
// JSON that keeps its number literals, so that integers of any size compare exactly, and the comparison of expected and
// received values (README.md, "A conversation").

#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace conformance {

struct value {
  enum class kind { null, boolean, number, string, array, object } is = kind::null;
  bool truth = false;
  std::string text{};  // of a string; of a number its literal
  std::vector<value> items{};
  std::vector<std::pair<std::string, value>> members{};

  [[nodiscard]] static value of(std::string s) {
    value v;
    v.is = kind::string;
    v.text = std::move(s);
    return v;
  }
  [[nodiscard]] static value of(long long n) {
    value v;
    v.is = kind::number;
    v.text = std::to_string(n);
    return v;
  }
  [[nodiscard]] static value of(bool b) {
    value v;
    v.is = kind::boolean;
    v.truth = b;
    return v;
  }
  [[nodiscard]] static value object() {
    value v;
    v.is = kind::object;
    return v;
  }
  value&& with(std::string key, value item) && {
    members.emplace_back(std::move(key), std::move(item));
    return std::move(*this);
  }

  [[nodiscard]] value const* find(std::string_view key) const {
    for (auto const& [k, v] : members)
      if (k == key) return &v;
    return nullptr;
  }
  [[nodiscard]] long long integer() const { return std::strtoll(text.c_str(), nullptr, 10); }
};

/// Which of two equal keys of an object counts: JavaScript takes the last, Phoenix the first.
enum class of_equal_keys { first, last };

class reader {
 public:
  explicit reader(std::string_view text, of_equal_keys which = of_equal_keys::last) : text_(text), which_(which) {}
  [[nodiscard]] std::optional<value> whole() {
    std::optional<value> v = next();
    space();
    return v && at_ == text_.size() ? v : std::nullopt;
  }

 private:
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  [[nodiscard]] bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  static void utf8(std::string& out, unsigned long c) {
    auto const put = [&out](unsigned long byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) return put(c);
    if (c < 0x800) return put(0xC0 | c >> 6), put(0x80 | (c & 63));
    if (c < 0x10000) return put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  }
  [[nodiscard]] unsigned long hex4() {
    unsigned long const u = std::strtoul(std::string(text_.substr(at_, 4)).c_str(), nullptr, 16);
    at_ += 4;
    return u;
  }
  [[nodiscard]] std::optional<std::string> string() {
    std::string out;
    for (++at_; at_ < text_.size();) {
      char const c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out.push_back(c);
        continue;
      }
      if (at_ == text_.size()) break;
      char const e = text_[at_++];
      if (e != 'u') {
        std::size_t const which = std::string_view("bfnrt").find(e);
        out.push_back(which == std::string_view::npos ? e : "\b\f\n\r\t"[which]);
        continue;
      }
      unsigned long u = hex4();
      if (u >= 0xD800 && u < 0xDC00 && take("\\u")) u = 0x10000 + ((u - 0xD800) << 10) + (hex4() - 0xDC00);
      utf8(out, u);
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<value> next() {
    space();
    value v;
    if (at_ == text_.size()) return std::nullopt;
    switch (text_[at_]) {
      case '{':
        v.is = value::kind::object;
        ++at_;
        space();
        if (take("}")) return v;
        for (;;) {
          space();
          if (at_ == text_.size() || text_[at_] != '"') return std::nullopt;
          std::optional<std::string> key = string();
          space();
          if (!key || !take(":")) return std::nullopt;
          std::optional<value> member = next();
          if (!member) return std::nullopt;
          bool known = false;
          for (auto& [k, old] : v.members)
            if (k == *key) {
              known = true;
              if (which_ == of_equal_keys::last) old = *member;
            }
          if (!known) v.members.emplace_back(*std::move(key), *std::move(member));
          space();
          if (take("}")) return v;
          if (!take(",")) return std::nullopt;
        }
      case '[':
        v.is = value::kind::array;
        ++at_;
        space();
        if (take("]")) return v;
        for (;;) {
          std::optional<value> item = next();
          if (!item) return std::nullopt;
          v.items.push_back(*std::move(item));
          space();
          if (take("]")) return v;
          if (!take(",")) return std::nullopt;
        }
      case '"': {
        std::optional<std::string> s = string();
        return s ? std::optional(value::of(*std::move(s))) : std::nullopt;
      }
      default: break;
    }
    if (take("null")) return v;
    if (take("true")) return value::of(true);
    if (take("false")) return value::of(false);
    std::size_t const end = text_.find_first_not_of("+-.0123456789eE", at_);
    v.is = value::kind::number;
    v.text = text_.substr(at_, end == std::string_view::npos ? end : end - at_);
    at_ += v.text.size();
    return v.text.empty() ? std::nullopt : std::optional(std::move(v));
  }

  std::string_view text_;
  of_equal_keys which_;
  std::size_t at_ = 0;
};

/// As JSON.stringify writes it, with the numbers as they were.
inline void write(value const& v, std::string& out) {
  auto const quoted = [&out](std::string_view s) {
    out.push_back('"');
    for (char const c : s) {
      if (c == '"' || c == '\\') {
        out.append({'\\', c});
      } else if (static_cast<unsigned char>(c) < 0x20) {
        std::size_t const which = std::string_view("\b\f\n\r\t").find(c);
        if (which != std::string_view::npos)
          out.append({'\\', "bfnrt"[which]});
        else
          out.append("\\u00").append({"01"[c >> 4 & 1], "0123456789abcdef"[c & 15]});
      } else {
        out.push_back(c);
      }
    }
    out.push_back('"');
  };
  char comma = 0;
  switch (v.is) {
    case value::kind::null: out += "null"; break;
    case value::kind::boolean: out += v.truth ? "true" : "false"; break;
    case value::kind::number: out += v.text; break;
    case value::kind::string: quoted(v.text); break;
    case value::kind::array:
      out.push_back('[');
      for (value const& item : v.items) {
        if (comma != 0) out.push_back(comma);
        comma = ',';
        write(item, out);
      }
      out.push_back(']');
      break;
    case value::kind::object:
      out.push_back('{');
      for (auto const& [key, member] : v.members) {
        if (comma != 0) out.push_back(comma);
        comma = ',';
        quoted(key);
        out.push_back(':');
        write(member, out);
      }
      out.push_back('}');
      break;
  }
}
[[nodiscard]] inline std::string text(value const& v) {
  std::string out;
  write(v, out);
  return out;
}
/// For a message about a difference.
[[nodiscard]] inline std::string brief(value const& v) {
  std::string out = text(v);
  if (out.size() > 500) out = out.substr(0, 500) + "... (" + std::to_string(out.size()) + " characters)";
  return out;
}

/// The values of each `$id` so far.
using names = std::map<std::string, std::string>;

/// Empty if `got` matches; otherwise where and how they differ.
[[nodiscard]] inline std::string mismatch(value const& want, value const& got, names& known, std::string const& path = {}) {
  using kind = value::kind;
  auto const differ = [&](std::string const& wanted) {
    return (path.empty() ? "frame" : path) + ": expected " + wanted + ", got " + brief(got);
  };
  if (want.is == kind::object && want.members.size() == 1) {
    std::string const& key = want.members.front().first;
    value const& arg = want.members.front().second;
    if (key == "$any") {
      constexpr char const* of[] = {"null", "boolean", "number", "string", "array", "object"};
      bool const fits = arg.text == "value" || arg.text == of[static_cast<int>(got.is)];
      return fits ? "" : differ("any " + arg.text);
    }
    if (key == "$id") {
      if (got.is != kind::string || got.text.empty()) return differ("an identifier");
      if (auto const old = known.find(arg.text); old != known.end())
        return old->second == got.text ? "" : differ("identifier " + arg.text + " = " + old->second);
      for (auto const& [name, taken] : known)
        if (taken == got.text) return differ("an identifier " + arg.text + " that is not " + name);
      known[arg.text] = got.text;
      return "";
    }
    if (key == "$one_of") {
      for (value const& one : arg.items) {
        names trial = known;
        if (mismatch(one, got, trial).empty()) return "";
      }
      return differ("one of " + brief(arg));
    }
    if (key == "$set") {
      if (got.is != kind::array || got.items.size() != arg.items.size())
        return differ("an array of " + std::to_string(arg.items.size()));
      std::vector<bool> used(arg.items.size());
      auto const place = [&](auto const& self, std::size_t i) -> bool {
        if (i == got.items.size()) return true;
        for (std::size_t j = 0; j < arg.items.size(); ++j) {
          if (used[j]) continue;
          names const saved = known;
          if (mismatch(arg.items[j], got.items[i], known).empty()) {
            used[j] = true;
            if (self(self, i + 1)) return true;
            used[j] = false;
          }
          known = saved;
        }
        return false;
      };
      return place(place, 0) ? "" : differ("these in any order: " + brief(arg));
    }
  }
  if (want.is != got.is) return differ(brief(want));
  switch (want.is) {
    case kind::null: return "";
    case kind::boolean: return want.truth == got.truth ? "" : differ(brief(want));
    case kind::string: return want.text == got.text ? "" : differ(brief(want));
    case kind::number: {
      auto const whole = [](std::string const& n) { return n.find_first_not_of("-0123456789") == std::string::npos; };
      auto const bare = [](std::string const& n) { return n == "-0" ? std::string("0") : n; };
      bool const same = whole(want.text) && whole(got.text)
                            ? bare(want.text) == bare(got.text)
                            : !(std::strtod(want.text.c_str(), nullptr) < std::strtod(got.text.c_str(), nullptr)) &&
                                  !(std::strtod(want.text.c_str(), nullptr) > std::strtod(got.text.c_str(), nullptr));
      return same ? "" : differ(brief(want));
    }
    case kind::array:
      for (std::size_t i = 0; i < want.items.size() && i < got.items.size(); ++i)
        if (std::string m = mismatch(want.items[i], got.items[i], known, path + "[" + std::to_string(i) + "]"); !m.empty())
          return m;
      return want.items.size() == got.items.size() ? "" : differ(std::to_string(want.items.size()) + " elements");
    case kind::object:
      for (auto const& [key, member] : want.members) {
        value const* const there = got.find(key);
        if (there == nullptr) return path + "." + key + ": missing, expected " + brief(member);
        if (std::string m = mismatch(member, *there, known, path + "." + key); !m.empty()) return m;
      }
      for (auto const& [key, member] : got.members)
        if (want.find(key) == nullptr) return path + "." + key + ": unexpected, " + brief(member);
      return "";
  }
  return "";
}

}  // namespace conformance

#endif
