#include <phx/channel/router.hpp>
#include <phx/socket/receive_frames.hpp>
#include <phx/socket/websocket_connection.hpp>
#include <phx/testing/fake_loop.hpp>
#include <phx/websocket/deflate.hpp>
#include <phx/websocket/frame_header.hpp>
#include <phx/websocket/frame_reader.hpp>

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using phx::frame;
using phx::opcode;
using phx::websocket::deflate_options;
using phx::websocket::deflate_terms;
using phx::websocket::message_codec;
using phx::websocket::permessage_deflate;
using namespace std::string_literals;

namespace {

std::size_t allocated = 0, blocks = 0, peak = 0;
bool failing = false;
phx::memory counting() {
  phx::memory m;
  m.allocate = [](std::size_t n) noexcept -> void* {
    if (failing) return nullptr;
    allocated += n;
    peak = std::max(peak, allocated);
    ++blocks;
    return std::malloc(n);
  };
  m.release = [](void* p, std::size_t n) noexcept {
    allocated -= n;
    --blocks;
    std::free(p);
  };
  return m;
}

frame make_frame(std::string_view text, opcode op = opcode::text) {
  static phx::frame_pool pool{phx::memory{}, 0};  // no two frames of a test share an address
  phx::frame_builder out(pool);
  out.start(op, text.size());
  out.append(text);
  return out.finish();
}
std::string json_of(std::size_t size, unsigned seed = 1) {
  std::string out = R"([null,null,"room:lobby","new_msg",{"items":[)";
  for (std::minstd_rand r(seed); out.size() < size;)
    out += R"({"id":)" + std::to_string(r() % 10'000) + R"(,"name":"user","online":true},)";
  return out + "{}]}]";
}
std::string noise(std::size_t size) {
  std::mt19937 r(7);
  std::string out(size, ' ');
  for (char& c : out) c = static_cast<char>(r());
  return out;
}

/// Another end: zlib alone.
struct peer {
  explicit peer(int bits = 15, bool takeover = false) : takeover_(takeover) {
    REQUIRE(inflateInit2(&in_, -bits) == Z_OK);
    REQUIRE(deflateInit2(&out_, 9, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  }
  ~peer() {
    inflateEnd(&in_);
    deflateEnd(&out_);
  }
  peer(peer const&) = delete;
  peer& operator=(peer const&) = delete;
  std::string inflated(std::string_view message) {
    std::string bytes = std::string(message) + "\0\0\xff\xff"s, out;
    in_.next_in = reinterpret_cast<Bytef*>(bytes.data());
    in_.avail_in = static_cast<uInt>(bytes.size());
    char room[1000];
    do {
      in_.next_out = reinterpret_cast<Bytef*>(room);
      in_.avail_out = sizeof room;
      int const status = inflate(&in_, Z_SYNC_FLUSH);
      if (status != Z_OK && status != Z_BUF_ERROR) return "broken " + std::to_string(status);
      out.append(room, sizeof room - in_.avail_out);
    } while (in_.avail_out == 0);
    if (!takeover_) inflateReset(&in_);
    return out;
  }
  std::string deflated(std::string text, int flush = Z_SYNC_FLUSH) {
    std::string out(deflateBound(&out_, text.size()) + 100, ' ');
    out_.next_in = reinterpret_cast<Bytef*>(text.data());
    out_.avail_in = static_cast<uInt>(text.size());
    out_.next_out = reinterpret_cast<Bytef*>(out.data());
    out_.avail_out = static_cast<uInt>(out.size());
    (void)deflate(&out_, flush);
    out.erase(out.size() - out_.avail_out);
    if (!takeover_ || flush == Z_FINISH) deflateReset(&out_);
    return flush == Z_FINISH ? out : out.substr(0, out.size() - 4);
  }

 private:
  z_stream in_{}, out_{};
  bool takeover_;
};

struct result {
  std::string text;
  unsigned code = 0;
  int messages = 0;
  friend bool operator==(result const&, result const&) = default;
};
/// One message in parts of `cut` bytes.
result inflate_in(message_codec& codec, std::string_view message, std::size_t cut) {
  result r;
  for (bool last = false; !last && r.code == 0;) {
    std::string_view const part = message.substr(0, cut);
    message.remove_prefix(part.size());
    last = message.empty();
    auto const [open, code] = phx::websocket::deliver_inflated(codec, part, last, [&](std::string_view piece, bool ends) {
      r.text += piece;
      r.messages += ends ? 1 : 0;
      return true;
    });
    CHECK(open);
    r.code = code;
  }
  return r;
}
/// The same result however it is cut.
result inflate_all(message_codec& codec, std::string_view message) {
  result const whole = inflate_in(codec, message, message.size() + 1);
  if (whole.code == 0)
    for (std::size_t cut : {1u, 2u, 7u, 1000u}) CHECK(inflate_in(codec, message, cut) == whole);
  return whole;
}

struct loop_of_one {
  explicit loop_of_one(deflate_options const& options = {}, deflate_terms terms = {}, std::size_t most = 1'000'000)
      : shared(permessage_deflate(options).make_compressor(counting())), codec(shared->open(terms, most)) {}
  std::unique_ptr<phx::websocket::compressor> shared;
  std::unique_ptr<message_codec> codec;
};
deflate_terms const own_windows{.server_context_takeover = true, .client_context_takeover = true};

}  // namespace

TEST_CASE("deflate: a message is sent compressed, with RSV1, and another zlib reads it") {
  loop_of_one one;
  peer client;
  for (std::size_t size : {256u, 1000u, 16'000u, 16'384u, 70'000u, 1'000'000u}) {
    std::string const text = json_of(size);
    for (opcode op : {opcode::text, opcode::binary}) {
      frame const f = make_frame(text, op);
      frame const out = one.codec->compress(f);
      CHECK(out.op() == op);
      CHECK(static_cast<unsigned char>(out.websocket()[0]) == (0xC0 | static_cast<unsigned>(op)));
      CHECK(out.websocket().substr(1, out.websocket().size() - out.data().size() - 1) ==
            phx::websocket::frame_header(op, out.data().size()).bytes().substr(1));
      CHECK(out.data().size() * 2 < text.size());
      CHECK(client.inflated(out.data()) == text);
    }
  }
}

TEST_CASE("deflate: small messages and those that do not get smaller go out as they are") {
  loop_of_one one({.min_size = 100});
  for (frame const& f :
       {make_frame(std::string(99, 'a')), make_frame(""), make_frame(noise(100)), make_frame(noise(200'000))}) {
    CHECK(one.codec->compress(f).websocket().data() == f.websocket().data());
    CHECK(one.codec->compress(f).websocket().data() == f.websocket().data());
  }
  CHECK(one.codec->compress(make_frame(std::string(100, 'a'))).data().size() < 20);
  loop_of_one all({.min_size = 0});
  CHECK(all.codec->compress(make_frame("")).data().empty());
  CHECK(static_cast<unsigned char>(all.codec->compress(make_frame("")).websocket()[0]) == 0x81);
}

TEST_CASE("deflate: a frame is compressed once for all connections of a loop, by window") {
  loop_of_one one;
  auto const second = one.shared->open({}, 1000), small = one.shared->open({.server_window_bits = 9}, 1000);
  std::vector<frame> frames;
  for (unsigned i = 0; i < 4; ++i) frames.push_back(make_frame(json_of(1000, i)));
  // Connections that get several broadcasts at once.
  std::vector<frame> first_of_all;
  for (frame const& f : frames) first_of_all.push_back(one.codec->compress(f));
  for (std::size_t i = 0; i < frames.size(); ++i)
    CHECK(second->compress(frames[i]).data().data() == first_of_all[i].data().data());
  for (frame const& f : frames) {
    frame const first = one.codec->compress(f);
    CHECK(second->compress(f).data().data() == first.data().data());
    CHECK(small->compress(f).data().data() != first.data().data());
    CHECK(second->compress(f).data().data() == first.data().data());
    CHECK(peer().inflated(second->compress(f).data()) == f.data());
    CHECK(peer(9).inflated(small->compress(f).data()) == f.data());
  }
}

TEST_CASE("deflate: the cache knows a frame by its bytes' address, and keeps it from being another's") {
  loop_of_one one;
  phx::frame_pool pool{phx::memory{}, 4};
  phx::frame_builder out(pool);
  for (unsigned i = 0; i < 50; ++i) {
    std::string const text = json_of(1000, i);
    out.start(opcode::text, 2000);
    out.append(text);
    CHECK(peer().inflated(one.codec->compress(out.finish()).data()) == text);  // the frame is released each time
  }
}

TEST_CASE("deflate: the cache holds little memory, one large broadcast at most") {
  loop_of_one one;
  (void)one.codec->compress(make_frame(json_of(1000)));
  for (unsigned i = 0; i < 8; ++i) (void)one.codec->compress(make_frame(noise(900'000)));
  phx::frame_pool counted{counting(), 0};
  std::size_t const before = allocated;
  phx::frame_builder out(counted);
  for (unsigned i = 0; i < 12; ++i) {
    out.start(opcode::text, 500'000 * (i % 3 + 1));
    out.append(noise(500'000 * (i % 3 + 1)));
    (void)one.codec->compress(out.finish());
    CHECK(allocated - before < 1'600'000);
  }
}

TEST_CASE("deflate: with context takeover messages refer to those before, on each connection") {
  loop_of_one one({.server_context_takeover = true}, own_windows);
  auto const second = one.shared->open(own_windows, 1'000'000);
  peer client(15, true), other(15, true);
  frame const f = make_frame(json_of(1000));
  frame const first = one.codec->compress(f), again = one.codec->compress(f);
  CHECK(again.data().size() * 5 < first.data().size());
  CHECK(client.inflated(first.data()) == f.data());
  CHECK(client.inflated(again.data()) == f.data());
  CHECK(other.inflated(frame(second->compress(f)).data()) == f.data());
  // One that does not get smaller was never seen by the client.
  frame const plain = make_frame(noise(3000));
  CHECK(one.codec->compress(plain).data().data() == plain.data().data());
  CHECK(client.inflated(one.codec->compress(f).data()) == f.data());
  // Nor was one that is not sent.
  frame const lost = make_frame(json_of(1000, 2));
  (void)one.codec->compress(lost);
  one.codec->not_sent();
  CHECK(client.inflated(one.codec->compress(lost).data()) == lost.data());
}

TEST_CASE("deflate: windows are allocated when they are needed, and freed with the connection") {
  {
    loop_of_one one({.server_context_takeover = true}, own_windows);
    std::size_t const before = allocated;
    auto codec = one.shared->open(own_windows, 1000);
    CHECK(allocated == before);
    (void)one.codec->compress(make_frame(json_of(1000)));
    (void)codec->compress(make_frame(json_of(1000)));
    CHECK(allocated - before > 500'000);
    CHECK(inflate_all(*codec, peer().deflated("hello")) == result{"hello", 0, 1});
    codec.reset();
    CHECK(allocated - before < 310'000);
  }
  CHECK(allocated == 0);
  CHECK(blocks == 0);
}

TEST_CASE("deflate: what a client compressed is inflated, in one part or many") {
  for (deflate_terms const& terms : {deflate_terms{}, own_windows}) {
    loop_of_one one({}, terms);
    for (std::string const& text : {"hello"s, "x"s, ""s, json_of(1000), json_of(200'000), noise(100'000),
                                    std::string(900'000, 'a'), std::string(16 * 1024, 'b'), std::string(32 * 1024, 'c')}) {
      peer client;
      CHECK(inflate_all(*one.codec, client.deflated(text)) == result{text, 0, 1});
    }
  }
}

TEST_CASE("deflate: RFC 7692, section 7.2.3: the examples") {
  loop_of_one one({}, own_windows);
  CHECK(inflate_all(*one.codec, "\xf2\x48\xcd\xc9\xc9\x07\x00"s) == result{"Hello", 0, 1});
  CHECK(inflate_in(*one.codec, "\xf2\x00\x11\x00\x00"s, 99) == result{"Hello", 0, 1});  // shares the window
  CHECK(inflate_all(*one.codec, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s) == result{"Hello", 0, 1});  // stored
  CHECK(inflate_all(*one.codec, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s) == result{"Hello", 0, 1});              // a final block
  CHECK(inflate_all(*one.codec, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s) ==
        result{"Hello", 0, 1});                                 // two blocks
  CHECK(inflate_all(*one.codec, "\x00"s) == result{"", 0, 1});  // empty: section 7.2.3.6
}

TEST_CASE("deflate: final blocks end nothing, and the empty block after the last may be missing") {
  for (deflate_terms const& terms : {deflate_terms{}, own_windows}) {
    loop_of_one one({}, terms);
    peer client;
    std::string const a = client.deflated("one ", Z_FINISH), b = client.deflated("two", Z_FINISH),
                      c = client.deflated("three");
    CHECK(inflate_all(*one.codec, a) == result{"one ", 0, 1});
    CHECK(inflate_all(*one.codec, a + b) == result{"one two", 0, 1});
    CHECK(inflate_all(*one.codec, a + b + "\0"s) == result{"one two", 0, 1});
    CHECK(inflate_all(*one.codec, a + c) == result{"one three", 0, 1});
    CHECK(inflate_all(*one.codec, "\x01"s) == result{"", 0, 1});  // the tail completes a final stored block
    CHECK(inflate_all(*one.codec, "") == result{"", 0, 1});
  }
}

TEST_CASE("deflate: what is no deflate stream is 1007") {
  for (deflate_terms const& terms : {deflate_terms{}, own_windows})
    for (std::string const& broken :
         {"\xff"s, "\x07\x00"s, noise(1000), "\xf2\x00\x11\x00\x00"s /* refers to nothing */, "\x00\x05\x00\xfa\xff\x48"s,
          peer().deflated(json_of(1000)).substr(0, 100), "\xf2\x48\xcd\xc9\xc9\x07"s, std::string(5, '\0'), "hello"s,
          peer().deflated("x", Z_FINISH) + "\xff"s}) {
      loop_of_one one({}, terms);
      CHECK(inflate_in(*one.codec, broken, broken.size()).code == 1007);
      loop_of_one bytewise({}, terms);
      CHECK(inflate_in(*bytewise.codec, broken, 1).code == 1007);
    }
  // The next connection of the loop does not suffer.
  loop_of_one one;
  CHECK(inflate_in(*one.codec, "\xff"s, 1).code == 1007);
  CHECK(inflate_all(*one.shared->open({}, 100), peer().deflated("fine")) == result{"fine", 0, 1});
}

TEST_CASE("deflate: a bomb is 1009, and is never in memory") {
  std::string const bomb = peer().deflated(std::string(50'000'000, 'a'));
  for (deflate_terms const& terms : {deflate_terms{}, own_windows})
    for (std::size_t cut : {bomb.size(), std::size_t{1}, std::size_t{1000}}) {
      loop_of_one one({}, terms, 100'000);
      peak = allocated;
      std::size_t const before = allocated;
      result const r = inflate_in(*one.codec, bomb, cut);
      CHECK(r.code == 1009);
      CHECK(r.text.size() <= 100'000);
      CHECK(peak - before < 100'000);
    }
  loop_of_one exact({}, {}, 100'000);
  CHECK(inflate_all(*exact.codec, peer().deflated(std::string(100'000, 'a'))).text.size() == 100'000);
  CHECK(inflate_in(*exact.codec, peer().deflated(std::string(100'001, 'a')), 1 << 20).code == 1009);
  CHECK(inflate_all(*exact.codec, peer().deflated("next")) == result{"next", 0, 1});
  // Many final blocks of two bytes cost no more than their bytes do.
  std::string blocks_of_nothing;
  for (int i = 0; i < 100'000; ++i) blocks_of_nothing += "\x03\x00"s;
  CHECK(inflate_in(*exact.codec, blocks_of_nothing, 1 << 20) == result{"", 0, 1});
}

TEST_CASE("deflate: messages of several connections may arrive in parts at the same time") {
  loop_of_one one;
  std::vector<std::unique_ptr<message_codec>> codecs;
  std::vector<std::string> messages, read(9);
  for (unsigned i = 0; i < 9; ++i) {
    codecs.push_back(one.shared->open({}, 1'000'000));
    messages.push_back(peer().deflated(json_of(3000, i)));
  }
  for (std::size_t at = 0; at < 3000; at += 50)
    for (std::size_t i = 0; i < 8; ++i) {  // the last is destroyed in the middle of one
      if (at >= messages[i].size()) continue;
      std::string_view const part = std::string_view(messages[i]).substr(at, 50);
      auto const end =
          phx::websocket::deliver_inflated(*codecs[i], part, at + 50 >= messages[i].size(),
                                           [&](std::string_view piece, bool) { return read[i] += piece, true; });
      CHECK(end.code == 0);
    }
  for (unsigned i = 0; i < 8; ++i) CHECK(read[i] == json_of(3000, i));
  (void)inflate_in(*codecs[8], messages[8].substr(0, 10), 100);
}

TEST_CASE("deflate: without memory messages go out as they are, and one that comes in is 1011") {
  for (deflate_terms const& terms : {deflate_terms{}, own_windows}) {
    loop_of_one one({.server_context_takeover = terms.server_context_takeover}, terms);
    frame const f = make_frame(json_of(1000));
    failing = true;
    CHECK(one.codec->compress(f).data().data() == f.data().data());
    CHECK(inflate_in(*one.codec, peer().deflated("x"), 10).code == 1011);
    failing = false;
    frame const g = make_frame(json_of(1000, 3));
    CHECK(peer().inflated(one.codec->compress(g).data()) == g.data());
    CHECK(inflate_all(*one.codec, peer().deflated("x")) == result{"x", 0, 1});
  }
}

TEST_CASE("deflate: a client's offer is accepted with a codec and an answer, or with neither") {
  auto const shared = permessage_deflate({.server_window_bits = 10}).make_compressor(counting());
  phx::http::header const offer[] = {{"sec-websocket-extensions", "permessage-deflate"}};
  auto const yes = shared->accept(offer, 100);
  REQUIRE(yes.codec != nullptr);
  CHECK(yes.answer.view() ==
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10");
  CHECK(inflate_in(*yes.codec, peer().deflated(std::string(101, 'a')), 1000).code == 1009);
  auto const no = shared->accept({}, 100);
  CHECK(no.codec == nullptr);
  CHECK(no.answer.view().empty());
}

TEST_CASE("deflate: what the server sends, its own reader takes") {
  loop_of_one one;
  frame const f = make_frame(json_of(5000));
  std::string bytes(one.codec->compress(f).websocket());
  std::size_t const header = bytes.size() - one.codec->compress(f).data().size();
  bytes.insert(header, 4, '\0');  // masked by zeros
  bytes[1] = static_cast<char>(static_cast<unsigned char>(bytes[1]) | 0x80);
  std::string text;
  phx::websocket::frame_reader reader(100'000, true);
  std::span<char> rest(bytes);
  auto const e = reader.next(rest);
  REQUIRE(e.kind == phx::websocket::event_kind::data);
  CHECK(e.compressed);
  CHECK(inflate_all(*one.codec, e.part) == result{std::string(f.data()), 0, 1});
}

namespace {

struct host;
struct wire {
  host* to;
  phx::send_status send(frame const& f) noexcept;
  void close(phx::close_frame reason) noexcept;
  [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
};
struct echo {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "push_then_reply") (void)ctx.push("pushed", in.payload);
    return phx::outcome::reply(in.payload);
  }
};
/// A connection that agreed on permessage-deflate.
struct host {
  std::vector<std::string> out{};
  phx::router<> app{};
  phx::mount mount{};
  phx::testing::fake_loops loops{};
  std::unique_ptr<phx::websocket::compressor> shared = permessage_deflate({.min_size = 50}).make_compressor();
  std::unique_ptr<message_codec> codec = shared->open({}, 50'000);
  phx::websocket::frame_reader reader{50'000, true};
  std::optional<phx::socket<wire, phx::router<>>> socket{};

  host() {
    app.channel<echo>("room:*");
    mount.bounds.frame = 50'000;
    auto judged = phx::handshake(mount, app, phx::request::of("GET", "/socket/websocket?vsn=2.0.0", {}));
    socket.emplace(loops[0], app, std::get<phx::admission<phx::anonymous>>(std::move(judged)), wire{this}, loops.now());
  }
  phx::frames_result feed(std::string bytes) {
    auto const turn = loops[0].turn();
    return phx::receive_frames(
        *socket, reader, bytes, loops.now(),
        [&](phx::websocket::control_frame const& f) {
          out.push_back("control " + std::to_string(int{f.bytes()[3]} & 0xff));
        },
        codec.get());
  }
};
phx::send_status wire::send(frame const& f) noexcept {
  frame const sent = to->codec->compress(f);
  bool const compressed = (sent.websocket()[0] & 0x40) != 0;
  to->out.push_back(compressed ? "compressed " + peer().inflated(sent.data()) : std::string(sent.data()));
  return phx::send_status::ok;
}
void wire::close(phx::close_frame reason) noexcept {
  to->out.push_back("closed " + std::to_string(static_cast<int>(reason.code)));
  to->codec.reset();  // as a host that destroys its connection
}
/// A client's frame with a mask of zeros.
std::string client(unsigned first, std::string const& body) {
  std::string out{static_cast<char>(first), '\xfe', static_cast<char>(body.size() >> 8), static_cast<char>(body.size())};
  return out + std::string(4, '\0') + body;
}
std::string const join = R"(["1","1","room:a","phx_join",{}])";
std::string joined(std::string const& ref) {
  return R"(["1",")" + ref + R"(","room:a","phx_reply",{"status":"ok","response":{}}])";
}

}  // namespace

TEST_CASE("deflate: receive_frames inflates what comes, fragments and several messages in one read too") {
  host h;
  std::string const text = R"(["1","2","room:a","echo",{"a":")" + std::string(40'000, 'x') + R"("}])",
                    message = peer().deflated(text);
  std::string const third = message.substr(0, 3), rest = message.substr(3);
  CHECK(h.feed(client(0xC1, peer().deflated(join)) + client(0x41, third) + client(0x00, "") + client(0x80, rest)) ==
        phx::frames_result::open);
  REQUIRE(h.out.size() == 2);
  CHECK(h.out[0] == "compressed " + joined("1"));
  CHECK(h.out[1].size() > 40'000);
  CHECK(h.feed(client(0x81, R"(["1","3","room:a","x",{}])")) == phx::frames_result::open);
  CHECK(h.out.back() == "compressed " + joined("3"));
}

TEST_CASE("deflate: a message stays what it is while its channel sends others") {
  host h;
  std::string const quoted = "{\"a\":\"" + std::string(100, 'a') + std::string(100, 'b') + "\"}";
  CHECK(h.feed(client(0xC1, peer().deflated(join)) +
               client(0xC1, peer().deflated(R"(["1","2","room:a","push_then_reply",)" + quoted + "]"))) ==
        phx::frames_result::open);
  REQUIRE(h.out.size() == 3);
  CHECK(h.out[1] == "compressed " + (R"(["1",null,"room:a","pushed",)" + quoted + "]"));
  CHECK(h.out[2] == "compressed " + (R"(["1","2","room:a","phx_reply",{"status":"ok","response":)" + quoted + "}]"));
}

TEST_CASE("deflate: receive_frames closes with 1007, 1009 and 1002") {
  auto const answers = [](std::string const& bytes) {
    host h;
    CHECK(h.feed(client(0xC1, peer().deflated(join))) == phx::frames_result::open);
    h.out.clear();
    CHECK(h.feed(bytes + client(0xC1, peer().deflated(join))) != phx::frames_result::open);
    return h.out;
  };
  using list = std::vector<std::string>;
  CHECK(answers(client(0xC1, "\xff")) == list{"control 239"});                                         // 1007
  CHECK(answers(client(0xC2, peer().deflated(std::string(50'001, ' ')))) == list{"control 241"});      // 1009
  CHECK(answers(client(0xC2, peer().deflated(std::string(10'000'000, ' ')))) == list{"control 241"});  // 1009
  CHECK(answers(client(0x41, "a") + client(0xC0, "b")) == list{"control 234"});                        // 1002
}

TEST_CASE("deflate: inflated text is checked to be UTF-8, and what phx closes is inflated no further") {
  host h;
  CHECK(h.feed(client(0xC1, peer().deflated("[\"\xff\"]"))) == phx::frames_result::closed_by_phx);
  CHECK(h.out == std::vector<std::string>{"closed 1007"});
  host again;
  std::string bytes = client(0xC1, peer().deflated("[\"\xff\"]")) + client(0xC1, peer().deflated(join));
  CHECK(phx::receive_frames(
            *again.socket, again.reader, bytes, again.loops.now(), [](auto const&) {}, again.codec.get()) ==
        phx::frames_result::closed_by_phx);
  CHECK(again.out == std::vector<std::string>{"closed 1007"});
}

TEST_CASE("deflate: a websocket_connection agrees on it if it is given its loop's compressor") {
  struct stream {
    std::string out{};
    void append(std::string_view bytes) noexcept { out.append(bytes); }
    [[nodiscard]] std::size_t unsent() const noexcept { return 0; }
    void flush() noexcept {}
    void close_after_writing() noexcept {}
  };
  phx::router<> app;
  app.channel<echo>("room:*");
  phx::mount const mount{};
  phx::testing::fake_loops loops;
  auto const shared = permessage_deflate({.min_size = 0}).make_compressor();
  std::string const request =
      "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
  for (bool on : {true, false}) {
    CAPTURE(on);
    stream to;
    phx::websocket_connection<stream, phx::router<>> connection(loops[0], app, mount, to, on ? shared.get() : nullptr);
    std::string bytes = request + client(on ? 0xC1 : 0x81, on ? peer().deflated(join) : join);
    connection.receive(bytes, loops.now(), {});
    std::string const head = to.out.substr(0, to.out.find("\r\n\r\n") + 4), reply = to.out.substr(head.size());
    CHECK((head.find("\r\nsec-websocket-extensions: permessage-deflate; server_no_context_takeover; "
                     "client_no_context_takeover\r\n\r\n") != std::string::npos) == on);
    CHECK(static_cast<unsigned char>(reply[0]) == (on ? 0xC1 : 0x81));
    CHECK((on ? peer().inflated(reply.substr(2)) : reply.substr(2)) == joined("1"));
  }
}
