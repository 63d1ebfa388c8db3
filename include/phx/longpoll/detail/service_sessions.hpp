#ifndef PHX_LONGPOLL_DETAIL_SERVICE_SESSIONS_HPP
#define PHX_LONGPOLL_DETAIL_SERVICE_SESSIONS_HPP
// The functions of service that handle its sessions: frames, ends, messages from other loops, timers.

#include <phx/longpoll/service.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

inline service::service(sessions& all, loop& on, phx::mount const& at, options const& opts)
    : sessions_(all), loop_(on), mount_(at), options_(opts), bounds_(at.bounds) {
  bounds_.idle = duration::zero();  // polls replace the heartbeat
  bounds_.frame = options_.body;    // limits::frame applies to WebSockets only (protocol 10.3)
  handle_ = phx::detail::make<detail::service_handle>(from(), detail::service_handle{this, from()});
  if (handle_ == nullptr) phx::detail::no_value("phx::longpoll::service: no memory");
  detail::loop_access::attach_component(loop_, *this);
  bool const added = phx::detail::try_invoke(
      [&] { number_ = sessions_.add_service(detail::loop_access::box(loop_), this->number); }, [](char const*) noexcept {});
  if (added) return;
  // The destructor does not run after a failed construction, so detach here: the loop would go on calling it.
  detail::loop_access::detach_component(loop_, *this);
  detail::release(handle_);
  phx::detail::no_value("phx::longpoll::service: no memory");
}

inline void service::end() noexcept {
  live_.for_each([&](detail::session& s) {
    s.end();
    if (s.waiter != nullptr) std::exchange(s.waiter, nullptr)->local_ = false;
    if (s.remote_waiter) answer(std::move(s.remote_waiter), 204);
    remove(s);
    s.destroy(from());
  });
  while (poll_request* const x = waiting_.front()) stop_waiting(*x);
  sessions_.remove_service(number_);
  detail::loop_access::detach_component(loop_, *this);
  handle_->service = nullptr;
  detail::release(std::exchange(handle_, nullptr));
  live_.free(from());
  forwarded_.free(from());
}

// ---- one session

/// The session of a key; null if it has ended or is about to.
inline detail::session* service::find_open(detail::slot_key key) const noexcept {
  detail::session* const s = live_.find(key);
  return s != nullptr && !s->closing() ? s : nullptr;
}

inline send_status detail::session_transport::send(frame const& f) noexcept { return to->service->keep(*to, f); }
inline void detail::session_transport::flush() noexcept { to->service->flush(*to); }
inline void detail::session_transport::close(close_frame reason) noexcept { to->service->closed(*to, reason); }

/// Stores a frame until the next poll. A frame that is not text cannot be sent in a poll: with limits::strict_encoding the
/// next poll is answered 500, as in Phoenix, which makes phoenix.js reconnect; otherwise the client misses that frame.
inline send_status service::keep(detail::session& s, frame const& f) noexcept {
  bool kept;
  if (json::utf8(f.data())) {
    kept = s.frames.append(from(), f);
  } else if (bounds_.strict_encoding) {
    kept = s.frames.append_unsendable(from(), f);
  } else {
    note_dropped(s, f.data().size());
    return send_status::ok;
  }
  return kept ? send_status::ok : send_status::dropped;
}
inline void service::note_dropped(detail::session const& s, std::size_t bytes) noexcept {
  socket_id const id = s.id();
  detail::loop_access::observer(loop_)({.kind = event_code::frame_dropped,
                                        .slot = id.slot,
                                        .generation = id.generation,
                                        .error = errc::invalid_utf8,
                                        .count = bytes});
}

/// Answers the waiting poll, if there is one, with all frames.
inline void service::flush(detail::session& s) noexcept {
  if (!s.frames.waiting() || (s.waiter == nullptr && !s.remote_waiter)) return;
  frame body;
  detail::slot_key const key = s.key();
  if (poll_request* const x = s.waiter) {
    std::uint16_t const status = compose(s, {x->token_, detail::token::text_size}, body);
    response r = empty_response(status);
    if (status == 200) {
      r.json_ = true;
      r.body_ = std::move(body);
      r.frames_ = {key.slot, key.generation, s.frames.responses()};
      r.handle_ = handle_;
      ++handle_->owners;
    }
    return respond(*x, std::move(r));
  }
  detail::relay_message m = std::move(s.remote_waiter);
  std::uint16_t status = compose(s, m.text(), body);
  std::uint32_t const response_number = s.frames.responses();
  if (status == 200 && !m.become_frames(from(), key, response_number, body.data())) {
    finished({key.slot, key.generation, response_number}, false);
    status = 503;
  }
  if (status != 200) return answer(std::move(m), status);
  std::uint32_t const asker = m.address_to(number_);
  if (sessions_.post(asker, m.release(), false) != send_status::ok)
    finished({key.slot, key.generation, response_number}, false);
}

/// @return 200 with `body` set; 500 if a frame cannot be sent in a poll, which is dropped while the others stay; 503 without
///   memory.
inline std::uint16_t service::compose(detail::session& s, std::string_view token, frame& body) noexcept {
  if (s.frames.has_unsendable()) {
    s.frames.drop_unsendable(from(), [&](std::size_t bytes) { note_dropped(s, bytes); });
    return 500;
  }
  // Clients up to 1.2 stringify each message again, so they need objects (protocol 4.3). Frames of version 2 are always
  // strings.
  body = s.frames.compose(from(), detail::loop_access::pool(loop_), token, mount_.generation != phx::generation::today);
  return body.empty() ? 503 : 200;
}

