// Whatever a client sends and however TCP splits it: the same request and body are read, within their limits, or the same is
// refused; and the remaining bytes are the next request.
#include "oracle.hpp"

#include <phx/http/body_reader.hpp>

#include <algorithm>

namespace {

using phx::http::body_event;
using phx::http::progress;
using phx::http::request_reader;

struct outcome {
  progress head = progress::need_more;
  body_event::kind body = body_event::need_more;
  std::uint16_t status = 0;
  std::string method{}, target{}, headers{}, text{};
  std::size_t left = 0;  // bytes after it
  friend bool operator==(outcome const&, outcome const&) = default;
};

/// @param cut bytes read at a time
outcome read(std::string_view bytes, std::size_t most, std::size_t cut) {
  outcome out;
  request_reader head;
  std::size_t have = 0;
  while (out.head == progress::need_more && have < bytes.size()) {
    have = std::min(have + cut, bytes.size());
    out.head = head.read(bytes.substr(0, have));
  }
  if (out.head == progress::refused) out.status = head.status();
  if (out.head != progress::complete) return out;
  oracle::require(head.size() <= have && head.size() <= request_reader::default_max_bytes, "a head is of what has come");
  oracle::require(head.headers().size() <= request_reader::max_headers, "and has so many headers at most");
  out.method = head.method();
  out.target = head.target();
  for (auto const& [name, value] : head.headers()) {
    oracle::require(value.find_first_of(std::string_view("\r\n\0", 3)) == value.npos, "a header is one line");
    out.headers.append(name).append(":").append(value).append("\n");
  }
  phx::http::body_reader body(head, most);
  for (std::size_t at = head.size();;) {
    std::string_view part = bytes.substr(at, std::min(cut, bytes.size() - at));
    std::size_t const came = part.size();
    body_event event = body.next(part);
    for (; event.state == body_event::data; event = body.next(part)) out.text += event.part;
    out.body = event.state;
    oracle::require(out.text.size() <= most, "a body is no longer than it may be");
    if (out.body == body_event::need_more) oracle::require(part.empty(), "until its end all is the body's");
    at += came - part.size();
    if (out.body == body_event::refused) {
      oracle::require(body.status() == 400 || body.status() == 413, "a refusal has its status");
      break;
    }
    out.left = bytes.size() - at;
    if (out.body == body_event::complete || came == 0) break;
  }
  if (out.body == body_event::complete && !head.chunked())
    oracle::require(out.text.size() == head.content_length(), "as long as it was announced");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size < 2) return 0;
  std::size_t const most = data[0] * 16u, cut = data[1] % 32u + 1;
  std::string_view const bytes(reinterpret_cast<char const*>(data + 2), size - 2);
  outcome const whole = read(bytes, most, size), parts = read(bytes, most, cut);
  // A refused body may have been read in part.
  oracle::require(whole.body == body_event::refused ? parts.body == body_event::refused : whole == parts,
                  "cut or not, it is read the same");
  return 0;
}
