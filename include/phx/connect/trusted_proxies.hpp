#ifndef PHX_CONNECT_TRUSTED_PROXIES_HPP
#define PHX_CONNECT_TRUSTED_PROXIES_HPP
// The client of a reverse proxy, and the scheme and host of its request: X-Forwarded-* and RFC 7239's Forwarded, as far as
// trusted proxies wrote them. No I/O.
//
//     phx::trusted_proxies const proxies{"127.0.0.1", "10.0.0.0/8", "unix"};
//     phx::request request = ...;                                   // peer: the socket's; scheme, host: as they came
//     if (auto refused = proxies.rewrite(request)) { write(refused->answer); close(); }
//     auto decision = phx::handshake(mount, app, request);          // peer_data, uri and check_origin::conn are the client's

#include <phx/connect/handshake.hpp>
#include <phx/core/text/concat.hpp>
#include <phx/core/text/ip_address.hpp>

#include <initializer_list>

namespace phx {
inline namespace PHX_BUILD {

/// The address of a trusted proxy, or a network of them, as a literal: `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`, or `unix`
/// for those that connect over a Unix socket. An invalid one, or one with bits set after its prefix (`10.0.0.1/8`), does not
/// compile.
class proxy_network {
 public:
  /// From a literal, checked by the compiler.
  template <std::size_t N>
  consteval proxy_network(char const (&text)[N]) : text_(text, N - 1) {
    if (!read(text_).valid) a_trusted_proxy_is_an_address_or_a_network();
  }
  /// The literal.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  friend class trusted_proxies;
  struct network {
    detail::ip_address address{};
    std::uint8_t bits = 128;
    bool v4 = false;
    bool unix_socket = false;
    bool valid = false;
  };
  [[nodiscard]] static constexpr network read(std::string_view text) noexcept {
    network n;
    if (text == "unix") {
      n.unix_socket = n.valid = true;
      return n;
    }
    std::size_t const slash = text.find('/');
    std::optional<detail::ip_address> const address = detail::ip_address::parse(text.substr(0, slash));
    if (!address) return n;
    bool const dotted = text.substr(0, slash).find(':') == std::string_view::npos;
    unsigned bits = dotted ? 32 : 128;
    if (slash != std::string_view::npos) {
      std::string_view const number = text.substr(slash + 1);
      unsigned const most = bits;
      bits = number.empty() || number.size() > 3 || (number.size() > 1 && number[0] == '0') ? 999 : 0;
      for (char const c : number)
        bits = c >= '0' && c <= '9' && bits < 999 ? bits * 10 + static_cast<unsigned>(c - '0') : 999;
      if (bits > most) return n;
    }
    n.address = *address;
    n.bits = static_cast<std::uint8_t>(bits + (dotted ? 96 : 0));
    n.v4 = n.address.is_v4() && n.bits >= 96;
    n.valid = n.address.is_network(n.bits);
    return n;
  }
  static void a_trusted_proxy_is_an_address_or_a_network() {}
  std::string_view text_;
};

/// The headers that your proxies write or remove. Turn off a header that they pass on from clients unchanged, because
/// clients could then choose its value. Proxies that are configured as in examples/proxies/ write or remove all of them.
struct forwarded_headers {
  bool x_forwarded_for = true;    ///< `X-Forwarded-For`: the client's address
  bool x_forwarded_proto = true;  ///< `X-Forwarded-Proto`: http or https
  bool x_forwarded_host = true;   ///< `X-Forwarded-Host`: the host, and perhaps the port
  bool x_forwarded_port = true;   ///< `X-Forwarded-Port`: the port the client connected to
  bool forwarded = true;          ///< `Forwarded` (RFC 7239): `for`, `proto` and `host`
};

/// The reverse proxies whose X-Forwarded-* and Forwarded headers are believed. Empty, the default: no header is read.
///
/// rewrite() starts with the socket's peer. As long as the current address is a trusted proxy's, the next element of
/// X-Forwarded-For (or of Forwarded), which is the client of that proxy, becomes the current address. Elements are read from
/// right to left, over all header lines of that name, until an address is not trusted or is hidden (`unknown`, `_hidden`),
/// or no element is left. The last address is the effective peer. Elements to the left of it were written by untrusted
/// parties and are not parsed.
///
/// | of the request    | becomes                                                                                          |
/// | ----------------- | ------------------------------------------------------------------------------------------------ |
/// | peer.address      | the effective peer's, without port and brackets; `unknown` or `_hidden` as it was sent           |
/// | peer.port         | its port where the element has one, else 0                                                       |
/// | peer.ssl_cert     | none, once the address is another: the certificate was the proxy's                               |
/// | scheme            | `https` or `http`, of `proto` or X-Forwarded-Proto (`wss` and `ws` are taken for these)          |
/// | host              | of `host` or X-Forwarded-Host; else it stays as in the Host header                               |
/// | port              | of `host` or X-Forwarded-Host; else X-Forwarded-Port; else a port that was the old scheme's      |
/// |                   | default becomes the new scheme's                                                                 |
///
/// X-Forwarded-Proto, -Host and -Port may be lists as well, with an element for each proxy: what counts is the element of
/// the outermost trusted proxy, in the same place from the right as the client in X-Forwarded-For, or the leftmost of a
/// shorter list. Of Forwarded it is the leftmost of the elements read that has the parameter.
///
/// The request is refused with 400 (refusal::forwarded) if the socket's peer is trusted and
/// - an element that is read is malformed: no address where one should be, an empty element between commas, a quote that is
///   not closed, a backslash in a quoted string, a port that is not a number up to 65535; a parameter twice in one element;
/// - X-Forwarded-Proto, -Host or -Port comes in two header lines; or names no scheme of the four, no host, no port from 1
///   on;
/// - both dialects are there and disagree: about the client's address; or about its port, the scheme, the host or the host's
///   port where both name one.
///
/// An empty header counts as absent. If the socket's peer is not trusted, none of these headers is read, valid or not.
///
/// connect_info::x_headers contains X-Forwarded-* as they were sent, by any client: read connect_info::peer_data and
/// connect_info::uri instead.
///
/// Constant, it may be used on any thread. @par Cost: a pass over the headers for each header name, and for each address a
/// comparison with each network; allocates only to refuse. Nothing of that if the socket's peer is not trusted.
class trusted_proxies {
 public:
  trusted_proxies() noexcept = default;
  /// Literals, checked by the compiler.
  trusted_proxies(std::initializer_list<proxy_network> list) {
    for (proxy_network const& p : list) add(proxy_network::read(p.text()));
  }
  /// A list known at run time. @return errc::bad_network and the entry that cannot be read.
  template <class List = std::initializer_list<std::string_view>>
  [[nodiscard]] static result<trusted_proxies> parse(List const& entries) {
    trusted_proxies t;
    for (std::string_view const entry : entries)
      if (!t.add(proxy_network::read(entry))) return error{errc::bad_network, std::string(entry)};
    return t;
  }
  /// The same proxies, with only some headers read.
  [[nodiscard]] trusted_proxies reading(forwarded_headers const& which) const {
    trusted_proxies t(*this);
    t.read_ = which;
    return t;
  }

  /// True if no proxy is trusted.
  [[nodiscard]] bool empty() const noexcept { return networks_.empty() && !unix_; }
  /// True if an address is a trusted proxy's. @param address as text; a zone (`%eth0`) is ignored. A Unix socket's peer is
  ///   `unix`, or begins with `unix:`.
  [[nodiscard]] bool trusts(std::string_view address) const noexcept {
    return trusts_ != nullptr && trusts_(*this, address);
  }

  /// Replaces peer, scheme, host and port of a request by what the trusted proxies say; see the table above. Call it before
  /// handshake, longpoll::service::serve and throttle::try_acquire, for each request: one connection of a proxy carries many
  /// clients. @param asked with the socket's peer, and the headers as they came; its new views are of the headers.
  /// @return nothing, or the refusal; `asked` is then as it was. @par Errors: std::bad_alloc when it refuses.
  [[nodiscard]] std::optional<refused_request> rewrite(request& asked) const {
    return trusts(asked.peer.address) ? rewrite_(*this, asked) : std::nullopt;
  }

 private:
  /// An element's address and port, or a name instead of an address.
  struct node {
    std::string_view text{};
    std::uint16_t port = 0;
    std::optional<detail::ip_address> ip{};
    bool unix_socket = false;
  };
  struct authority {
    std::string_view host{};
    std::uint16_t port = 0;
  };
  struct claims {
    std::optional<node> client{};
    std::size_t elements = 0;  // that were read
    std::string_view scheme{};
    authority host{};
    std::uint16_t port = 0;
  };

  // Called by these pointers, which add() sets: a program that names no proxy does not compile what reads their headers.
  [[nodiscard]] static bool is_trusted(trusted_proxies const& self, std::string_view address) noexcept {
    if (is_unix(address)) return self.unix_;
    if (self.networks_.empty()) return false;
    std::optional<detail::ip_address> const ip = detail::ip_address::parse(address.substr(0, address.find('%')));
    return ip && self.trusts(*ip);
  }
  [[nodiscard]] static std::optional<refused_request> rewrite_request(trusted_proxies const& self, request& asked) {
    claims x, rfc;
    if (std::string_view const name = self.read_x_forwarded(asked.headers, x); !name.empty()) return malformed(asked, name);
    if (self.read_.forwarded && !self.read_forwarded(asked.headers, rfc)) return malformed(asked, "forwarded");
    if (contradict(x, rfc)) return refuse(refusal::forwarded, "forwarded and x-forwarded-* contradict each other");
    apply(x.client ? x : rfc, x, rfc, asked);
    return std::nullopt;
  }
  bool add(proxy_network::network const& n) {
    trusts_ = &is_trusted;
    rewrite_ = &rewrite_request;
    if (n.unix_socket)
      unix_ = true;
    else if (n.valid)
      networks_.push_back(n);
    return n.valid;
  }
  [[nodiscard]] static bool is_unix(std::string_view address) noexcept {
    return address == "unix" || address.starts_with("unix:");
  }
  /// IPv6 networks, `::/0` among them, have no IPv4 addresses.
  [[nodiscard]] bool trusts(detail::ip_address const& ip) const noexcept {
    bool const v4 = ip.is_v4();
    for (proxy_network::network const& n : networks_)
      if (n.v4 == v4 && ip.is_in(n.address, n.bits)) return true;
    return false;
  }
  [[nodiscard]] bool trusts(node const& n) const noexcept { return n.unix_socket ? unix_ : n.ip && trusts(*n.ip); }

  [[nodiscard]] static refused_request malformed(request const& asked, std::string_view name) {
    std::string lines;
    return refuse(
        refusal::forwarded,
        detail::concat({name, ": ", detail::for_a_log(detail::joined_header(asked.headers, name, lines).value_or(""))}));
  }

  /// Calls `each(element)` for the elements of the headers `name`, from the last to the first, until it returns false. A
  /// comma in a quoted string does not separate; read from the right, a quote that a client left open is not seen before its
  /// element.
  template <class F>
  static void for_each_from_right(std::span<header const> headers, std::string_view name, F&& each) {
    for (std::size_t i = headers.size(); i-- > 0;) {
      if (!detail::equal_ignoring_case(headers[i].name, name)) continue;
      std::string_view rest = detail::trimmed(headers[i].value);
      for (bool more = !rest.empty(); more;) {
        bool quoted = false;
        std::size_t from = rest.size();
        for (; from != 0 && (quoted || rest[from - 1] != ','); --from) quoted = quoted != (rest[from - 1] == '"');
        more = from != 0;
        if (!each(detail::trimmed(rest.substr(from)))) return;
        rest = rest.substr(0, more ? from - 1 : 0);
      }
    }
  }

  /// @return the name of the malformed header; empty if there is none.
  [[nodiscard]] std::string_view read_x_forwarded(std::span<header const> headers, claims& c) const noexcept {
    bool good = true;
    if (read_.x_forwarded_for)
      for_each_from_right(headers, "x-forwarded-for", [&](std::string_view element) {
        ++c.elements;
        c.client = read_node(element, true);
        good = c.client.has_value();
        return good && trusts(*c.client);
      });
    if (!good) return "x-forwarded-for";
    auto const element = [&](std::string_view name, bool wanted) -> std::string_view {
      std::string_view found{};
      std::size_t lines = 0, at = 0;
      if (!wanted) return found;
      for (header const& h : headers)
        if (detail::equal_ignoring_case(h.name, name) && !detail::trimmed(h.value).empty()) ++lines;
      for_each_from_right(headers, name, [&](std::string_view e) {
        found = e;
        good = good && !e.empty();
        return ++at < c.elements;
      });
      good = good && lines < 2;
      return found;
    };
    if (std::string_view const e = element("x-forwarded-proto", read_.x_forwarded_proto); !good || !e.empty())
      if (!good || !read_scheme(e, c.scheme)) return "x-forwarded-proto";
    if (std::string_view const e = element("x-forwarded-host", read_.x_forwarded_host); !good || !e.empty())
      if (!good || !read_authority(e, c.host)) return "x-forwarded-host";
    if (std::string_view const e = element("x-forwarded-port", read_.x_forwarded_port); !good || !e.empty())
      if (!good || !detail::read_port(e, c.port) || c.port == 0) return "x-forwarded-port";
    return {};
  }

  [[nodiscard]] bool read_forwarded(std::span<header const> headers, claims& c) const noexcept {
    bool good = true;
    for_each_from_right(headers, "forwarded", [&](std::string_view element) {
      ++c.elements;
      std::optional<node> client;
      good = read_element(element, client, c);
      if (client) c.client = client;
      return good && client && trusts(*client);
    });
    return good;
  }
  /// Drops what stands before the first of these characters; everything if there is none.
  static void drop_until(std::string_view& text, std::string_view characters) noexcept {
    std::size_t const at = text.find_first_of(characters);
    text.remove_prefix(at < text.size() ? at : text.size());
  }
  /// One element: `for=...;proto=...;host=...`.
  [[nodiscard]] static bool read_element(std::string_view element, std::optional<node>& client, claims& c) noexcept {
    if (element.empty()) return false;
    unsigned seen = 0;
    while (!element.empty()) {
      std::string_view const name = detail::trimmed(element.substr(0, element.find_first_of("=;")));
      drop_until(element, "=;");
      std::string_view value;
      if (element.starts_with('=')) {
        element.remove_prefix(1);
        if (element.starts_with('"')) {
          std::size_t const end = element.find('"', 1);
          if (end == std::string_view::npos) return false;
          value = element.substr(1, end - 1);
          element.remove_prefix(end + 1);
          element = detail::trimmed(element);
          if (!element.empty() && element.front() != ';') return false;
          if (value.find('\\') != std::string_view::npos) return false;
        } else {
          value = detail::trimmed(element.substr(0, element.find(';')));
          drop_until(element, ";");
          if (value.empty() || value.find_first_of("\"\\ \t") != std::string_view::npos) return false;
        }
      } else if (!name.empty()) {
        return false;
      }
      if (element.starts_with(';')) element.remove_prefix(1);
      if (name.find_first_of("\"\\ \t") != std::string_view::npos || (name.empty() && !value.empty())) return false;
      if (name.empty()) continue;  // empty between two semicolons
      constexpr std::string_view known[] = {"for", "proto", "host", "by"};
      for (unsigned i = 0; i < 4; ++i)
        if (detail::equal_ignoring_case(name, known[i]) && (std::exchange(seen, seen | 1u << i) & 1u << i) != 0)
          return false;
      if (detail::equal_ignoring_case(name, "for") && !(client = read_node(value, false))) return false;
      if (detail::equal_ignoring_case(name, "proto") && !read_scheme(value, c.scheme)) return false;
      if (detail::equal_ignoring_case(name, "host") && !read_authority(value, c.host)) return false;
    }
    return true;
  }

  /// `1.2.3.4`, `1.2.3.4:5`, `[2001:db8::1]`, `[2001:db8::1]:5`, `unknown`, `unix:`.
  /// @param bare also `2001:db8::1`, as X-Forwarded-For has it; else also `_hidden`, as Forwarded has it.
  [[nodiscard]] static std::optional<node> read_node(std::string_view text, bool bare) noexcept {
    node n;
    if (is_unix(text)) {
      n.text = text;
      n.unix_socket = true;
      return n;
    }
    bool const bracketed = text.starts_with('[');
    std::size_t const colon = bracketed ? text.find("]:") : text.find(':');
    bool const has_port = colon != std::string_view::npos && (bracketed || text.rfind(':') == colon);
    std::string_view const port = has_port ? text.substr(colon + (bracketed ? 2 : 1)) : std::string_view();
    n.text = has_port ? text.substr(0, colon + (bracketed ? 1 : 0)) : text;
    if (has_port && !detail::read_port(port, n.port) && (bare || !is_obfuscated(port))) return std::nullopt;
    if (bracketed) {
      if (!n.text.ends_with(']')) return std::nullopt;
      n.text = n.text.substr(1, n.text.size() - 2);
    }
    if (detail::equal_ignoring_case(n.text, "unknown") || (!bare && is_obfuscated(n.text))) return n;
    n.ip = detail::ip_address::parse(n.text);
    bool const colons = n.text.find(':') != std::string_view::npos;
    if (!n.ip || (bracketed ? !colons : colons && !bare)) return std::nullopt;
    return n;
  }
  [[nodiscard]] static bool is_obfuscated(std::string_view text) noexcept {
    if (text.size() < 2 || text[0] != '_') return false;
    for (char const c : text) {
      char const l = detail::lower_letter(c);
      if (!(l >= 'a' && l <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') return false;
    }
    return true;
  }
  [[nodiscard]] static bool read_scheme(std::string_view text, std::string_view& scheme) noexcept {
    if (detail::equal_ignoring_case(text, "https") || detail::equal_ignoring_case(text, "wss"))
      scheme = "https";
    else if (detail::equal_ignoring_case(text, "http") || detail::equal_ignoring_case(text, "ws"))
      scheme = "http";
    else
      return false;
    return true;
  }
  /// `example.com`, `example.com:8080`, `[2001:db8::1]:8080`.
  [[nodiscard]] static bool read_authority(std::string_view text, authority& a) noexcept {
    a = {};
    if (text.starts_with('[')) {
      std::size_t const end = text.find(']');
      if (end == std::string_view::npos || !detail::ip_address::parse(text.substr(1, end - 1))) return false;
      a.host = text.substr(1, end - 1);
      text.remove_prefix(end + 1);
      if (!text.empty() && text.front() != ':') return false;
    } else {
      a.host = text.substr(0, text.find(':'));
      text.remove_prefix(a.host.size());
      for (char const c : a.host)
        if (static_cast<unsigned char>(c) <= ' ' || c == 0x7F ||
            std::string_view("/?#@[]\\\"<>{}|^`,;").find(c) != std::string_view::npos)
          return false;
    }
    if (a.host.empty()) return false;
    return text.empty() || (detail::read_port(text.substr(1), a.port) && a.port != 0);
  }

  [[nodiscard]] static bool contradict(claims const& x, claims const& rfc) noexcept {
    auto const differ = [](std::uint16_t a, std::uint16_t b) { return a != 0 && b != 0 && a != b; };
    if (x.client && rfc.client) {
      bool const same = x.client->ip && rfc.client->ip ? x.client->ip == rfc.client->ip
                                                       : detail::equal_ignoring_case(x.client->text, rfc.client->text);
      if (!same || differ(x.client->port, rfc.client->port)) return true;
    }
    if (!x.scheme.empty() && !rfc.scheme.empty() && x.scheme != rfc.scheme) return true;
    if (!x.host.host.empty() && !rfc.host.host.empty() && !detail::equal_ignoring_case(x.host.host, rfc.host.host))
      return true;
    return differ(x.host.port, rfc.host.port);
  }
  static void apply(claims const& of_client, claims const& x, claims const& rfc, request& asked) noexcept {
    if (of_client.client) {
      asked.peer = {of_client.client->text, of_client.client->port, std::nullopt};
      if (asked.peer.port == 0 && rfc.client) asked.peer.port = rfc.client->port;
    }
    auto const default_port = [](std::string_view scheme) -> std::uint16_t {
      return scheme == "https" || scheme == "wss" ? 443 : 80;
    };
    if (std::string_view const scheme = x.scheme.empty() ? rfc.scheme : x.scheme; !scheme.empty()) {
      if (asked.port == default_port(asked.scheme)) asked.port = default_port(scheme);
      asked.scheme = scheme;
    }
    if (authority const& host = x.host.host.empty() ? rfc.host : x.host; !host.host.empty()) {
      asked.host = host.host;
      asked.port = default_port(asked.scheme);
    }
    std::uint16_t const ports[] = {x.host.port, rfc.host.port, x.port};
    for (std::uint16_t const port : ports)
      if (port != 0) {
        asked.port = port;
        break;
      }
  }

  std::vector<proxy_network::network> networks_{};
  bool (*trusts_)(trusted_proxies const&, std::string_view) noexcept = nullptr;
  std::optional<refused_request> (*rewrite_)(trusted_proxies const&, request&) = nullptr;
  forwarded_headers read_{};
  bool unix_ = false;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif
