// Everything that Redis may send on the subscribing connection: replies split anywhere, with messages in both formats.
// However the bytes are split, the replies are the same; well-formed ones are what a simple reader reads; a message arrives
// as it was published, and is skipped or becomes a broadcast with JSON that other parsers accept.
#include <phx/adapter/redis/detail/replies.hpp>
#include <phx/adapter/redis/detail/wire.hpp>
#include <phx/erlang/elixir_struct.hpp>

#include "oracle.hpp"

#include <functional>

using namespace phx::detail;
namespace etf = phx::etf;

namespace {

std::string text(redis_reply::element const& e) {
  constexpr std::string_view kinds = "+-:$_*";
  return std::string(1, kinds[static_cast<std::size_t>(e.kind)]) + std::to_string(e.integer) + ' ' + e.text + '\n';
}
std::string text(redis_reply const& r) {
  if (r.itself.kind != redis_reply::kind::array) return text(r.itself);
  std::string all = "*" + std::to_string(r.count) + '\n';
  for (std::size_t i = 0; i < r.count; ++i) all += text(r.elements[i]);
  return all;
}

/// All replies; "failed" as the last one if the reader gives up.
template <class Piece>
std::vector<std::string> replies(std::string_view in, Piece piece) {
  std::vector<std::string> all;
  redis_replies reader;
  for (std::size_t at = 0; at < in.size();) {
    std::size_t const size = (std::min)(piece(), in.size() - at);
    oracle::require(reader.feed(in.data() + at, size), "there is memory");
    at += size;
    for (;;) {
      redis_replies::state const s = reader.next();
      if (s == redis_replies::state::need_more) break;
      if (s == redis_replies::state::failed) {
        oracle::require(!reader.error().empty(), "a failure has a reason");
        all.push_back("failed");
        return all;
      }
      all.push_back(text(reader.reply()));
    }
    oracle::require(reader.buffered() <= at, "no more is buffered than came");
  }
  return all;
}

/// A simple reader, for well-formed RESP 2 only.
class plain {
 public:
  explicit plain(std::string_view in) : in_(in) {}
  /// The next reply, as text() writes it; nothing if it is incomplete or invalid.
  std::optional<std::string> next(bool inside = false) {
    std::optional<std::string_view> const head = line();
    if (!head || head->empty()) return std::nullopt;
    std::string_view const rest = head->substr(1);
    long long number = 0;
    switch (head->front()) {
      case '+':
      case '-': return std::string(1, head->front()) + "0 " + std::string(rest) + '\n';
      case ':':
        if (!whole(rest, number)) return std::nullopt;
        return ":" + std::to_string(number) + " \n";
      case '$': {
        if (!whole(rest, number) || number < -1 || number > 1'000'000) return std::nullopt;
        if (number == -1) return "_0 \n";
        auto const size = static_cast<std::size_t>(number);
        if (in_.size() < size + 2 || in_.substr(size, 2) != "\r\n") return std::nullopt;
        std::string all = "$0 " + std::string(in_.substr(0, size)) + '\n';
        in_.remove_prefix(size + 2);
        return all;
      }
      case '*': {
        if (inside || !whole(rest, number) || number < -1 || number > 4) return std::nullopt;
        if (number == -1) return "_0 \n";
        std::string all = "*" + std::to_string(number) + '\n';
        for (; number != 0; --number) {
          std::optional<std::string> const element = next(true);
          if (!element) return std::nullopt;
          all += *element;
        }
        return all;
      }
      default: return std::nullopt;
    }
  }

 private:
  std::optional<std::string_view> line() {
    std::size_t const end = in_.find("\r\n");
    if (end == in_.npos) return std::nullopt;
    std::string_view const l = in_.substr(0, end);
    in_.remove_prefix(end + 2);
    return l;
  }
  static bool whole(std::string_view digits, long long& number) {
    auto const [stopped, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return fault == std::errc{} && stopped == digits.data() + digits.size() && std::to_string(number) == digits;
  }
  std::string_view in_;
};

void is_json(std::string_view payload) {
  if (oracle::has_huge_number(payload)) return;
  oracle::require(oracle::accepts(payload), "a payload is JSON");
  oracle::require(phx::json::valid(payload), "and phx says so too");
}

void read_message(std::string_view raw) {
  static std::function<std::optional<std::string>(phx::elixir_struct const&)> encode = [](phx::elixir_struct const& s) {
    oracle::require(s.module().size() < 0x10000, "a module has a name");
    if (std::optional<phx::term_view> const fields = s.fields()) (void)fields->elements();
    return s.only({"a"});
  };
  redis_wire::term_storage storage;
  etf::bounds const most;
  if (auto const ours = redis_wire::read(raw)) {
    if (!ours->bytes) is_json(ours->payload);
  }
  for (bool const encodes : {false, true}) {
    auto const term =
        redis_wire::read_term(raw, storage, most, encodes ? phx::elixir_struct::hook(encode) : etf::struct_hook{});
    using redis_wire::outcome;
    oracle::require((term.outcome == outcome::unknown_struct) == !term.module.empty(), "a struct nobody encodes is named");
    if (term.outcome == outcome::foreign || (term.outcome == outcome::unreadable && term.message.event.empty())) continue;
    if (term.outcome != outcome::unreadable)
      oracle::require(phx::json::utf8(term.message.topic) && phx::json::utf8(term.message.event), "names are text");
    if (term.outcome == outcome::broadcast && !term.message.bytes) {
      is_json(term.message.payload);
      oracle::require(term.message.payload.find("__struct__") == std::string_view::npos || raw.find("\x6d") != raw.npos,
                      "a struct's name is shown only where it was a string");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const in(reinterpret_cast<char const*>(data), size);
  std::vector<std::string> const whole = replies(in, [] { return std::size_t{1} << 30; });
  std::size_t turn = 0;
  std::vector<std::string> const cut =
      replies(in, [&] { return std::size_t{1} + static_cast<unsigned char>(in[turn++ % in.size()]) % 23; });
  oracle::require(whole == cut, "replies do not depend on how the bytes are cut");
  plain reader(in);
  for (std::size_t i = 0;; ++i) {
    std::optional<std::string> const expected = reader.next();
    if (!expected) break;
    oracle::require(i < whole.size() && whole[i] == *expected, "a well-formed reply is what it says");
  }

  // As a published message.
  std::string message = "*3\r\n$7\r\nmessage\r\n$7\r\nphx:phx\r\n$" + std::to_string(in.size()) + "\r\n";
  ((message += in) += "\r\n") += "+PONG\r\n";
  redis_replies subscription;
  std::string_view payload;
  oracle::require(subscription.feed(message.data(), message.size()), "there is memory");
  oracle::require(subscription.next() == redis_replies::state::reply && subscription.reply().is_message(payload),
                  "it is a message");
  oracle::require(payload == in, "as it was published");
  read_message(payload);
  oracle::require(subscription.next() == redis_replies::state::reply && !subscription.reply().is_message(payload),
                  "and a pong after it");
  oracle::require(subscription.next() == redis_replies::state::need_more, "and no more");
  return 0;
}
