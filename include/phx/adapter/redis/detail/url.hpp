#ifndef PHX_ADAPTER_REDIS_DETAIL_URL_HPP
#define PHX_ADAPTER_REDIS_DETAIL_URL_HPP
// Reads and checks the options of phx::redis::pubsub: names, and redis://, rediss:// and unix:// URLs as redis-cli -u and
// clients in other languages read them.

#include <phx/adapter/redis_options.hpp>
#include <phx/core/text/percent.hpp>

#include <charconv>
#include <random>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Decodes a part of a URL. @return false: a % without two hex digits.
[[nodiscard]] inline bool percent_decoded(std::string_view text, std::string& out) {
  out.clear();
  return percent_decode(text, out, false);
}
template <class Number>
[[nodiscard]] bool whole_number(std::string_view text, Number& value) noexcept {
  auto const [stopped, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  return fault == std::errc{} && stopped == text.data() + text.size() && !text.empty();
}

/// Sets the options that `url` names. @param needs_tls set for rediss://. @return false: not a URL of a Redis.
[[nodiscard]] inline bool read_redis_url(std::string_view url, redis::options& into, bool& needs_tls) {
  // Removes and gives the part before the separator, or all.
  auto const cut = [](std::string_view& from, std::string_view separator) {
    std::size_t const at = from.find(separator);
    std::string_view const part = from.substr(0, at);
    from = at == from.npos ? std::string_view() : from.substr(at + separator.size());
    return part;
  };
  if (url.find("://") == url.npos) return false;
  std::string_view const scheme = cut(url, "://");
  bool const is_socket = scheme == "unix" || scheme == "redis+unix";
  needs_tls = scheme == "rediss";
  if (!needs_tls && !is_socket && scheme != "redis") return false;

  std::string_view rest = cut(url, "#");
  std::string_view const address = cut(rest, "?");
  while (!rest.empty()) {
    std::string_view const parameter = cut(rest, "&");
    if (parameter.starts_with("db=") && !whole_number(parameter.substr(3), into.database)) return false;
  }
  std::size_t const slash = address.find('/');
  std::string_view authority = address.substr(0, slash);
  std::string_view const path = slash == address.npos ? std::string_view() : address.substr(slash);
  if (std::size_t const at = authority.rfind('@'); at != authority.npos) {
    std::string_view user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
    std::string_view name;
    if (user.find(':') != user.npos) name = cut(user, ":");  // without a colon it is the password, as for redis-cli
    if (!percent_decoded(name, into.username) || !percent_decoded(user, into.password)) return false;
  }
  if (is_socket) return authority.empty() && path.size() > 1 && percent_decoded(path, into.unix_socket);

  std::string_view port;
  if (authority.starts_with('[')) {  // IPv6
    authority.remove_prefix(1);
    if (authority.find(']') == authority.npos) return false;
    into.host = cut(authority, "]");
    if (!authority.empty() && !authority.starts_with(':')) return false;
    if (!authority.empty()) port = authority.substr(1);
    if (!authority.empty() && port.empty()) return false;
  } else {
    bool const has_port = authority.find(':') != authority.npos;
    into.host = cut(authority, ":");
    port = authority;
    if (has_port && port.empty()) return false;
  }
  if (into.host.empty()) return false;
  into.unix_socket.clear();
  if (!port.empty() && (!whole_number(port, into.port) || into.port == 0)) return false;
  return path.size() <= 1 || whole_number(path.substr(1), into.database);
}

/// Fills in the defaults that depend on other options, and reads the URL. @return what is wrong, or null.
[[nodiscard]] inline char const* normalize(redis::options& o) {
  if (o.node.empty()) {
    std::random_device random;
    o.node = "phx-";
    for (int i = 0; i < 16; ++i) o.node.push_back("0123456789abcdef"[random() & 15]);
  }
  if (o.node.size() > 255) return "phx::redis: a node's name has at most 255 bytes";
  constexpr std::string_view prefix = "Elixir.";  // the atom that names the module has it
  if (o.beside_elixir.starts_with(prefix)) o.beside_elixir.erase(0, prefix.size());
  if (o.url.empty()) return nullptr;
  bool needs_tls = false;
  if (!read_redis_url(o.url, o, needs_tls)) return "phx::redis: options::url is no URL of a Redis";
  if (needs_tls && !o.secure) return "phx::redis: a rediss:// URL needs options::secure, see redis_tls.hpp";
  if (!needs_tls) o.secure = nullptr;
  return nullptr;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
