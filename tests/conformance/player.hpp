#ifndef TESTS_CONFORMANCE_PLAYER_HPP
#define TESTS_CONFORMANCE_PLAYER_HPP
// Plays one conversation directly against the core, without sockets and with a simulated clock.

#include "../../examples/lab_server/channels.hpp"
#include "lossless.hpp"
#include "polling.hpp"

#include <atomic>
#include <deque>
#include <list>
#include <memory>

namespace conformance {

using namespace std::chrono_literals;

/// Timers that fire when the test advances the time.
class manual_alarms final : public lab::alarms {
 public:
  explicit manual_alarms(phx::time_point start) : now_(start) {}
  void after(std::chrono::milliseconds delay, std::function<void()> item) override {
    std::lock_guard const hold(mutex_);
    waiting_.emplace(now_ + delay, std::move(item));
  }
  [[nodiscard]] phx::time_point next() {
    std::lock_guard const hold(mutex_);
    return waiting_.empty() ? phx::time_point::max() : waiting_.begin()->first;
  }
  /// @return true if a timer fired.
  bool run(phx::time_point now) {
    bool rang = false;
    for (std::unique_lock hold(mutex_);; hold.lock()) {
      now_ = now;
      if (waiting_.empty() || waiting_.begin()->first > now) return rang;
      std::function<void()> const due = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
      hold.unlock();
      due();
      rang = true;
    }
  }

 private:
  std::mutex mutex_;
  phx::time_point now_;
  std::multimap<phx::time_point, std::function<void()>> waiting_;
};

/// A loop with a flag for its wake-up. Channels on other threads set it.
struct flagged_loop {
  struct waker {
    std::atomic<bool> called{false};
    void wake() noexcept { called = true; }
  };
  explicit flagged_loop(phx::endpoint& all) : loop(all, flag) {}
  waker flag;
  phx::loop loop;
  phx::time_point next = phx::time_point::max();
};

[[nodiscard]] inline std::string base64(std::string_view bytes) {
  constexpr char const* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::size_t const n = std::min<std::size_t>(3, bytes.size() - i);
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out.push_back(k <= n ? letters[bits >> (18 - 6 * k) & 63] : '=');
  }
  return out;
}
[[nodiscard]] inline std::string from_base64(std::string_view coded) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (char const c : coded) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<unsigned>(letters.find(c));
    if ((count += 6) >= 8) out.push_back(static_cast<char>(bits >> (count -= 8)));
  }
  return out;
}
/// A query value as URLSearchParams writes it.
[[nodiscard]] inline std::string form_coded(std::string_view s) {
  std::string out;
  for (char const c : s) {
    auto const u = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
        std::string_view("*-._").find(c) != std::string_view::npos)
      out.push_back(c);
    else if (c == ' ')
      out.push_back('+');
    else
      out.append({'%', "0123456789ABCDEF"[u >> 4], "0123456789ABCDEF"[u & 15]});
  }
  return out;
}

/// The server that a conversation is played against. Every member outlives the ones below it.
template <class Dispatcher>
struct world {
  /// @param make as for lab::sites. @param idle returns when no other thread has work for this server.
  template <class Make>
  world(std::size_t loop_count, phx::endpoint& everywhere, manual_alarms& bells, Make make, std::function<void()> idle)
      : endpoint(everywhere),
        alarms(bells),
        presence(everywhere, lab::as_in_phoenix()),
        sites(lab::sites(make, bells, presence)),
        all_idle(std::move(idle)) {
    for (std::size_t i = 0; i < loop_count; ++i) {
      flagged_loop& mine = *loops.emplace_back(std::make_unique<flagged_loop>(endpoint));
      for (lab::site<Dispatcher>& site : sites)
        if (site.at.longpoll)
          polls.push_back({&site, i, std::make_unique<service>(sessions, mine.loop, site.at, site.serves, site.polls)});
    }
  }
  using service = phx::longpoll::service_for<Dispatcher>;
  struct polling {
    lab::site<Dispatcher>* at;
    std::size_t loop;
    std::unique_ptr<service> serves;
  };
  phx::endpoint& endpoint;
  manual_alarms& alarms;
  phx::presence presence;
  std::list<lab::site<Dispatcher>> sites;
  std::function<void()> all_idle;
  phx::longpoll::sessions sessions{};
  std::vector<std::unique_ptr<flagged_loop>> loops{};
  std::vector<polling> polls{};
};

template <class Dispatcher>
class player {
 public:
  static constexpr phx::time_point start{1h};

  player(world<Dispatcher>& server, value const& conversation, of_equal_keys which)
      : server_(server), conversation_(conversation), which_(which) {
    clients_.resize(static_cast<std::size_t>(conversation.find("clients")->integer()));
    for (std::size_t i = 0; i < clients_.size(); ++i) clients_[i] = std::make_unique<client>(*this, i);
  }

  /// Empty, or the failed step and the first difference.
  [[nodiscard]] std::string play() {
    std::size_t n = 0;
    for (value const& step : conversation_.find("steps")->items) {
      ++n;
      if (std::string const wrong = take(step); !wrong.empty()) return "step " + std::to_string(n) + ": " + wrong;
    }
    advance(now_ + 150ms);
    for (auto const& c : clients_)
      if (!c->items.empty()) return c->name() + ": more than expected, first " + brief(c->items.front());
    for (auto const& c : clients_)
      if (c->socket) c->leave(phx::lost::normal);
    pump();
    for (auto const& c : clients_) c->visit.reset();
    if (!server_.polls.empty()) advance(now_ + 7s);  // the sessions are no longer polled
    if (server_.sessions.size() != 0) return "sessions were left over";
    if (server_.endpoint.sockets() != 0) return "sockets were left over";
    for (auto const& l : server_.loops)
      if (l->loop.topics() != 0) return "topics were left over";
    return stuck_ ? "a loop never came to rest" : "";
  }

 private:
  struct client;
  /// The Transport: each frame becomes an item. It destroys its socket in close, as some hosts do.
  struct recorder {
    client* to;
    phx::send_status send(phx::frame const& f) noexcept {
      if (f.op() == phx::opcode::binary)
        to->came(value::object().with("$binary", value::of(base64(f.data()))));
      else if (std::optional<value> v = reader(f.data(), to->mine.which_).whole())
        to->came(*std::move(v));
      else
        to->came(value::object().with("$not_json", value::of(std::string(f.data()))));
      return phx::send_status::ok;
    }
    void close(phx::close_frame frame) noexcept {
      client* const c = to;
      c->came(value::object().with("$closed", value::of(static_cast<long long>(frame.code))));
      c->socket.reset();
    }
    [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
  };
  struct client {
    client(player& p, std::size_t which) : mine(p), number(which) {}
    [[nodiscard]] std::string name() const { return "client " + std::to_string(number); }
    void came(value item) {
      for (value const& m : maybe) {
        names none;
        if (mismatch(m, item, none).empty()) return;
      }
      items.push_back(std::move(item));
    }
    void leave(phx::lost how_lost) {
      socket->gone(how_lost);
      socket.reset();
    }
    player& mine;
    std::size_t number;
    std::deque<value> items{};
    std::vector<value> maybe{};
    std::optional<phx::socket<recorder, Dispatcher>> socket{};
    std::optional<std::string> token{};   // of its long-poll session
    std::unique_ptr<http_visit> visit{};  // a waiting poll
  };

  // ---- time

  /// Runs all loops that were woken, until none is.
  void pump() {
    for (int rounds = 0; rounds < 10'000; ++rounds) {
      server_.all_idle();
      bool busy = server_.alarms.run(now_);
      for (auto const& l : server_.loops) {
        if (!l->flag.called.exchange(false) && l->next > now_) continue;
        l->next = l->loop.run(now_);
        busy = true;
      }
      if (!busy) return;
    }
    stuck_ = true;
  }
  void advance(phx::time_point to) {
    for (pump(); !stuck_; pump()) {
      phx::time_point next = server_.alarms.next();
      for (auto const& l : server_.loops) next = std::min(next, l->next);
      if (next > to) break;
      now_ = std::max(now_, next);
    }
    now_ = to;
    pump();
  }
  /// The next item of `c`; advances the time as far as necessary, at most four seconds.
  [[nodiscard]] std::optional<value> next(client& c) {
    phx::time_point const deadline = now_ + 4s;
    for (pump(); c.items.empty() && !stuck_; pump()) {
      phx::time_point soonest = server_.alarms.next();
      for (auto const& l : server_.loops) soonest = std::min(soonest, l->next);
      if (soonest > deadline) {
        now_ = deadline;
        return std::nullopt;
      }
      now_ = std::max(now_, soonest);
    }
    if (c.items.empty()) return std::nullopt;
    value item = std::move(c.items.front());
    c.items.pop_front();
    return item;
  }

  // ---- steps

  [[nodiscard]] std::string take(value const& step) {
    if (value const* const ms = step.find("sleep")) return advance(now_ + std::chrono::milliseconds(ms->integer())), "";
    if (value const* const spec = step.find("http")) return http(step, *spec);
    client& c = *clients_[static_cast<std::size_t>(step.find("client")->integer())];
    if (value const* const wanted = step.find("expect")) return expect(c, wanted->items);
    if (value const* const lanes = step.find("expect_lanes")) return expect_lanes(c, lanes->items);
    if (value const* const m = step.find("maybe")) {
      c.maybe.insert(c.maybe.end(), m->items.begin(), m->items.end());
      return "";
    }
    if (value const* const spec = step.find("open")) {
      value const got = open(c, *spec);
      value const* const wanted = step.find("result");
      std::string const m = wanted == nullptr ? "" : mismatch(*wanted, got, known_);
      return m.empty() ? "" : "result of open: " + m;
    }
    for (char const* const text : {"lp_open", "lp_poll", "lp_post", "lp_poll_start", "lp_poll_end"})
      if (value const* const spec = step.find(text)) return long_poll(c, step, text, *spec);
    if (!c.socket) return step.find("terminate") != nullptr ? "" : c.name() + " is not open: " + brief(step);
    std::string const wrong = act(c, step);
    // Steps with `nowait` are sent before any loop runs.
    if (value const* const nowait = step.find("nowait"); nowait == nullptr || !nowait->truth) pump();
    return wrong;
  }

  [[nodiscard]] std::string act(client& c, value const& step) {
    auto const receive = [&](phx::opcode op, std::string const& bytes) {
      // The receive buffer: invalid once receive has returned.
      auto const borrowed = std::make_unique<std::string>(bytes);
      (void)c.socket->receive(op, *borrowed, true, now_);
    };
    if (value const* const frame = step.find("send")) {
      receive(phx::opcode::text, text(*frame));
    } else if (value const* const plain = step.find("send_text")) {
      receive(phx::opcode::text, plain->text);
    } else if (value const* const coded = step.find("send_text_base64")) {
      receive(phx::opcode::text, from_base64(coded->text));
    } else if (value const* const binary = step.find("send_binary")) {
      receive(phx::opcode::binary, from_base64(binary->text));
    } else if (value const* const f = step.find("send_fill")) {
      std::string whole = f->find("prefix")->text;
      for (long long i = f->find("count")->integer(); i > 0; --i) whole += f->find("fill")->text;
      receive(phx::opcode::text, whole + f->find("suffix")->text);
    } else if (value const* const code = step.find("close")) {
      // The close handshake is the host's part: it calls `gone` and echoes the code.
      c.leave(phx::lost::normal);
      c.came(value::object().with("$closed", value::of(code->integer() == 0 ? 1005 : code->integer())));
    } else if (step.find("terminate") != nullptr) {
      c.leave(phx::lost::error);
    } else {
      return "unknown step " + brief(step);
    }
    return "";
  }

  [[nodiscard]] value open(client& c, value const& spec) {
    std::string query;
    auto const add = [&query](std::string_view key, std::string_view text) {
      if (!query.empty()) query += '&';
      query += form_coded(key) + '=' + form_coded(text);
    };
    if (value const* const raw = spec.find("query")) {
      query = raw->text;
    } else {
      value const* const params = spec.find("params");
      if (value const* const vsn = conversation_.find("vsn");
          vsn->is != value::kind::null && (params == nullptr || params->find("vsn") == nullptr))
        add("vsn", vsn->text);
      if (params != nullptr)
        for (auto const& [key, v] : params->members) add(key, v.text);
    }
    value const* const path = spec.find("path");
    std::string const target = (path == nullptr ? "/socket/websocket" : path->text) + (query.empty() ? "" : "?" + query);
    std::vector<phx::header> headers{{"Host", "127.0.0.1:4000"},
                                     {"Connection", "Upgrade"},
                                     {"Upgrade", "websocket"},
                                     {"Sec-WebSocket-Version", "13"},
                                     {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
    if (value const* const more = spec.find("headers"))
      for (auto const& [key, v] : more->members) headers.push_back({key, v.text});
    phx::request const asked = phx::request::of("GET", target, headers, {"127.0.0.1", 50'000, {}});

    auto const refused = [](std::uint16_t status, std::string body) {
      return value::object()
          .with("status", value::of(static_cast<long long>(status)))
          .with("body", value::of(std::move(body)));
    };
    for (auto& site : server_.sites) {
      if (site.at.route(asked.path) != phx::transport_kind::websocket) continue;
      auto judged = phx::handshake(site.at, site.serves, asked);
      if (auto* const no = std::get_if<phx::refused_request>(&judged)) return refused(no->answer.status, no->answer.body);
      if (auto const bad = phx::upgrade_refusal(asked)) return refused(bad->answer.status, bad->answer.body);
      auto& yes = std::get<phx::admission<lab::session>>(judged);
      flagged_loop& mine = *server_.loops[c.number % server_.loops.size()];
      c.socket.emplace(mine.loop, site.serves, std::move(yes), recorder{&c}, now_);
      return value::object().with("open", value::of(true));
    }
    return refused(404, "");
  }

  // ---- long-polling

  /// The requests of one client go to the loops in turn.
  [[nodiscard]] bool serve(http_visit& v) {
    phx::request const asked = v.request();
    std::size_t const loop = requests_++ % server_.loops.size();
    for (auto& p : server_.polls)
      if (p.loop == loop && p.at->at.route(asked.path) == phx::transport_kind::longpoll)
        return p.serves->serve(v.asked, asked, v.body, now_), true;
    return false;
  }
  /// Advances the time as far as necessary for a response, at most four seconds.
  [[nodiscard]] bool answered(http_visit& v) {
    phx::time_point const deadline = now_ + 4s;
    for (pump(); !v.answer && !stuck_; pump()) {
      phx::time_point soonest = server_.alarms.next();
      for (auto const& l : server_.loops) soonest = std::min(soonest, l->next);
      if (soonest > deadline) break;
      now_ = std::max(now_, soonest);
    }
    return v.answer.has_value();
  }
  [[nodiscard]] std::unique_ptr<http_visit> visit_of(client const& c, value const& spec, char const* method) {
    auto v = std::make_unique<http_visit>();
    v->method = method;
    value const* const path = spec.find("path");
    v->target = path == nullptr ? "/socket/longpoll" : path->text;
    char before = '?';
    auto const add = [&](std::string_view key, std::string_view text) {
      v->target += std::exchange(before, '&') + form_coded(key) + '=' + form_coded(text);
    };
    if (value const* const vsn = conversation_.find("vsn"); vsn->is != value::kind::null) add("vsn", vsn->text);
    if (value const* const params = spec.find("params"))
      for (auto const& [key, param] : params->members) add(key, param.text);
    if (value const* const more = spec.find("headers"))
      for (auto const& [key, text_of] : more->members) v->headers.push_back({key, text_of.text});
    value const* const another = spec.find("token");
    std::optional<std::string> const token = spec.find("no_token") != nullptr ? std::nullopt
                                             : another != nullptr             ? std::optional(another->text)
                                                                              : c.token;
    if (token && spec.find("token_header") != nullptr)
      v->headers.push_back({"x-phoenix-longpoll-token", *kept_.emplace(kept_.end(), *token)});
    else if (token)
      add("token", *token);
    return v;
  }
  [[nodiscard]] value result_of(client& c, http_visit const& v, value const& spec) {
    value got = v.result(which_);
    if (value const* const body = got.find("body"))
      if (value const* const token = body->find("token"); token != nullptr && token->is == value::kind::string) {
        std::string const now = token->text;
        got.members.emplace_back("token", value::of(std::string(!c.token ? "new" : now == *c.token ? "same" : "changed")));
        c.token = now;
      }
    if (value const* const show = spec.find("show_headers"); show != nullptr && v.answer->status < 500) {
      value headers = value::object();
      for (char const* const name : {"access-control-allow-origin", "cache-control", "content-type"})
        for (auto const& [key, sent] : v.answer->headers)
          if (key == name) headers.members.emplace_back(key, value::of(sent));
      got.members.emplace_back("headers", std::move(headers));
    }
    return got;
  }
  [[nodiscard]] std::string long_poll(client& c, value const& step, std::string_view step_kind, value const& spec) {
    static value const plain = value::object();
    value const* wanted = step.find("result");
    value const* mode = &spec;
    std::unique_ptr<http_visit> v;
    if (step_kind == "lp_open") {
      c.token.reset();
      v = visit_of(c, spec, "GET");
    } else if (step_kind == "lp_post") {
      v = visit_of(c, spec, "POST");
      value const* const frames = spec.find("frames");
      if (frames != nullptr) {
        value const* const separator = spec.find("separator");
        for (value const& frame : frames->items) {
          if (&frame != &frames->items.front()) v->body += separator == nullptr ? "\n" : separator->text;
          value const* const binary = frame.find("$binary");
          v->body += binary != nullptr ? binary->text : text(frame);
        }
      } else if (value const* const frame = spec.find("frame")) {
        v->body = text(*frame);
      } else {
        v->body = spec.find("body")->text;
      }
      value const* const type = spec.find("content_type");
      v->headers.push_back({"content-type", type != nullptr     ? std::string_view(type->text)
                                            : frames != nullptr ? "application/x-ndjson"
                                                                : "application/json"});
    } else if (step_kind == "lp_poll_end") {
      v = std::move(c.visit);
      mode = &plain;
    } else {
      v = visit_of(c, spec, "GET");
    }
    if (step_kind != "lp_poll_end" && !serve(*v)) return "nobody serves " + v->target;
    if (step_kind == "lp_poll_start") {
      c.visit = std::move(v);
      return "";
    }
    if (!answered(*v)) return "no response to " + brief(step);
    value got = result_of(c, *v, *mode);
    std::string wrong = wanted == nullptr ? "" : mismatch(*wanted, got, known_);
    // A server may send its messages in several polls; they count as one.
    if (step_kind == "lp_poll" && wanted != nullptr)
      while (!wrong.empty() && messages(got) != nullptr && messages(*wanted) != nullptr &&
             messages(got)->items.size() < messages(*wanted)->items.size()) {
        v = visit_of(c, spec, "GET");
        if (!serve(*v) || !answered(*v)) break;
        value more = result_of(c, *v, *mode);
        if (messages(more) == nullptr || messages(more)->items.empty()) break;
        std::vector<value>& all = const_cast<value*>(messages(more))->items;
        all.insert(all.begin(), messages(got)->items.begin(), messages(got)->items.end());
        got = std::move(more);
        wrong = mismatch(*wanted, got, known_);
      }
    return wrong.empty() ? "" : std::string(step_kind) + ": " + wrong;
  }
  [[nodiscard]] static value const* messages(value const& result) {
    value const* const body = result.find("body");
    return body == nullptr ? nullptr : body->find("messages");
  }
  [[nodiscard]] std::string http(value const& step, value const& spec) {
    http_visit v;
    v.method = spec.find("method")->text;
    v.target = spec.find("path")->text;
    if (value const* const body = spec.find("body")) v.body = body->text;
    if (value const* const headers = spec.find("headers"))
      for (auto const& [key, sent] : headers->members) v.headers.push_back({key, sent.text});
    if (!serve(v)) return "nobody serves " + v.target;
    if (!answered(v)) return "no response";
    value got = v.result(which_);
    value const* const show = step.find("headers");
    value headers = value::object();
    if (show == nullptr || show->truth)
      for (char const* const name : {"access-control-allow-headers", "access-control-allow-methods",
                                     "access-control-allow-origin", "access-control-max-age"})
        for (auto const& [key, sent] : v.answer->headers)
          if (key == name) headers.members.emplace_back(key, value::of(sent));
    if (!headers.members.empty()) got.members.emplace_back("headers", std::move(headers));
    std::string const wrong = mismatch(*step.find("result"), got, known_);
    return wrong.empty() ? "" : "http: " + wrong;
  }

  [[nodiscard]] std::string expect(client& c, std::vector<value> const& wanted) {
    std::size_t i = 0;
    for (value const& want : wanted) {
      std::string const where = c.name() + ", item " + std::to_string(++i) + " of " + std::to_string(wanted.size()) + ": ";
      std::optional<value> const got = next(c);
      if (!got) return where + "nothing came, expected " + brief(want);
      if (std::string const m = mismatch(want, *got, known_); !m.empty())
        return where + m + "\n    expected " + brief(want) + "\n    got      " + brief(*got);
    }
    return "";
  }

  [[nodiscard]] std::string expect_lanes(client& c, std::vector<value> const& lanes) {
    std::size_t total = 0;
    for (value const& lane : lanes) total += lane.items.size();
    std::vector<value> got;
    while (got.size() < total) {
      std::optional<value> item = next(c);
      if (!item) break;
      got.push_back(*std::move(item));
    }
    std::vector<std::size_t> at(lanes.size());
    auto const place = [&](auto const& self, std::size_t i) -> bool {
      if (i == got.size()) return true;
      for (std::size_t l = 0; l < lanes.size(); ++l) {
        if (at[l] == lanes[l].items.size()) continue;
        names const saved = known_;
        if (mismatch(lanes[l].items[at[l]], got[i], known_).empty()) {
          ++at[l];
          if (self(self, i + 1)) return true;
          --at[l];
        }
        known_ = saved;
      }
      return false;
    };
    if (place(place, 0) && got.size() == total) return "";
    std::string text =
        c.name() + ": " + std::to_string(got.size()) + " of " + std::to_string(total) + " came, or not in order";
    for (value const& lane : lanes) text += "\n    lane " + brief(lane);
    for (value const& item : got) text += "\n    got  " + brief(item);
    return text;
  }

  world<Dispatcher>& server_;
  value const& conversation_;
  of_equal_keys which_;
  phx::time_point now_ = start;
  names known_{};
  std::vector<std::unique_ptr<client>> clients_{};
  std::list<std::string> kept_{};  // referred to by requests
  std::size_t requests_ = 0;
  bool stuck_ = false;
};

}  // namespace conformance

#endif
