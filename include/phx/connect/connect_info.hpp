#ifndef PHX_CONNECT_CONNECT_INFO_HPP
#define PHX_CONNECT_CONNECT_INFO_HPP
// An HTTP request as a host hands it over, the params in its query, and what of it user code gets to see (protocol 8.2).
// All of this runs once for each connection and allocates: without memory std::bad_alloc leaves, here and in the handshake.

#include <phx/core/text/base64.hpp>
#include <phx/core/text/ascii.hpp>
#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phx::inline PHX_BUILD {

/// What a host writes instead of an upgrade. http_answer{}: 403 with an empty body, Phoenix's plain refusal.
struct http_answer {
  std::uint16_t status = 403;
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string body{};
};

struct header {
  std::string_view name, value;
};

/// The other end of the connection, as the server sees it.
struct peer_data {
  std::string_view address{};
  std::uint16_t port = 0;
  std::optional<std::string_view> ssl_cert{};  ///< the peer's certificate, DER
};

/// Which of a mount's two ways a client came (protocol 8.1 and 10).
enum class transport_kind : std::uint8_t { websocket, longpoll };
[[nodiscard]] constexpr std::string_view to_string(transport_kind k) noexcept {
  return k == transport_kind::websocket ? "websocket" : "longpoll";
}

namespace detail {
[[nodiscard]] constexpr std::string_view without_spaces_around(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}
/// Takes the part of `rest` up to `separator`, or all of it, away from `rest`.
[[nodiscard]] constexpr std::string_view next_part(std::string_view& rest, char separator) noexcept {
  std::size_t const end = rest.find(separator);
  std::string_view const part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}
/// Well-formed as Unicode has it: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] constexpr bool well_formed(std::string_view s) noexcept {
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  for (std::size_t i = 0; i < s.size();) {
    unsigned const lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t const more = lead >= 0xC2 && lead <= 0xDF   ? 1u
                             : (lead & 0xF0u) == 0xE0       ? 2u
                             : lead >= 0xF0 && lead <= 0xF4 ? 3u
                                                            : 0u;
    if (more == 0 || s.size() - i <= more) return false;
    unsigned const second = byte(i + 1);
    unsigned const least = lead == 0xE0 ? 0xA0u : lead == 0xF0 ? 0x90u : 0x80u;
    unsigned const most = lead == 0xED ? 0x9Fu : lead == 0xF4 ? 0x8Fu : 0xBFu;
    if (second < least || second > most) return false;
    for (std::size_t k = 2; k <= more; ++k)
      if ((byte(i + k) & 0xC0u) != 0x80) return false;
    i += more + 1;
  }
  return true;
}
/// A peer's text on its way into a log: one line, no control characters, not too long.
[[nodiscard]] inline std::string for_a_log(std::string_view text, std::size_t longest = 200) {
  std::string out(text.substr(0, longest));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  if (text.size() > longest) out += "...";
  return out;
}
}  // namespace detail

/// The first header of that name, whatever its case.
[[nodiscard]] constexpr std::optional<std::string_view> header_value(std::span<header const> headers,
                                                                     std::string_view name) noexcept {
  for (header const& h : headers)
    if (detail::same_but_for_case(h.name, name)) return h.value;
  return std::nullopt;
}

namespace detail {
/// Whether `word` is in the list that the headers `name` (`connection`, `upgrade`) make together.
[[nodiscard]] constexpr bool header_lists(std::span<header const> headers, std::string_view name, std::string_view word) noexcept {
  for (header const& h : headers)
    if (same_but_for_case(h.name, name))
      for (std::string_view rest = h.value; !rest.empty();)
        if (same_but_for_case(without_spaces_around(next_part(rest, ',')), word)) return true;
  return false;
}
}  // namespace detail

/// What a host hands over. All views: they need to live until connect has returned, no longer.
struct request {
  std::string_view method = "GET";
  /// As the server sees it: behind a TLS proxy that is the proxy's, unless the host knows better.
  std::string_view scheme = "http";
  std::string_view host{};  ///< of the Host header, without port and brackets
  std::uint16_t port = 80;
  std::string_view path = "/";  ///< as it was sent, percent escapes and all
  std::string_view query{};     ///< without the question mark
  std::span<phx::header const> headers{};
  peer_data peer{};

  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const noexcept {
    return header_value(headers, name);
  }
  /// For hosts whose HTTP library gives them a request line and headers: `target` is `/path?query` or `http://host/path`,
  /// host and port come from the Host header (port 0, which equals no origin's, where that is nonsense).
  [[nodiscard]] static request of(std::string_view method, std::string_view target, std::span<phx::header const> headers,
                                  peer_data peer = {}, std::string_view scheme = "http") noexcept {
    request r;
    r.method = method;
    r.scheme = scheme;
    r.headers = headers;
    r.peer = peer;
    std::string_view authority = r.header("host").value_or("");
    if (!target.starts_with('/')) {
      if (std::size_t const slashes = target.find("://"); slashes != std::string_view::npos) {
        target.remove_prefix(slashes + 3);
        std::size_t const end = target.find_first_of("/?");
        authority = target.substr(0, end);
        target.remove_prefix(end == std::string_view::npos ? target.size() : end);
      }
    }
    r.path = detail::next_part(target, '?');
    r.query = target;
    if (r.path.empty()) r.path = "/";
    authority = detail::without_spaces_around(authority);
    std::size_t const bracket = authority.starts_with('[') ? authority.find(']') : std::string_view::npos;
    std::size_t const colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
    r.host = authority.substr(0, colon);
    if (r.host.starts_with('[') && r.host.ends_with(']')) r.host = r.host.substr(1, r.host.size() - 2);
    r.port = scheme == "https" || scheme == "wss" ? 443 : 80;
    if (colon != std::string_view::npos && colon + 1 < authority.size()) {
      std::uint32_t port = 0;
      for (char const c : authority.substr(colon + 1))
        port = c >= '0' && c <= '9' && port <= 65'535 ? port * 10 + static_cast<std::uint32_t>(c - '0') : 65'536;
      r.port = port <= 65'535 ? static_cast<std::uint16_t>(port) : std::uint16_t{0};
    }
    return r;
  }
};

class params;

/// One parameter, or one element of a nested one. A view of the params it came from.
class param {
 public:
  class iterator;

  /// Empty for an element of a list.
  [[nodiscard]] inline std::string_view name() const noexcept;
  /// Nothing where the parameter is a list or a map.
  [[nodiscard]] inline std::optional<std::string_view> text() const noexcept;
  [[nodiscard]] inline bool is_list() const noexcept;  ///< `a[]=1&a[]=2`
  [[nodiscard]] inline bool is_map() const noexcept;   ///< `a[b]=1`
  /// The elements of a list or map; none for text.
  [[nodiscard]] inline iterator begin() const noexcept;
  [[nodiscard]] inline iterator end() const noexcept;

 private:
  friend class params;
  param(params const& all, std::uint32_t at) noexcept : all_(&all), at_(at) {}
  params const* all_;
  std::uint32_t at_;
};

/// The parameters of a query, decoded as Plug decodes them (protocol 8.1): `+` is a space, `a[b]=c` nests, `a[]=c` makes a
/// list, of two the last counts; every name and value is UTF-8. An owner: it may outlive the request.
class params {
 public:
  /// What a query may cost. Plug takes 1,000,000 bytes and any number of parameters; no HTTP server in front of it takes
  /// a request line that long, and a long query only serves who wants to keep a server busy.
  struct bounds {
    std::size_t bytes = 65'536;
    std::uint32_t count = 512;
    std::uint32_t depth = 32;  ///< of brackets
  };

  params() : nodes_(1) {}

  /// @return errc::wrong_shape for an escape that is none (`%`, `%2`, `%zz`), errc::invalid_utf8, errc::limit_reached.
  ///   Nothing is guessed: a request that cannot be read is refused, as Plug does with 400.
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
        if (!detail::well_formed(p.view(*to))) return error{errc::invalid_utf8, detail::for_a_log(key)};
      }
      if (!p.insert(key_at, value_at, most.depth)) return error{errc::limit_reached, detail::for_a_log(key)};
    }
    return p;
  }
  [[nodiscard]] static result<params> parse(std::string_view query) { return parse(query, bounds{}); }

  /// The text of a parameter: "a", or "a[b]" for a nested one. Nothing where it is absent, a list or a map.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const noexcept {
    std::uint32_t const at = walk(name);
    return at == none || nodes_[at].nested ? std::nullopt : std::optional(view(nodes_[at].text));
  }
  /// A parameter of any kind, named as for get().
  [[nodiscard]] std::optional<param> find(std::string_view name) const noexcept {
    std::uint32_t const at = walk(name);
    return at == none ? std::nullopt : std::optional(param(*this, at));
  }
  [[nodiscard]] inline param::iterator begin() const noexcept;
  [[nodiscard]] inline param::iterator end() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< without what is nested
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// What a mount's path names (`/socket/:room`) replaces what the query says. Both are copied.
  void set(std::string_view name, std::string_view text) {
    slice const n = keep(name), t = keep(text);
    put(0, n, t);
  }

  /// For a log: `a=1&b[c]=2&token=[FILTERED]`, on one line. Whatever is under a name that contains a filter word is withheld
  /// (protocol 17: `password` or `token`), whatever its case.
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
  // Offsets, not pointers: params are moved, and short strings move their bytes.
  struct node {
    slice name{}, text{};
    std::uint32_t first = none, last = none, next = none;
    bool nameless = false;      // an element of a list
    bool nested = false;        // shown as a list or map, not as text
    bool has_children = false;  // was nested at some time
    bool is_list = false;       // the newest child has no name
  };

  [[nodiscard]] std::string_view view(slice s) const noexcept { return std::string_view(bytes_).substr(s.at, s.size); }
  [[nodiscard]] slice keep(std::string_view text) {
    slice const s{static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(text.size())};
    bytes_.append(text);
    return s;
  }
  [[nodiscard]] static constexpr int digit(char c) noexcept {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  }
  [[nodiscard]] bool decode(std::string_view from, slice& to) {
    to.at = static_cast<std::uint32_t>(bytes_.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (from[i] != '%') {
        bytes_ += from[i] == '+' ? ' ' : from[i];
        continue;
      }
      if (from.size() - i < 3) return false;
      int const high = digit(from[i + 1]), low = digit(from[i + 2]);
      if (high < 0 || low < 0) return false;
      bytes_ += static_cast<char>(high * 16 + low);
      i += 2;
    }
    to.size = static_cast<std::uint32_t>(bytes_.size()) - to.at;
    return true;
  }

  /// Plug's rule: a name nests when it ends in `]` and has a `[` that is not its first byte; parts are split at `][`.
  /// Gives the first part; `rest` is then what is between the outermost brackets. False: the name is plain.
  [[nodiscard]] static bool nests(slice& name, std::string_view text, slice& rest) noexcept {
    std::size_t const open = text.find('[');
    if (open == std::string_view::npos || open == 0 || text.back() != ']') return false;
    rest.at = name.at + static_cast<std::uint32_t>(open) + 1;
    rest.size = name.size - static_cast<std::uint32_t>(open) - 2;
    name.size = static_cast<std::uint32_t>(open);
    return true;
  }
  [[nodiscard]] static bool next_of(slice& rest, std::string_view text, slice& part) noexcept {
    std::size_t const seam = text.find("][");
    part = rest;
    if (seam == std::string_view::npos) return false;
    part.size = static_cast<std::uint32_t>(seam);
    rest.at += part.size + 2;
    rest.size -= part.size + 2;
    return true;
  }

  // What Plug (1.16 on) makes of names that meet: text is where it was last given, a list or map where it was first, and the
  // later of the two is what one sees; a list that gets a name becomes a map without its elements, and the other way round.
  [[nodiscard]] bool insert(slice key, slice value, std::uint32_t depth) {
    slice rest{}, part = key;
    if (!nests(part, view(key), rest)) {
      put(0, key, value);
      return true;
    }
    std::uint32_t at = open(0, part, false);
    for (std::uint32_t deep = 1;; ++deep) {
      if (deep > depth) return false;
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
      std::size_t const seam = name.find("][");
      at = named(at, name.substr(0, seam));
      if (seam == std::string_view::npos) return at;
      name.remove_prefix(seam + 2);
    }
  }
  [[nodiscard]] std::uint32_t shown(std::uint32_t in, std::uint32_t from) const noexcept {
    while (from != none && nodes_[from].nameless != nodes_[in].is_list) from = nodes_[from].next;
    return from;
  }
  void write_filtered(std::string& out, std::string& prefix, std::uint32_t in,
                      std::span<std::string_view const> words) const {
    // recursion is as deep as bounds::depth lets names nest
    for (std::uint32_t i = shown(in, nodes_[in].first); i != none; i = shown(in, nodes_[i].next)) {
      std::string_view const name = view(nodes_[i].name);
      std::size_t const before = prefix.size();
      if (in == 0)
        prefix += name;
      else
        prefix.append(1, '[').append(name).append(1, ']');
      bool secret = false;
      for (std::string_view const word : words) secret = secret || detail::contains_but_for_case(name, word);
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

class param::iterator {
 public:
  using value_type = param;
  using difference_type = std::ptrdiff_t;
  using iterator_category = std::input_iterator_tag;
  using pointer = void;
  using reference = param;

  iterator() = default;
  [[nodiscard]] param operator*() const noexcept { return param(*all_, at_); }
  inline iterator& operator++() noexcept;
  iterator operator++(int) noexcept {
    iterator const before = *this;
    ++*this;
    return before;
  }
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
  return {all_, at_, all_->shown(at_, all_->nodes_[at_].first)};
}
inline param::iterator param::end() const noexcept { return {all_, at_, params::none}; }
inline param::iterator params::begin() const noexcept { return {this, 0, shown(0, nodes_[0].first)}; }
inline param::iterator params::end() const noexcept { return {this, 0, none}; }
inline param::iterator& param::iterator::operator++() noexcept {
  at_ = all_->shown(in_, all_->nodes_[at_].next);
  return *this;
}

/// What a client brings to show who it is. Found by admit (mount::auth_token, mount::session), shown to connect.
struct credentials {
  std::optional<std::string> auth_token{};  ///< what the client's `authToken` was; nobody has checked it (protocol 8.4)
  std::optional<std::string> session{};     ///< what mount::session made of the request (protocol 8.3)
};

namespace detail {
/// A `Sec-WebSocket-Protocol` that may carry an auth token (protocol 8.4). The views are of the header.
struct bearer_offer {
  static constexpr std::string_view prefix = "base64url.bearer.phx.";
  std::string_view token{};  ///< the last one, in base 64
  unsigned tokens = 0;
  std::string others{};  ///< all that are no token, `, ` between them

  [[nodiscard]] static bearer_offer of(std::string_view header) {
    bearer_offer b;
    while (!header.empty()) {
      std::string_view const one = without_spaces_around(next_part(header, ','));
      if (one.starts_with(prefix)) {
        b.token = one.substr(prefix.size());
        ++b.tokens;
      } else if (!one.empty()) {
        b.others.append(b.others.empty() ? "" : ", ").append(one);
      }
    }
    return b;
  }
  /// Without what is nobody else's to know.
  [[nodiscard]] static std::string for_a_log(std::string_view header) {
    bearer_offer const b = of(header);
    if (b.tokens == 0) return detail::for_a_log(header);
    return detail::for_a_log(b.others + (b.others.empty() ? "" : ", ") + std::string(prefix) + "[FILTERED]");
  }
};
}  // namespace detail

/// Scheme, host, port, path and query of the request, as the server sees them.
struct uri {
  std::string_view scheme, host;
  std::uint16_t port;
  std::string_view path, query;
};

/// What `connect` gets to see. Cookies and all headers but those named here are withheld on purpose: a WebSocket is not
/// kept to its own origin by the browser, and what connects on the strength of a cookie can be hijacked from another site.
/// Names of headers are in lower case, as in Phoenix. Everything in here dies when connect returns.
class connect_info {
 public:
  connect_info(request const& from, phx::params const& params, transport_kind via = transport_kind::websocket,
               std::span<std::pair<std::string, std::string> const> custom = {}, credentials const* brought = nullptr)
      : request_(from), params_(params), custom_(custom), brought_(brought), via_(via) {
    auto const any_x = [](std::string_view name) { return detail::starts_but_for_case(name, "x-"); };
    auto const any_trace = [](std::string_view name) {
      return detail::same_but_for_case(name, "traceparent") || detail::same_but_for_case(name, "tracestate");
    };
    auto const any_websocket = [](std::string_view name) { return detail::starts_but_for_case(name, "sec-websocket-"); };
    std::size_t letters = 0;
    for (header const& h : from.headers)
      if (any_x(h.name) || any_trace(h.name) || any_websocket(h.name)) letters += h.name.size();
    names_.reserve(letters);  // views of it follow: it must not grow
    auto const take = [&](auto const& wanted) {
      for (header const& h : from.headers) {
        if (!wanted(h.name)) continue;
        std::size_t const at = names_.size();
        for (char const c : h.name) names_.push_back(detail::lower_letter(c));
        headers_.push_back({{names_.data() + at, h.name.size()}, h.value});
      }
      return headers_.size();
    };
    x_ends_ = take(any_x);
    trace_ends_ = take(any_trace);
    take(any_websocket);
    if (auth_token() && via_ == transport_kind::websocket) hide_token();
  }
  connect_info(connect_info const&) = delete;
  connect_info& operator=(connect_info const&) = delete;

  [[nodiscard]] phx::params const& params() const noexcept { return params_; }
  /// The text of a parameter, as params().get(name).
  [[nodiscard]] std::optional<std::string_view> param(std::string_view name) const noexcept { return params_.get(name); }
  [[nodiscard]] transport_kind transport() const noexcept { return via_; }
  [[nodiscard]] phx::uri uri() const noexcept {
    return {request_.scheme, request_.host, request_.port, request_.path, request_.query};
  }
  [[nodiscard]] phx::peer_data const& peer_data() const noexcept { return request_.peer; }
  [[nodiscard]] std::optional<std::string_view> user_agent() const noexcept { return request_.header("user-agent"); }
  /// All that begin with `x-`; find one by header_value(who.x_headers(), "x-request-id").
  [[nodiscard]] std::span<header const> x_headers() const noexcept { return part(0, x_ends_); }
  /// `traceparent` and `tracestate`.
  [[nodiscard]] std::span<header const> trace_context_headers() const noexcept { return part(x_ends_, trace_ends_); }
  /// All that begin with `sec-websocket-`.
  [[nodiscard]] std::span<header const> sec_websocket_headers() const noexcept { return part(trace_ends_, headers_.size()); }
  /// With mount::auth_token: what phoenix.js was given as `authToken`, if it was. Nobody has checked it.
  [[nodiscard]] std::optional<std::string_view> auth_token() const noexcept {
    return brought_ != nullptr && brought_->auth_token ? std::optional<std::string_view>(*brought_->auth_token) : std::nullopt;
  }
  /// With mount::session: the session of the web application the client's page came from, as that source writes it; nothing
  /// where there is none, or where the page could not show that it is that application's.
  [[nodiscard]] std::optional<std::string_view> session() const noexcept {
    return brought_ != nullptr && brought_->session ? std::optional<std::string_view>(*brought_->session) : std::nullopt;
  }
  /// What the mount says of itself (mount::custom).
  [[nodiscard]] std::optional<std::string_view> custom(std::string_view name) const noexcept {
    for (auto const& [key, value] : custom_)
      if (key == name) return value;
    return std::nullopt;
  }

 private:
  /// As in Phoenix the token is gone from the subprotocols, and so is their header where it stood alone.
  void hide_token() {
    bool replaced = false;
    for (std::size_t i = trace_ends_; i < headers_.size(); ++i) {
      if (headers_[i].name != "sec-websocket-protocol") continue;
      if (!replaced) offered_ = detail::bearer_offer::of(headers_[i].value).others;
      if (offered_.empty()) headers_.erase(headers_.begin() + static_cast<std::ptrdiff_t>(i--));
      else if (!replaced) headers_[i].value = offered_;
      replaced = true;
    }
  }
  [[nodiscard]] std::span<header const> part(std::size_t from, std::size_t to) const noexcept {
    return std::span<header const>(headers_).subspan(from, to - from);
  }
  request const& request_;
  phx::params const& params_;
  std::span<std::pair<std::string, std::string> const> custom_;
  credentials const* brought_;
  std::vector<char> names_;
  std::vector<header> headers_;
  std::string offered_;
  std::size_t x_ends_ = 0, trace_ends_ = 0;
  transport_kind via_;
};

}  // namespace phx::inline PHX_BUILD

#endif
