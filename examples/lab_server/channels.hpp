#ifndef EXAMPLES_LAB_SERVER_CHANNELS_HPP
#define EXAMPLES_LAB_SERVER_CHANNELS_HPP
// The channels and mounts of two servers whose behaviour is specified frame by frame: the lab server, against which
// conversations recorded from Phoenix are played, and the server of Phoenix's own integration tests.
//
// Callbacks take `auto& ctx`: with the router that is a phx::context, with the other dispatcher (actors.hpp) its counterpart
// on another thread. A channel for one dispatcher only just writes phx::context&.

#include "alarms.hpp"

#include <phx/adapter/nlohmann.hpp>
#include <phx/serializer/legacy/generation.hpp>
#include <phx/longpoll/longpoll.hpp>
#include <phx/phx.hpp>
#include <phx/presence/presence.hpp>

#include <array>
#include <atomic>
#include <list>
#include <random>

namespace lab {

using json = nlohmann::ordered_json;  // relayed payloads keep the order of their keys

/// The data of connect about a client.
struct session {
  std::optional<std::string> user_id{};
  phx::transport_kind transport = phx::transport_kind::websocket;
  json info{};  ///< the connect_info as JSON for sockets that use it, else null
};

[[nodiscard]] inline json or_null(std::optional<std::string> const& text) { return text ? json(*text) : json(); }

/// A handler that raises. Built without exceptions a channel can only stop with an error, which its client cannot tell
/// apart.
[[nodiscard]] inline phx::outcome raise([[maybe_unused]] char const* text) {
#ifdef __cpp_exceptions
  throw std::runtime_error(text);
#else
  return phx::outcome::stop(phx::exit_reason::error);
#endif
}
[[nodiscard]] inline phx::join_result raise_in_join() {
#ifdef __cpp_exceptions
  throw std::runtime_error("crash in join");
#else
  std::abort();  // no result of a join means that it has crashed
#endif
}

/// The arguments in a payload; empty if it is not an object.
class arguments {
 public:
  explicit arguments(phx::payload const& p) {
    if (auto tree = phx::parse<json>(p); tree && tree->is_object()) all_ = *std::move(tree);
  }
  json const* find(char const* name) const&& = delete;  // the result would dangle
  [[nodiscard]] json const* find(char const* name) const& {
    auto const at = all_.find(name);
    return at == all_.end() ? nullptr : &*at;
  }
  [[nodiscard]] std::optional<std::string> text(char const* name) const {
    json const* const v = find(name);
    return v != nullptr && v->is_string() ? std::optional(v->template get<std::string>()) : std::nullopt;
  }
  [[nodiscard]] bool is_true(char const* name) const {
    json const* const v = find(name);
    return v != nullptr && v->is_boolean() && v->template get<bool>();
  }
  [[nodiscard]] std::optional<std::chrono::milliseconds> milliseconds(char const* name) const {
    json const* const v = find(name);
    if (v == nullptr || !v->is_number_unsigned()) return std::nullopt;
    return std::chrono::milliseconds(std::min<std::uint64_t>(v->template get<std::uint64_t>(), 3'600'000));
  }
  /// Base64, decoded, as a payload of bytes.
  [[nodiscard]] std::optional<phx::payload> bytes(char const* name) const {
    std::optional<std::string> const coded = text(name);
    if (!coded || coded->size() % 4 != 0) return std::nullopt;
    constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string_view digits = *coded;
    for (int i = 0; i < 2 && digits.ends_with('='); ++i) digits.remove_suffix(1);
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    for (char const c : digits) {
      std::size_t const value = letters.find(c);
      if (value == std::string_view::npos) return std::nullopt;
      bits = (bits << 6) | static_cast<std::uint32_t>(value);
      count += 6;
      if (count >= 8) out.push_back(static_cast<char>(bits >> (count -= 8)));
    }
    return phx::payload::binary(out);
  }

 private:
  json all_ = json::object();
};

// ---- the lab server

class room {
 public:
  static constexpr std::array<std::string_view, 2> intercepts{"masked", "muted"};

  room(session const& me, alarms& later) : user_id_(me.user_id), later_(&later) {}

  phx::join_result join(auto& ctx, phx::message const& in) {
    arguments const asked(in.payload);
    if (json const* const reason = asked.find("deny"))
      return phx::join_result::error(phx::to_payload(json{{"reason", *reason}}));
    if (asked.is_true("crash")) return raise_in_join();
    if (asked.is_true("greet")) (void)ctx.send("greet");
    if (json const* const reply = asked.find("reply")) return phx::join_result::ok(phx::to_payload(*reply));
    return phx::join_result::ok();
  }

  phx::outcome handle_in(auto& ctx, phx::message const& in) {
    using phx::outcome;
    std::string_view const event = in.event;
    phx::payload const& payload = in.payload;

    if (event == "echo") return outcome::reply(payload);
    if (event == "echo_error") return outcome::reply(phx::status::error, payload);
    if (event == "status_only") return outcome::reply();
    if (event == "silent") return outcome::noreply();
    if (event == "push") return ctx.push("pushed", payload), outcome::noreply();
    if (event == "push_then_reply") return ctx.push("pushed", payload), outcome::reply();
    if (event == "shout") return ctx.broadcast("shout", payload), outcome::noreply();
    if (event == "shout_then_reply") return ctx.broadcast("shout", payload), outcome::reply();
    if (event == "whisper") return ctx.broadcast_from("whisper", payload), outcome::reply();
    if (event == "count") return outcome::reply(phx::to_payload(json{{"count", ++count_}}));
    if (event == "masked" || event == "muted") return ctx.broadcast(event, payload), outcome::noreply();
    if (event == "crash") return raise("crash");
    if (payload.is_binary()) {
      if (event == "bin") return outcome::reply(payload);
      if (event == "bin_push") return ctx.push("bin_pushed", payload), outcome::noreply();
      if (event == "bin_shout") return ctx.broadcast("bin_shout", payload), outcome::noreply();
      return raise("no clause for this event");
    }
    arguments const with(payload);
    if (auto const delay = with.milliseconds("ms")) {
      if (event == "later") return (void)ctx.send_after(*delay, "later", payload), outcome::noreply();
      if (event == "async") {
        auto answer = ctx.reply();
        if (!answer.has_ref()) return raise("nothing to reply to");
        later_->after(*delay, [answer = std::move(answer), payload] { (void)answer(payload); });
        return outcome::noreply();
      }
    }
    if (auto const exit = reason(with)) {
      if (event == "stop") return outcome::stop(*exit);
      if (event == "stop_reply") return outcome::stop(*exit, phx::status::ok, payload);
    }
    if (auto const user_id = with.text("user_id"))
      if (event == "disconnect") return ctx.disconnect("user:" + *user_id), outcome::reply();
    if (auto const bytes = with.bytes("b64")) {
      if (event == "bin_reply") return outcome::reply(*bytes);
      if (auto const as = with.text("event")) {
        if (event == "bin_event") return ctx.push(*as, *bytes), outcome::noreply();
        if (event == "bin_cast") return ctx.broadcast(*as, *bytes), outcome::noreply();
      }
    }
    if (event == "relay") {
      auto const topic = with.text("topic"), as = with.text("event");
      json const* const item = with.find("payload");
      if (topic && as && item != nullptr) return ctx.publish(*topic, *as, phx::to_payload(*item)), outcome::reply();
    }
    return raise("no clause for this event");
  }

  phx::outcome handle_out(auto& ctx, phx::broadcast const& b) {
    if (b.event == "muted") return phx::outcome::noreply();
    auto seen = phx::parse<json>(b.payload);
    if (!seen || !seen->is_object()) return raise("only an object can be masked");
    (*seen)["seen_by"] = or_null(user_id_);
    return ctx.push(b.event, phx::to_payload(*seen)), phx::outcome::noreply();
  }

  phx::outcome handle_info(auto& ctx, phx::message const& in) {
    if (in.event == "greet") ctx.push("greeting", phx::to_payload(json{{"topic", ctx.topic()}}));
    if (in.event == "later") ctx.push("later", in.payload);
    return phx::outcome::noreply();
  }

  void terminate(auto& ctx, phx::exit_reason reason) noexcept {
    std::string const topic(ctx.topic());
    ctx.publish("audit:" + topic, "terminated", phx::to_payload(json{{"topic", topic}, {"reason", word(reason)}}));
  }

 private:
  [[nodiscard]] static std::optional<phx::exit_reason> reason(arguments const& with) {
    auto const reason = with.text("reason");
    if (reason == "normal") return phx::exit_reason::normal;
    if (reason == "shutdown") return phx::exit_reason::shutdown;
    if (reason == "shutdown_tuple") return phx::exit_reason(phx::exit_reason::shutdown, "bye");
    if (reason == "boom") return phx::exit_reason(phx::exit_reason::error, "boom");
    return std::nullopt;
  }
  [[nodiscard]] static char const* word(phx::exit_reason reason) noexcept {
    switch (reason.what()) {
      case phx::exit_reason::left: return "left";
      case phx::exit_reason::closed:
      case phx::exit_reason::draining: return "closed";
      case phx::exit_reason::normal: return "normal";
      case phx::exit_reason::shutdown: return "shutdown";
      case phx::exit_reason::replaced:
      case phx::exit_reason::error:
      case phx::exit_reason::killed:
      case phx::exit_reason::connection_error: break;
    }
    return "error";
  }

  std::optional<std::string> user_id_;
  alarms* later_;
  int count_ = 0;
};

/// Refuses every join.
struct private_room {
  phx::join_result join(auto&, phx::message const&) {
    return phx::join_result::error(phx::payload::json(R"({"reason":"unauthorized"})"));
  }
};

/// Receives broadcasts only: any message from its client ends it.
struct audit {
  phx::join_result join(auto&, phx::message const&) { return phx::join_result::ok(); }
};

/// Phoenix's behaviour: one diff per change, at once, and no lingering after a lost connection.
[[nodiscard]] inline phx::presence_options as_in_phoenix(phx::duration silence = std::chrono::seconds(30)) {
  phx::presence_options opts;
  opts.linger = opts.batch = phx::duration::zero();
  opts.nodes.down = silence;
  opts.nodes.period = silence / (2 * opts.nodes.silent_periods);
  return opts;
}
/// Tracks the channel, with either dispatcher. The entry leaves with the channel.
[[nodiscard]] auto track(phx::presence& presence, auto& ctx, std::string_view key, phx::payload const& meta) {
  if constexpr (std::is_same_v<decltype(ctx), phx::context&>)
    return presence.track(ctx, key, meta);
  else
    return presence.track(ctx.id(), ctx.topic(), key, meta);
}
[[nodiscard]] inline phx::outcome answered(phx::result<std::string> const& tracked) {
  if (tracked) return phx::outcome::reply();
  return phx::outcome::reply(phx::status::error, phx::presence::reason(tracked.error().code));
}

class present {
 public:
  explicit present(phx::presence& presence) : presence_(&presence) {}

  phx::join_result join(auto& ctx, phx::message const& in) {
    arguments const asked(in.payload);
    key_ = asked.text("key").value_or("anon");
    json const* const meta = asked.find("meta");
    (void)ctx.send("joined", meta == nullptr ? phx::payload{} : phx::to_payload(*meta));
    return phx::join_result::ok();
  }
  phx::outcome handle_info(auto& ctx, phx::message const& in) {
    // If it is refused, the client gets a state without itself.
    (void)track(*presence_, ctx, key_, in.payload);
    ctx.push("presence_state", presence_->list(ctx.topic()));
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(auto& ctx, phx::message const& in) {
    if (in.event == "update") return answered(presence_->update(ctx.id(), ctx.topic(), key_, in.payload));
    if (in.event == "untrack") return presence_->untrack(ctx.id(), ctx.topic(), key_), phx::outcome::reply();
    if (in.event == "list") return phx::outcome::reply(presence_->list(ctx.topic()));
    return raise("no clause for this event");
  }

 private:
  phx::presence* presence_;
  std::string key_{};
};

/// The channel that Supabase's realtime-js joins.
class realtime {
 public:
  explicit realtime(phx::presence& presence) : presence_(&presence) {}

  phx::join_result join(auto& ctx, phx::message const& in) {
    auto const whole = phx::parse<json>(in.payload);
    auto const config = [&](json::json_pointer const& path) -> json {
      return whole && whole->is_object() && whole->contains(path) ? whole->at(path) : json();
    };
    if (config(json::json_pointer("/config/private")) == true)
      return phx::join_result::error(phx::payload::json(R"({"reason":"Unauthorized"})"));
    to_self_ = config(json::json_pointer("/config/broadcast/self")) == true;
    acknowledged_ = config(json::json_pointer("/config/broadcast/ack")) == true;
    json const key = config(json::json_pointer("/config/presence/key"));
    key_ = key.is_string() && key != "" ? key.get<std::string>() : fresh_key();
    if (config(json::json_pointer("/config/presence/enabled")) == true) (void)ctx.send("joined");
    return phx::join_result::ok(phx::payload::json(R"({"postgres_changes":[]})"));
  }
  phx::outcome handle_info(auto& ctx, phx::message const&) {
    ctx.push("presence_state", presence_->list(ctx.topic()));
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(auto& ctx, phx::message const& in) {
    if (in.event == "access_token") return phx::outcome::noreply();
    if (in.event == "broadcast") {
      if (to_self_)
        ctx.broadcast("broadcast", in.payload);
      else
        ctx.broadcast_from("broadcast", in.payload);
      return acknowledged_ ? phx::outcome::reply() : phx::outcome::noreply();
    }
    arguments const with(in.payload);
    auto const text = with.text("event");
    if (in.event == "presence" && text == "untrack")
      return presence_->untrack(ctx.id(), ctx.topic(), key_), phx::outcome::reply();
    if (in.event == "presence" && text == "track") {
      json const* const given = with.find("payload");
      phx::payload const meta = given == nullptr ? phx::payload{} : phx::to_payload(*given);
      auto tracked = track(*presence_, ctx, key_, meta);
      if (!tracked && tracked.error().code == phx::errc::already_tracked)
        tracked = presence_->update(ctx.id(), ctx.topic(), key_, meta);
      return answered(tracked);
    }
    return raise("no clause for this event");
  }

 private:
  [[nodiscard]] static std::string fresh_key() {
    static std::atomic<std::uint64_t> last{(std::uint64_t{std::random_device{}()} << 32) + 1};
    return "client-" + std::to_string(last++);
  }
  phx::presence* presence_;
  std::string key_{};
  bool to_self_ = false, acknowledged_ = false;
};

struct load {
  phx::outcome handle_in(auto& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") return ctx.broadcast("shout", in.payload), phx::outcome::noreply();
    if (in.event == "whisper") return ctx.broadcast_from("whisper", in.payload), phx::outcome::reply();
    return raise("no clause for this event");
  }
};

[[nodiscard]] inline phx::connect_outcome<session> connect(phx::connect_info const& info) {
  if (info.param("reject") == "1") return phx::http_answer{};
  phx::connected<session> in{};
  if (auto const user = info.param("user_id")) {
    in.session.user_id = std::string(*user);
    in.id = "user:" + std::string(*user);
  }
  return in;
}

}  // namespace lab

// ---- the server of Phoenix's integration tests

namespace suite {

using lab::json;
using lab::session;

class room {
 public:
  static constexpr std::array<std::string_view, 2> intercepts{"new_msg", "bin_ack"};

  explicit room(session const& me)
      : assigns_{{"user_id", lab::or_null(me.user_id)}}, polled_(me.transport == phx::transport_kind::longpoll) {
    if (!me.info.is_null()) assigns_["connect_info"] = me.info;
  }
  phx::join_result join(auto& ctx, phx::message const& in) {
    lab::arguments const asked(in.payload);
    json const* const user = asked.find("user");
    (void)ctx.send("after_join", phx::to_payload(json{{"user", user == nullptr ? json() : *user}}));
    return phx::join_result::ok();
  }
  phx::outcome handle_in(auto& ctx, phx::message const& in) {
    using phx::outcome;
    if (in.event == "new_msg") {
      ctx.broadcast("new_msg", in.payload);
      return polled_ ? outcome::noreply() : outcome::reply();
    }
    if (in.event == "bin" && in.payload.is_binary()) return ctx.broadcast("bin_ack", {}), outcome::noreply();
    if (in.event == "binary_event" && in.payload.is_binary()) {
      ctx.push("binary_event", phx::payload::binary(std::string_view("\0\1", 2)));
      return outcome::reply(phx::payload::binary(std::string(in.payload.raw()) + "\3\4"));
    }
    return lab::raise("boom");
  }
  phx::outcome handle_out(auto& ctx, phx::broadcast const& b) {
    auto item = phx::parse<json>(b.payload);
    if (!item || !item->is_object()) return lab::raise("an object was expected");
    (*item)["transport"] = polled_ ? ":longpoll" : ":websocket";
    return ctx.push(b.event, phx::to_payload(*item)), phx::outcome::noreply();
  }
  phx::outcome handle_info(auto& ctx, phx::message const& in) {
    ctx.broadcast("user_entered", in.payload);
    json joined = assigns_;
    joined["status"] = "connected";
    return ctx.push("joined", phx::to_payload(joined)), phx::outcome::noreply();
  }
  void terminate(auto& ctx, phx::exit_reason) noexcept {
    if (!polled_) ctx.push("you_left", phx::to_payload(json{{"message", "bye!"}}));
  }

 private:
  json assigns_;
  bool polled_;
};

struct custom {
  phx::join_result join(auto&, phx::message const& in) {
    auto const action = lab::arguments(in.payload).text("action");
    if (action == "ok") return phx::join_result::ok(phx::payload::json(R"({"action":"ok"})"));
    if (action == "ignore") return phx::join_result::error(phx::payload::json(R"({"action":"ignore"})"));
    return lab::raise_in_join();
  }
  phx::outcome handle_in(auto&, phx::message const& in) {
    return in.event == "close" ? phx::outcome::stop() : lab::raise("no clause for this event");
  }
};

[[nodiscard]] inline phx::connect_outcome<session> connect(phx::connect_info const& info) {
  if (info.param("reject") == "true" || info.param("custom_error") == "true") return phx::http_answer{};
  if (info.param("ratelimit") == "true") return phx::http_answer{429, {}, "Too many requests"};
  phx::connected<session> in{};
  in.session.transport = info.transport();
  if (auto const user = info.param("user_id")) {
    in.session.user_id = std::string(*user);
    in.id = "user_sockets:" + std::string(*user);
  }
  return in;
}

[[nodiscard]] inline json by_name(std::span<phx::header const> headers) {
  json all = json::object();
  for (phx::header const& h : headers) all[std::string(h.name)] = h.value;
  return all;
}

/// The same, for the socket that uses connect_info.
[[nodiscard]] inline phx::connect_outcome<session> connect_with_info(phx::connect_info const& info) {
  phx::connect_outcome<session> result = connect(info);
  if (auto* const in = std::get_if<phx::connected<session>>(&result)) {
    phx::uri const uri = info.uri();
    in->session.info = {
        {"x_headers", by_name(info.x_headers())},
        {"trace_context_headers", by_name(info.trace_context_headers())},
        {"peer_data", {{"address", info.peer_data().address}, {"port", info.peer_data().port}, {"ssl_cert", nullptr}}},
        {"uri", {{"scheme", uri.scheme}, {"host", uri.host}, {"port", uri.port}, {"path", uri.path}, {"query", uri.query}}}};
    if (info.transport() == phx::transport_kind::websocket) {
      in->session.info["user_agent"] = info.user_agent() ? json(*info.user_agent()) : json();
      in->session.info["sec_websocket_headers"] = by_name(info.sec_websocket_headers());
      in->session.info["signing_salt"] = info.custom("signing_salt").value_or("");
    }
  }
  return result;
}

/// The serializer of `/ws/slow`, on which no frame is ever processed in time. A loop must not wait, since all its clients
/// would: instead the frame ends the session, and its client gets 408 at once.
template <phx::Serializer Wire>
struct never_done : Wire {
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept {
    return phx::errc::wrong_shape;
  }
};
[[nodiscard]] inline phx::connect_outcome<session> connect_everyone(phx::connect_info const&) {
  return phx::connected<session>{};
}

}  // namespace suite

// ---- the mounts

namespace lab {

/// A mount and its dispatcher. Sockets refer to both, so a site must not move.
template <class Dispatcher>
struct site {
  phx::mount at;
  Dispatcher serves;
  phx::longpoll::options polls{};
};

/// All sites. @param presence started, or not yet. @param make `Dispatcher(connect_outcome<session>
/// (*connect)(connect_info const&))`
template <class Make>
[[nodiscard]] auto sites(Make make, alarms& later, phx::presence& presence) {
  using dispatcher = decltype(make(&lab::connect));
  std::list<site<dispatcher>> all;
  auto const serve = [&](phx::mount at, auto connect, phx::duration window = {}) -> dispatcher& {
    at.longpoll = window != phx::duration{};
    phx::longpoll::options polls;
    if (at.longpoll) polls.window = window;
    return all.emplace_back(site<dispatcher>{phx::checked(std::move(at)).value(), make(connect), polls}).serves;
  };
  using namespace std::chrono_literals;
  auto const rooms = [&later](dispatcher& d) -> dispatcher& {
    return d.channel("room:*", [&later](session const& me) { return room(me, later); })
        .channel("lobby", [&later](session const& me) { return room(me, later); });
  };
  auto const whole_lab = [&rooms, &presence](dispatcher& d) {
    rooms(d)
        .template channel<private_room>("private:*")
        .template channel<audit>("audit:*")
        .channel("presence:*", [&presence](session const&) { return present(presence); })
        .template channel<load>("load:*")
        .channel("realtime:*", [&presence](session const&) { return realtime(presence); });
  };
  phx::check_origin const lab_origins{"//localhost", "//127.0.0.1", "https://*.example.com"};
  phx::limits of_lab;
  of_lab.frame = 1'048'576;
  of_lab.strict_encoding = true;  // as in the recorded conversations
  phx::limits few = of_lab;
  few.idle = 1'500ms;
  few.channels = 2;
  whole_lab(serve({.path = "/socket", .origins = lab_origins, .bounds = of_lab}, &lab::connect, 2s));
  rooms(serve({.path = "/limited", .origins = lab_origins, .bounds = few}, &lab::connect));
  whole_lab(serve({.path = "/legacy",
                   .generation = phx::legacy::of<phx::generation::legacy>(),
                   .origins = lab_origins,
                   .bounds = of_lab},
                  &lab::connect, 2s));

  phx::check_origin const suite_origins{"//example.com"};
  phx::limits hasty;
  hasty.strict_encoding = true;
  hasty.idle = 200ms;
  phx::limits single = hasty;
  single.channels = 1;
  for (char const* const path : {"/ws", "/ws/admin"})
    serve({.path = path, .origins = suite_origins, .bounds = hasty}, &suite::connect, 200ms)
        .template channel<suite::room>("room:*")
        .template channel<suite::custom>("custom:*");
  serve({.path = "/ws/limited", .origins = suite_origins, .bounds = single}, &suite::connect)
      .template channel<suite::room>("room:*");
  serve({.path = "/ws/connect_info", .origins = suite_origins, .bounds = hasty, .custom = {{"signing_salt", "salt"}}},
        &suite::connect_with_info, 200ms)
      .template channel<suite::room>("room:*");
  serve({.path = "/ws/slow",
         .serializers = {phx::serializer_ref::of<suite::never_done<phx::v2_json>>(),
                         phx::serializer_ref::of<suite::never_done<phx::v1_json>>()},
         .origins = suite_origins,
         .websocket = false},
        &suite::connect_everyone, 100ms);
  return all;
}

}  // namespace lab

#endif