/// Records whether a response's frames were written.
inline void service::finished(detail::carried_frames const& frames, bool written) noexcept {
  detail::session* const s = live_.find({frames.slot, frames.generation});
  if (s == nullptr) return;
  s->frames.finish(from(), frames.response, written);
  if (!written) flush(*s);
}

/// A later GET replaces the earlier one, which ends with 204 at the end of its own window (protocol 10.4).
inline void service::replace_waiter(detail::session& s) noexcept {
  if (s.waiter != nullptr) std::exchange(s.waiter, nullptr)->local_ = false;
  s.remote_waiter.clear();
}

/// Removes the session from all tables.
inline void service::remove(detail::session& s) noexcept {
  sessions_.erase(s.table_entry);
  sessions_.release();
  checks_.remove(s);
  live_.erase(s.key());
  --size_;
  s.frames.clear(from());
}
inline void service::closed(detail::session& s, close_frame reason) noexcept {
  poll_request* const waiter = std::exchange(s.waiter, nullptr);
  detail::relay_message remote_waiter = std::move(s.remote_waiter);
  if (waiter != nullptr) waiter->local_ = false;
  remove(s);
  s.destroy(from());
  if (!options_.wake_at_end && reason.code != close_code::restart) return;
  if (remote_waiter) answer(std::move(remote_waiter), 204);
  if (waiter != nullptr) respond(*waiter, token_response(204, *waiter));
}

// ---- other loops

/// Forwards a request to the loop that owns its session. @return closed: that loop was destroyed; dropped: no memory.
inline send_status service::forward(poll_request& x, detail::relay_message::kind_t kind, std::string_view text,
                                    bool batch) noexcept {
  if (!forwarded_.insert(from(), x, x.key_)) return send_status::dropped;
  detail::relay_message m(from(), kind, x.session_, address_of(x), text, batch);
  return m ? sessions_.post(x.session_.service, m.release(), true) : send_status::dropped;
}
/// Sends an answer to the loop of the request.
inline void service::answer(detail::relay_message&& m, std::uint16_t status) noexcept {
  std::uint32_t const to = m.become_answer(number_, status);
  (void)sessions_.post(to, m.release(), false);
}
/// Handles the answer to a request of this loop.
inline void service::answered(detail::relay_message&& m) noexcept {
  poll_request* const x = forwarded_.find(m.request().key);
  if (m.kind() == detail::relay_message::kind_t::frames) {
    response r = empty_response(200);
    r.json_ = true;
    r.frames_ = {m.session().slot, m.session().generation, m.response_number()};
    r.mail_ = m.release();
    r.handle_ = handle_;
    ++handle_->owners;
    if (x != nullptr) respond(*x, std::move(r));
    return;  // destroys the response if no request waits: it counts as failed, and the frames return to the session
  }
  if (x == nullptr) return;
  bool const ended_poll = x->kind_ == poll_request::kind::poll && m.status() == 204;
  respond(*x, ended_poll ? token_response(204, *x) : status_response(m.status(), x->real_http_status_));
}

/// Reports whether the frames of another loop's session were written. Reuses the message that brought them, so it needs no
/// memory.
inline void service::report(detail::relay_message&& m, bool written) noexcept {
  m.become_outcome(written);
  std::uint32_t const to = m.address_to(number_);
  (void)sessions_.post(to, m.release(), false);
}

inline void service::handle(detail::component_mail* received) noexcept {
  using kind = detail::relay_message::kind_t;
  detail::relay_message m(received);
  switch (m.kind()) {
    case kind::poll: {
      detail::session* const s = find_open(m.session());
      if (s == nullptr) return answer(std::move(m), 204);  // ended in the meantime; the next poll will find no session
      s->last_poll = loop_.now();
      replace_waiter(*s);
      s->remote_waiter = std::move(m);
      return flush(*s);
    }
    case kind::post: {
      detail::session* const s = find_open(m.session());
      return answer(std::move(m), s == nullptr ? std::uint16_t{410} : process(*s, m.text(), m.is_batch()));
    }
    case kind::cancel:
      if (detail::session* const s = live_.find(m.session());
          s != nullptr && s->remote_waiter && s->remote_waiter.request() == m.request())
        s->remote_waiter.clear();
      return;
    case kind::answer:
    case kind::frames: return answered(std::move(m));
    case kind::outcome: return finished({m.session().slot, m.session().generation, m.response_number()}, m.was_written());
  }
}

// ---- time

inline time_point service::due() const noexcept {
  poll_request const* const x = waiting_.front();
  detail::session const* const s = checks_.front();
  time_point const deadline = x == nullptr ? (time_point::max)() : x->deadline_;
  return s != nullptr && s->next_check < deadline ? s->next_check : deadline;
}
inline void service::on_timer(time_point now) noexcept {
  while (poll_request* const x = waiting_.front()) {
    if (x->deadline_ > now) break;
    if (x->kind_ == poll_request::kind::post) {
      respond(*x, status_response(408, x->real_http_status_));
    } else {
      cancelled(*x);
      respond(*x, token_response(204, *x));
    }
  }
  while (detail::session* const s = checks_.front()) {
    if (s->next_check > now) break;
    checks_.remove(*s);
    if (saturating_sub(now, s->last_poll) >= inactivity()) {
      s->close_inactive();
    } else {
      s->next_check = saturating_add(now, inactivity());
      checks_.push_back(*s);
    }
  }
}

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif
