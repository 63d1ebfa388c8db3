// Whatever a client sends as a compressed message, however it is cut: the same message or an error, within the limit, and the
// codec continues with the next one. Compressed messages inflate to the original. Offers are accepted with valid terms.
#include <phx/websocket/deflate.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

struct result {
  std::string text;
  bool broken = false;
  friend bool operator==(result const&, result const&) = default;
};
result inflate(phx::websocket::message_codec& codec, std::string_view message, std::size_t cut, std::size_t most) {
  result r;
  int ends = 0;
  for (bool last = false; !last && !r.broken;) {
    std::string_view const part = message.substr(0, cut);
    message.remove_prefix(part.size());
    last = message.empty();
    auto const end = phx::websocket::deliver_inflated(codec, part, last, [&](std::string_view piece, bool completes) {
      r.text += piece;
      ends += completes ? 1 : 0;
      must(r.text.size() <= most);
      return true;
    });
    must(end.open && (end.code == 0 || end.code == 1007 || end.code == 1009));
    r.broken = end.code != 0;
  }
  if (r.broken) r.text.clear();
  must(ends == (r.broken ? 0 : 1));
  return r;
}

void offers(std::string_view line) {
  phx::http::header const headers[] = {{"sec-websocket-extensions", line}};
  for (std::uint8_t bits : {std::uint8_t{10}, std::uint8_t{15}}) {
    phx::websocket::deflate_options const wanted{
        .server_window_bits = bits, .client_window_bits = bits, .server_context_takeover = true};
    auto const terms = phx::websocket::negotiate_deflate(headers, wanted);
    if (!terms) continue;
    must(terms->server_window_bits >= 9 && terms->server_window_bits <= bits);
    must(terms->client_window_bits >= 8 && terms->client_window_bits <= 15 && !terms->client_context_takeover);
    std::string const answer(terms->answer().view());
    phx::http::header const again[] = {{"sec-websocket-extensions", answer}};
    auto const same = phx::websocket::negotiate_deflate(again, wanted);
    must(same && same->server_window_bits == terms->server_window_bits &&
         same->server_context_takeover == terms->server_context_takeover);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size < 3) return 0;
  std::size_t const most = data[0] * 256u, cut = data[1] % 32u + 1;
  bool const takeover = data[2] % 2 != 0;
  std::string_view const bytes(reinterpret_cast<char const*>(data + 3), size - 3);
  offers(bytes);

  phx::websocket::deflate_options const options{
      .level = 1 + data[2] % 9, .min_size = 0, .server_context_takeover = takeover};
  phx::websocket::deflate_terms const terms{.server_context_takeover = takeover,
                                            .client_context_takeover = takeover,
                                            .server_window_bits = static_cast<std::uint8_t>(9 + data[2] % 7)};
  auto const loop = phx::websocket::permessage_deflate(options).make_compressor();
  auto const whole = loop->open(terms, most), pieces = loop->open(terms, most), any = loop->open(terms, 1 << 24);
  result const once = inflate(*whole, bytes, bytes.size() + 1, most);
  must(inflate(*pieces, bytes, cut, most) == once);
  if (!once.broken) must(inflate(*whole, bytes, bytes.size() + 1, most) == inflate(*pieces, bytes, cut, most));

  phx::frame_pool pool{phx::memory{}};
  phx::frame_builder out(pool);
  for (int i = 0; i < 3; ++i) {
    out.start(phx::opcode::binary, bytes.size());
    out.append(bytes);
    phx::frame const plain = out.finish(), sent = any->compress(plain);
    must(sent.data().size() <= plain.data().size());
    if (sent.data().data() != plain.data().data()) must(inflate(*any, sent.data(), cut, 1 << 24).text == bytes);
  }
  return 0;
}
