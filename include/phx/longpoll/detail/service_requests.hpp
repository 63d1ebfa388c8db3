#ifndef PHX_LONGPOLL_DETAIL_SERVICE_REQUESTS_HPP
#define PHX_LONGPOLL_DETAIL_SERVICE_REQUESTS_HPP
// The functions of service that handle a request, from serve() to its response.

#include <phx/longpoll/detail/post_body.hpp>
#include <phx/longpoll/service.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

// ---- responses

inline void response::finish(bool written) noexcept {
  // finish() may answer a waiting poll, and the host may then move or destroy its responses, including this one: do not
  // touch any member after the call.
  detail::service_handle* const handle = std::exchange(handle_, nullptr);
  detail::carried_frames const frames = std::exchange(frames_, {});
  detail::relay_message m(std::exchange(mail_, nullptr));
  if (service* const to = handle == nullptr ? nullptr : handle->service; to != nullptr && frames.response != 0) {
    if (m)
      to->report(std::move(m), written);
    else
      to->finished(frames, written);
  }
  detail::release(handle);
}

inline response service::empty_response(std::uint16_t status) noexcept {
  response r;
  r.status_ = status;
  r.json_ = false;
  return r;
}
/// @param real true: the status is also the HTTP status. Only Phoenix 0.10 did so: its clients read the HTTP status, all
///   later ones the status in the JSON. Except for 204, which has no body: those clients read an empty 200 as one.
inline response service::status_response(std::uint16_t status, bool real) noexcept {
  response r;
  if (real && status != 204) r.status_ = status;
  switch (status) {
    case 200: r.fixed_ = R"({"status":200})"; break;
    case 401: r.fixed_ = R"({"status":401})"; break;
    case 403: r.fixed_ = R"({"status":403})"; break;
    case 408: r.fixed_ = R"({"status":408})"; break;
    case 410: r.fixed_ = R"({"status":410})"; break;
    default: return empty_response(status);
  }
  return r;
}
/// A response 410 or 204 with the session's token and no messages.
inline response service::token_response(std::uint16_t status, poll_request const& x) noexcept {
  response r = status_response(410, x.real_http_status_);
  if (status != 410) r.status_ = 200;
  auto const add = [&](std::string_view part) {
    std::memcpy(r.small_ + r.small_size_, part.data(), part.size());
    r.small_size_ = static_cast<std::uint8_t>(r.small_size_ + part.size());
  };
  add(status == 410 ? R"({"messages":[],"status":410,"token":")" : R"({"messages":[],"status":204,"token":")");
  add({x.token_, detail::token::text_size});
  add("\"}");
  return r;
}

/// Ends the wait of a request and responds. The host may destroy the request in this call.
inline void service::respond(poll_request& x, response&& r) noexcept {
  if (x.service_ != nullptr) stop_waiting(x);
  x.cancelled_ = nullptr;
  x.respond_(x.host_, std::move(r));
}

// ---- requests that wait

inline void service::wait(poll_request& x, poll_request::kind kind) noexcept {
  x.service_ = this;
  x.kind_ = kind;
  x.local_ = false;
  x.key_ = {};
  x.deadline_ = saturating_add(loop_.now(), options_.window);
  waiting_.push_back(x);
}
/// Removes the request from all lists of this service and of other loops.
inline void service::stop_waiting(poll_request& x) noexcept {
  waiting_.remove(x);
  if (x.key_) forwarded_.erase(x.key_);
  x.key_ = {};
  if (x.local_)
    if (detail::session* const s = live_.find(x.session_.key); s != nullptr && s->waiter == &x) s->waiter = nullptr;
  x.local_ = false;
  x.service_ = nullptr;
}
/// A poll that ends without a response, or with 204, must not stay the session's waiter: frames sent to it would be lost
/// (1.7.11).
inline void service::cancelled(poll_request& x) noexcept {
  bool const forwarded_poll = x.key_ && x.kind_ == poll_request::kind::poll;
  detail::request_address const address = address_of(x);
  detail::session_address const session = x.session_;
  stop_waiting(x);
  if (!forwarded_poll) return;
  // Without memory nothing is sent: the frames arrive later, no request waits for them, and answered() returns them to the
  // session.
  detail::relay_message m(from(), detail::relay_message::kind_t::cancel, session, address, {});
  if (m) (void)sessions_.post(session.service, m.release(), false);
}
inline void poll_request::cancel() noexcept {
  if (cancelled_ != nullptr) *cancelled_ = true;
  cancelled_ = nullptr;
  if (service_ != nullptr) service_->cancelled(*this);
}
/// Requests a run of the loop, since the deadlines have changed.
inline void service::wake() noexcept {
  if (!detail::loop_access::busy(loop_)) detail::loop_access::request_wake(loop_);
}

// ---- requests

/// Versions 0.10 to 0.14 poll at PATH/poll, all others at PATH/longpoll. From 0.11 on clients ignore the HTTP status and
/// read the JSON.
inline bool service::uses_http_status(std::string_view path) const noexcept {
  if (mount_.generation == phx::generation::v0_10) return true;
  while (path.ends_with('/')) path.remove_suffix(1);
  return mount_.generation == phx::generation::legacy && path.ends_with("/poll");
}

inline void service::serve(poll_request& x, phx::request const& head, std::string_view body, time_point now) noexcept {
  x.cancel();
  bool cancelled = false;  // the callback of check_origin may destroy connections, including this one
  x.cancelled_ = &cancelled;
  detail::loop_access::set_time(loop_, now);
  x.real_http_status_ = uses_http_status(head.path);
  bool const is_get = head.method == "GET", is_post = head.method == "POST";
  if (mount_.route(head.path) != transport_kind::longpoll) return respond(x, empty_response(404));

  std::optional<refused_request> refusal;
  std::optional<response> preflight;
  bool has_session = false;
  detail::session_address session{};
  bool const checked = detail::try_invoke(
      [&] {
        result<params> const query = params::parse(head.query, mount_.query);
        if (!query) {
          refusal = phx::refuse(phx::refusal::params, std::string(to_string(query.error().code)));
          if (query.error().code == errc::limit_reached) refusal->answer.status = 414;
          return;
        }
        std::optional<std::string_view> text = head.header("x-phoenix-longpoll-token");  // precedes the query (10.1)
        if (!text) text = query->get("token");
        detail::token token;
        has_session = text && token.read(*text) && sessions_.find(token, mount_, loop_.now(), session);
        if (has_session) std::memcpy(x.token_, text->data(), text->size());
        if (has_session && session.service == number_) has_session = find_open(session.key) != nullptr;
        if (is_get && !has_session) return;  // the handshake checks the origin
        origin_decision origin = mount_.origin(head);
        if (cancelled) return;
        if (!origin) {
          refusal = phx::refuse(origin.threw ? phx::refusal::origin_threw : phx::refusal::origin, std::move(origin.detail));
        } else if (head.method == "OPTIONS") {
          std::string wanted;
          for (phx::header const& h : head.headers)
            if (phx::detail::equal_ignoring_case(h.name, "access-control-request-headers"))
              wanted.append(wanted.empty() ? "" : ", ").append(h.value);
          response r = empty_response(200);
          r.headers_.emplace_back("access-control-allow-headers", std::move(wanted));
          r.headers_.emplace_back("access-control-allow-methods", "get, post, options");
          r.headers_.emplace_back("access-control-max-age", "3600");
          preflight.emplace(std::move(r));
        }
      },
      [](char const*) noexcept {});
  if (cancelled) return;
  x.cancelled_ = nullptr;
  if (!checked) return respond(x, empty_response(503));
  if (refusal) return refuse(x, std::move(*refusal), head.method == "HEAD");
  if (preflight) return respond(x, std::move(*preflight));
  // Look it up again: the callback of check_origin may have destroyed another connection, and that may have ended this
  // session.
  if (has_session && session.service == number_) has_session = find_open(session.key) != nullptr;
  if (is_get && has_session) return poll(x, session);
  if (is_get) return create(x, head, now);
  if (!is_post) return respond(x, empty_response(400));
  if (!has_session) return respond(x, status_response(410, x.real_http_status_));
  if (body.size() > options_.body) return respond(x, empty_response(400));
  // Must match exactly: with a parameter after it, the body is one frame (protocol 10.3).
  post(x, session, body, head.header("content-type") == std::optional<std::string_view>("application/x-ndjson"));
}

/// @param without_body the request was a HEAD: a client would read a body as the start of the next response.
inline void service::refuse(poll_request& x, refused_request&& refused, bool without_body) noexcept {
  report_refusal(loop_, refused);
  response r = empty_response(refused.answer.status);
  switch (refused.reason) {
    case refusal::origin:
    case refusal::subprotocol:
    case refusal::vsn:
    case refusal::connect:
      r = status_response(403, x.real_http_status_);
      break;  // whatever response `connect` returned (protocol 8.1)
    default: r.headers_ = std::move(refused.answer.headers); r.text_ = std::move(refused.answer.body);
  }
  if (without_body) {
    r.fixed_ = {};
    r.text_.clear();
  }
  r.refused_ = refused.reason;
  respond(x, std::move(r));
}

inline void service::create(poll_request& x, phx::request const& head, time_point now) noexcept {
  if (loop_.draining()) {
    refused_request refused;
    if (!detail::try_invoke([&] { refused = phx::refuse(refusal::draining); }, [](char const*) noexcept {}))
      return respond(x, empty_response(503));
    return refuse(x, std::move(refused));
  }
  if (!sessions_.try_reserve()) return respond(x, empty_response(503));
  bool cancelled = false;  // may_open and `connect` may destroy connections, including this one
  x.cancelled_ = &cancelled;
  opened result{static_cast<detail::session*>(nullptr)};
  bool const ran = detail::try_invoke(
      [&] {
        std::optional<refused_request> refused;
        if (x.may_open_ != nullptr) refused = x.may_open_(x.host_, now);
        if (refused)
          result = std::move(*refused);
        else if (!cancelled)
          result = open(head, now);
      },
      [](char const*) noexcept {});
  if (!cancelled) x.cancelled_ = nullptr;

  auto* const refused = std::get_if<refused_request>(&result);
  detail::session* const s = ran && refused == nullptr ? *std::get_if<detail::session*>(&result) : nullptr;
  bool is_known = false;
  if (s != nullptr && !cancelled && sessions_.fill(s->table_entry.key))
    if (detail::slot_key key; live_.insert(from(), *s, key)) {
      s->table_entry.mount = &mount_;
      s->table_entry.address = {number_, key};
      s->table_entry.expires = saturating_add(now, options_.token_age);
      is_known = sessions_.insert(s->table_entry);
      if (!is_known) live_.erase(key);
    }
  if (!is_known) {
    sessions_.release();
    if (s != nullptr) {
      s->end();
      s->destroy(from());
    }
    if (cancelled) return;
    return refused != nullptr ? refuse(x, std::move(*refused)) : respond(x, empty_response(503));
  }
  ++size_;
  s->last_poll = loop_.now();
  s->next_check = saturating_add(s->last_poll, inactivity());
  checks_.push_back(*s);
  s->table_entry.key.write(x.token_);
  wake();
  respond(x, token_response(410, x));
}

inline void service::poll(poll_request& x, detail::session_address session) noexcept {
  x.session_ = session;
  wait(x, poll_request::kind::poll);
  if (session.service == number_) {
    detail::session& s = *live_.find(session.key);
    s.last_poll = loop_.now();
    replace_waiter(s);
    x.local_ = true;
    s.waiter = &x;
    flush(s);
  } else {
    send_status const sent = forward(x, detail::relay_message::kind_t::poll, {x.token_, detail::token::text_size}, false);
    // closed: the session's loop was destroyed; the next poll will find no session
    if (sent != send_status::ok)
      return respond(x, sent == send_status::closed ? token_response(204, x) : empty_response(503));
  }
  wake();
}

inline void service::post(poll_request& x, detail::session_address session, std::string_view body, bool batch) noexcept {
  x.session_ = session;
  wait(x, poll_request::kind::post);
  if (session.service == number_) {
    bool cancelled = false;  // a channel may end any connection, including this one
    x.cancelled_ = &cancelled;
    std::uint16_t const status = process(*live_.find(session.key), body, batch);
    if (!cancelled) respond(x, status_response(status, x.real_http_status_));
    return;
  }
  send_status const sent = forward(x, detail::relay_message::kind_t::post, body, batch);
  if (sent != send_status::ok)
    return respond(x, sent == send_status::closed ? status_response(410, x.real_http_status_) : empty_response(503));
  wake();
}

// ---- the body of a POST, passed to the session's socket

/// @return the status of the response.
inline std::uint16_t service::process(detail::session& s, std::string_view body, bool batch) noexcept {
  turn_guard const one_flush = loop_.turn();
  if (batch) return process_batch(s, body);
  if (!receive(s, opcode::text, body)) return 408;
  // Phoenix 0.10 has no replies: this status is the only answer its client gets (protocol 4.1).
  return mount_.generation == phx::generation::v0_10 && s.turned_away() ? 401 : 200;
}
/// Processes the frames in order, and stops at the first one that ends the session.
inline std::uint16_t service::process_batch(detail::session& s, std::string_view body) noexcept {
  detail::checked_batch const checked = detail::check_batch(body, options_.lines, options_.base64);
  if (checked.status != 200) return checked.status;
  detail::array<char> bytes;
  if (checked.longest != 0 && !bytes.reserve(from(), checked.longest)) return 503;
  bool alive = true;
  std::uint32_t left = checked.lines;
  detail::lines todo(body);
  for (auto line = todo.next(); line && left != 0 && alive; line = todo.next(), --left) {
    if (detail::is_text_line(*line))
      alive = receive(s, opcode::text, *line);
    else if (!line->empty() || !options_.skip_empty_lines)
      alive = receive(s, opcode::binary, {bytes.begin(), *detail::decode_line(*line, bytes.begin())});
  }
  bytes.free(from());
  return alive ? 200 : 408;
}
/// @return false if the session has ended or is about to; it may be destroyed.
inline bool service::receive(detail::session& s, opcode op, std::string_view bytes) noexcept {
  detail::slot_key const key = s.key();
  return s.receive(op, bytes, loop_.now()) && find_open(key) != nullptr;
}

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif
