// Whatever a client sends and however TCP cuts it: the same request and the same body are read, within their bounds, or the same
// is refused; and what is left is the next request's.
#include "judge.hpp"

#include <phx/adapter/detail/http.hpp>

#include <algorithm>

namespace {

using phx::detail::head_reader;
using progress = head_reader::progress;

struct told {
  progress head = progress::more, body = progress::more;
  std::uint16_t status = 0;
  std::string method{}, target{}, headers{}, text{};
  std::size_t left = 0;  // bytes behind it
  friend bool operator==(told const&, told const&) = default;
};

/// @param cut how many bytes come at a time
told read(std::string_view bytes, std::size_t most, std::size_t cut) {
  told out;
  head_reader head;
  std::size_t have = 0;
  while (out.head == progress::more && have < bytes.size()) {
    have = std::min(have + cut, bytes.size());
    out.head = head.read(bytes.substr(0, have));
  }
  if (out.head == progress::refused) out.status = head.status();
  if (out.head != progress::done) return out;
  judge::must(head.size() <= have && head.size() <= head_reader::most_bytes, "a head is of what has come");
  judge::must(head.headers().size() <= head_reader::most_headers, "and has so many headers at most");
  out.method = head.method();
  out.target = head.target();
  for (auto const& [name, value] : head.headers()) {
    judge::must(value.find_first_of(std::string_view("\r\n\0", 3)) == value.npos, "a header is one line");
    out.headers.append(name).append(":").append(value).append("\n");
  }
  phx::detail::body_reader body(head, most);
  for (std::size_t at = head.size();;) {
    std::string_view part = bytes.substr(at, std::min(cut, bytes.size() - at));
    std::size_t const came = part.size();
    out.body = body.read(part, out.text);
    judge::must(out.text.size() <= most, "a body is no longer than it may be");
    if (out.body == progress::more) judge::must(part.empty(), "until its end all is the body's");
    at += came - part.size();
    if (out.body == progress::refused) break;
    out.left = bytes.size() - at;
    if (out.body == progress::done || came == 0) break;
  }
  if (out.body == progress::done && !head.chunked()) judge::must(out.text.size() == head.length(), "as long as it said");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size < 2) return 0;
  std::size_t const most = data[0] * 16u, cut = data[1] % 32u + 1;
  std::string_view const bytes(reinterpret_cast<char const*>(data + 2), size - 2);
  told const whole = read(bytes, most, size), parts = read(bytes, most, cut);
  // A body that is refused may have been kept in part.
  judge::must(whole.body == progress::refused ? parts.body == progress::refused : whole == parts, "cut or not, it is read the same");
  return 0;
}
