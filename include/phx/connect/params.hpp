#ifndef PHX_CONNECT_PARAMS_HPP
#define PHX_CONNECT_PARAMS_HPP
// The parameters of a request's query, decoded as Plug decodes them (protocol 8.1). Parsed once per connection. Allocates;
// throws std::bad_alloc when memory runs out.

#include <phx/core/error.hpp>
#include <phx/core/text/filter.hpp>
#include <phx/core/text/percent.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {

class params;

/// One parameter, or one element of a list or map. A view: the params that returned it must outlive it, unchanged.
class param {
 public:
  class iterator;

  /// The name; empty for an element of a list.
  [[nodiscard]] inline std::string_view name() const noexcept;
  /// The value; nothing if the parameter is a list or a map.
  [[nodiscard]] inline std::optional<std::string_view> text() const noexcept;
  [[nodiscard]] inline bool is_list() const noexcept;  ///< `a[]=1&a[]=2`
  [[nodiscard]] inline bool is_map() const noexcept;   ///< `a[b]=1`
  /// The elements of a list or map; none for text.
  [[nodiscard]] inline iterator begin() const noexcept;
  /// The end of the elements.
  [[nodiscard]] inline iterator end() const noexcept;

 private:
  friend class params;
  param(params const& all, std::uint32_t at) noexcept : all_(&all), at_(at) {}
  params const* all_;
  std::uint32_t at_;
};

/// The parameters of a query, decoded as Plug decodes them (protocol 8.1): `+` is a space, `a[b]=c` makes a map, `a[]=c` a
/// list; if a name occurs twice the last value counts; all names and values are UTF-8. Make one with parse, read it with get
/// or find. Owns its text, so it may outlive the request.
class params {
 public:
  /// The limits of a query. Plug allows 1,000,000 bytes and any number of parameters. These are lower, because HTTP servers
  /// limit the request line anyway, and a long query costs the server time.
  struct bounds {
    std::size_t bytes = 65'536;  ///< bytes of the query
    std::uint32_t count = 512;   ///< parameters
    std::uint32_t depth = 32;    ///< nested brackets
  };

  params() : nodes_(1) {}

  /// Parses a query. @return errc::wrong_shape for an invalid escape (`%`, `%2`, `%zz`), errc::invalid_utf8, or
  /// errc::limit_reached. An invalid query is never repaired: the request is refused, as Plug does with 400.
  [[nodiscard]] static result<params> parse(std::string_view query, bounds const& most) {
    if (query.size() > most.bytes) return error{errc::limit_reached, "the query"};
    params p;
    p.bytes_.reserve(query.size());
    std::uint32_t count = 0;
    while (!query.empty()) {
      std::string_view value = detail::next_part(query, '&');
      if (value.empty()) continue;
      if (++count > most.count) return error{errc::limit_reached, "the query"};
      std::string_view const key = detail::next_part(value, '=');
      slice key_at, value_at;
      for (auto const& [from, to] : {std::pair{key, &key_at}, std::pair{value, &value_at}}) {
        if (!p.decode(from, *to)) return error{errc::wrong_shape, detail::for_a_log(key)};
        if (!detail::is_utf8(p.view(*to))) return error{errc::invalid_utf8, detail::for_a_log(key)};
      }
      if (!p.insert(key_at, value_at, most.depth)) return error{errc::limit_reached, detail::for_a_log(key)};
    }
    return p;
  }
  /// The same with the default limits.
  [[nodiscard]] static result<params> parse(std::string_view query) { return parse(query, bounds{}); }

  /// From parameters that a server or web framework has decoded already, for admit and handshake. The rules are those of
  /// parse, without percent escapes: `a[b]` makes a map, `a[]` a list, and of a name that occurs twice the last value counts,
  /// so pass the pairs in the order of the query where there is one.
  /// @param pairs a range of pairs of a name and a value, such as std::map<std::string, std::string>; copied
  /// @param most the mount's `query`; the bytes are those of all names and values
  /// @return as parse: errc::invalid_utf8 or errc::limit_reached.
  template <class Pairs>
  [[nodiscard]] static result<params> decoded(Pairs const& pairs, bounds const& most) {
    params p;
    std::uint32_t count = 0;
    for (auto const& [given_name, given_value] : pairs) {
      std::string_view const name = given_name, value = given_value;
      std::size_t const left = most.bytes - p.bytes_.size();
      if (name.size() > left || value.size() > left - name.size() || ++count > most.count)
        return error{errc::limit_reached, "the query"};
      if (!detail::is_utf8(name) || !detail::is_utf8(value)) return error{errc::invalid_utf8, detail::for_a_log(name)};
      slice const name_at = p.keep(name), value_at = p.keep(value);
      if (!p.insert(name_at, value_at, most.depth)) return error{errc::limit_reached, detail::for_a_log(name)};
    }
    return p;
  }
  /// The same with the default limits.
  template <class Pairs>
  [[nodiscard]] static result<params> decoded(Pairs const& pairs) {
    return decoded(pairs, bounds{});
  }

  /// The value of a parameter: "a", or "a[b]" for an element of a map. Nothing if it is absent, a list or a map.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept {
    std::uint32_t const at = walk(name);
    return at == none || nodes_[at].nested ? std::nullopt : std::optional(view(nodes_[at].text));
  }
  /// A parameter of any kind, named as for get().
  [[nodiscard]] std::optional<param> find(std::string_view name) const noexcept {
    std::uint32_t const at = walk(name);
    return at == none ? std::nullopt : std::optional(param(*this, at));
  }
  /// The first parameter.
  [[nodiscard]] inline param::iterator begin() const noexcept;
  /// The end of the parameters.
  [[nodiscard]] inline param::iterator end() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< the number of parameters; a list or map counts once
  /// True if there are no parameters.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// Sets a parameter, and replaces one of that name: a mount's path (`/socket/:room`) takes precedence over the query. Copies
  /// both texts.
  void set(std::string_view name, std::string_view text) {
    slice const n = keep(name), t = keep(text);
    put(0, n, t);
  }

  /// All parameters on one line, for a log: `a=1&b[c]=2&token=[FILTERED]`. Values whose name contains one of `words` are
  /// filtered; case is ignored (protocol 17: `password` and `token`).
  [[nodiscard]] std::string filtered(std::span<std::string_view const> words = detail::filter_words) const {
    std::string out;
    std::string prefix;
    write_filtered(out, prefix, 0, words);
    return out;
  }

 private:
  friend class param;
  struct slice {
    std::uint32_t at = 0, size = 0;
  };
  static constexpr std::uint32_t none = 0xFFFFFFFFu;
  // Offsets instead of pointers: a short string moves its bytes when the params are moved.
  struct node {
    slice name{}, text{};
    std::uint32_t first = none, last = none, next = none;
    bool nameless = false;      // an element of a list
    bool nested = false;        // a list or map, not text
    bool has_children = false;  // has been a list or map at some time
    bool is_list = false;       // the latest child has no name
  };

  [[nodiscard]] std::string_view view(slice s) const noexcept { return std::string_view(bytes_).substr(s.at, s.size); }
  [[nodiscard]] slice keep(std::string_view text) {
    slice const s{static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(text.size())};
    bytes_.append(text);
    return s;
  }
  [[nodiscard]] bool decode(std::string_view from, slice& to) {
    to.at = static_cast<std::uint32_t>(bytes_.size());
    if (!detail::percent_decode(from, bytes_)) return false;
    to.size = static_cast<std::uint32_t>(bytes_.size()) - to.at;
    return true;
  }

  /// Plug's rule: a name nests if it ends in `]` and has a `[` that is not its first byte; its parts are separated by `][`.
  /// Shortens `name` to the first part and sets `rest` to the text between the outer brackets. False if it does not nest.
  [[nodiscard]] static bool nests(slice& name, std::string_view text, slice& rest) noexcept {
    std::size_t const open = text.find('[');
    if (open == std::string_view::npos || open == 0 || text.back() != ']') return false;
    rest.at = name.at + static_cast<std::uint32_t>(open) + 1;
    rest.size = name.size - static_cast<std::uint32_t>(open) - 2;
    name.size = static_cast<std::uint32_t>(open);
    return true;
  }
  [[nodiscard]] static bool next_of(slice& rest, std::string_view text, slice& part) noexcept {
    std::size_t const separator = text.find("][");
    part = rest;
    if (separator == std::string_view::npos) return false;
    part.size = static_cast<std::uint32_t>(separator);
    rest.at += part.size + 2;
    rest.size -= part.size + 2;
    return true;
  }

  // Names that occur several times, as in Plug 1.16 and later: a text has the position of its last occurrence, a list or map
  // that of its first. If a name is both, the later one counts. A list that gets a named element becomes a map without the
  // elements of the list, and vice versa.
  [[nodiscard]] bool insert(slice key, slice value, std::uint32_t depth) {
    slice rest{}, part = key;
    if (!nests(part, view(key), rest)) {
      put(0, key, value);
      return true;
    }
    std::uint32_t at = open(0, part, false);
    for (std::uint32_t level = 1;; ++level) {
      if (level > depth) return false;
      bool const more = next_of(rest, view(rest), part);
      if (!more) break;
      at = open(at, part, part.size == 0);
    }
    if (part.size == 0)
      append(at, part, value);
    else
      put(at, part, value);
    return true;
  }
  [[nodiscard]] std::uint32_t named(std::uint32_t in, std::string_view name) const noexcept {
    for (std::uint32_t i = nodes_[in].first; i != none; i = nodes_[i].next)
      if (!nodes_[i].nameless && view(nodes_[i].name) == name) return i;
    return none;
  }
  std::uint32_t append(std::uint32_t in, slice name, slice text, bool nameless = true) {
    std::uint32_t const i = static_cast<std::uint32_t>(nodes_.size());
    node n;
    n.name = name;
    n.text = text;
    n.nameless = nameless;
    nodes_.push_back(n);
    (nodes_[in].first == none ? nodes_[in].first : nodes_[nodes_[in].last].next) = i;
    nodes_[in].last = i;
    nodes_[in].is_list = nameless;
    if (in == 0) ++size_;
    return i;
  }
  void put(std::uint32_t in, slice name, slice text) {
    std::uint32_t i = named(in, view(name));
    if (i == none) i = append(in, name, text, false);
    nodes_[i].text = text;
    nodes_[i].nested = false;
    nodes_[in].is_list = false;
  }
  [[nodiscard]] std::uint32_t open(std::uint32_t in, slice name, bool nameless) {
    std::uint32_t i = none;
    if (nameless) {
      for (i = nodes_[in].first; i != none && !(nodes_[i].nameless && nodes_[i].has_children); i = nodes_[i].next) {
      }
    } else {
      i = named(in, view(name));
    }
    if (i != none && nodes_[i].has_children) return i;
    if (i == none) i = append(in, name, {}, nameless);
    nodes_[i].nested = nodes_[i].has_children = true;
    nodes_[in].is_list = nameless;
    return i;
  }

  [[nodiscard]] std::uint32_t walk(std::string_view name) const noexcept {
    std::size_t const open = name.find('[');
    if (open == std::string_view::npos || open == 0 || name.back() != ']') return named(0, name);
    std::uint32_t at = named(0, name.substr(0, open));
    for (name = name.substr(open + 1, name.size() - open - 2);;) {
      if (at == none || !nodes_[at].nested || nodes_[at].is_list) return none;
      std::size_t const separator = name.find("][");
      at = named(at, name.substr(0, separator));
      if (separator == std::string_view::npos) return at;
      name.remove_prefix(separator + 2);
    }
  }
  /// The first child of `in` from `from` on that belongs to its present kind (list or map).
  [[nodiscard]] std::uint32_t visible(std::uint32_t in, std::uint32_t from) const noexcept {
    while (from != none && nodes_[from].nameless != nodes_[in].is_list) from = nodes_[from].next;
    return from;
  }
  void write_filtered(std::string& out, std::string& prefix, std::uint32_t in,
                      std::span<std::string_view const> words) const {
    // bounds::depth limits the recursion
    for (std::uint32_t i = visible(in, nodes_[in].first); i != none; i = visible(in, nodes_[i].next)) {
      std::string_view const name = view(nodes_[i].name);
      std::size_t const before = prefix.size();
      if (in == 0)
        prefix += name;
      else
        prefix.append(1, '[').append(name).append(1, ']');
      bool secret = false;
      for (std::string_view const word : words) secret = secret || detail::contains_ignoring_case(name, word);
      if (nodes_[i].nested && !secret) {
        write_filtered(out, prefix, i, words);
      } else {
        if (!out.empty()) out += '&';
        out += detail::for_a_log(prefix);
        out += '=';
        out += secret ? std::string("[FILTERED]") : detail::for_a_log(view(nodes_[i].text));
      }
      prefix.resize(before);
    }
  }

  std::string bytes_;
  std::vector<node> nodes_;  // the first is the root
  std::uint32_t size_ = 0;
};

/// Iterates over parameters, or over the elements of a list or a map.
class param::iterator {
 public:
  /// For the standard library.
  using value_type = param;
  /// For the standard library.
  using difference_type = std::ptrdiff_t;
  /// For the standard library.
  using iterator_category = std::input_iterator_tag;
  /// For the standard library.
  using pointer = void;
  /// For the standard library.
  using reference = param;

  iterator() = default;
  /// The parameter.
  [[nodiscard]] param operator*() const noexcept { return param(*all_, at_); }
  /// Moves to the next one.
  inline iterator& operator++() noexcept;
  /// Moves to the next one.
  iterator operator++(int) noexcept {
    iterator const before = *this;
    ++*this;
    return before;
  }
  /// True if both are at the same parameter.
  [[nodiscard]] friend bool operator==(iterator const& a, iterator const& b) noexcept { return a.at_ == b.at_; }

 private:
  friend class param;
  friend class params;
  iterator(params const* all, std::uint32_t in, std::uint32_t at) noexcept : all_(all), in_(in), at_(at) {}
  params const* all_ = nullptr;
  std::uint32_t in_ = 0, at_ = 0xFFFFFFFFu;
};

inline std::string_view param::name() const noexcept { return all_->view(all_->nodes_[at_].name); }
inline std::optional<std::string_view> param::text() const noexcept {
  return all_->nodes_[at_].nested ? std::nullopt : std::optional(all_->view(all_->nodes_[at_].text));
}
inline bool param::is_list() const noexcept { return all_->nodes_[at_].nested && all_->nodes_[at_].is_list; }
inline bool param::is_map() const noexcept { return all_->nodes_[at_].nested && !all_->nodes_[at_].is_list; }
inline param::iterator param::begin() const noexcept {
  if (!all_->nodes_[at_].nested) return end();
  return {all_, at_, all_->visible(at_, all_->nodes_[at_].first)};
}
inline param::iterator param::end() const noexcept { return {all_, at_, params::none}; }
inline param::iterator params::begin() const noexcept { return {this, 0, visible(0, nodes_[0].first)}; }
inline param::iterator params::end() const noexcept { return {this, 0, none}; }
inline param::iterator& param::iterator::operator++() noexcept {
  at_ = all_->visible(in_, all_->nodes_[at_].next);
  return *this;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif
