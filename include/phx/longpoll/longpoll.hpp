#ifndef PHX_LONGPOLL_LONGPOLL_HPP
#define PHX_LONGPOLL_LONGPOLL_HPP
// Long-polling (protocol 10): a Transport made of HTTP requests, for clients that cannot open a WebSocket. No I/O: the host
// passes a request, and phx returns a response, at once or when a frame was sent or the window ends.
//
// A host creates these, in this order, and destroys them in reverse order.
//
//     phx::mount const mount{.path = "/socket", .longpoll = true};
//     phx::endpoint everywhere;
//     phx::longpoll::sessions sessions;                                        // one per process
//     phx::loop loop(everywhere, waker);                                       // per loop
//     phx::longpoll::service_for<decltype(app)> polling(sessions, loop, mount, app);   // per loop and mount
//
//     struct connection {                                                      // one per HTTP connection
//       phx::longpoll::poll_request request{*this};
//       void respond(phx::longpoll::response r) noexcept { write(std::move(r)); }      // then r.written(), or r.failed()
//       std::optional<phx::refused_request> may_open(phx::time_point now);             // optional: checks each new session
//     };
//
// // a request was received, with its body
//     auto const head = phx::request::of(method, target, headers, {peer_address, peer_port});
//     if (mount.route(head.path) == phx::transport_kind::longpoll)
//       polling.serve(c.request, head, body, now);                             // calls c.respond, now or later
//
// Timers belong to the loop: the time that loop.run returns covers them. A session belongs to the loop of its first request.
// Requests for it at other loops are forwarded, and answered on the loop where they arrived (which costs one copy of a
// POST's body).
//
// Differences from Phoenix, which clients notice only by time or by what is not lost:
// - A request for a session that has ended is answered at once; Phoenix waits 2 s for it.
// - The frames that wait for a client are limited by limits::outbound of its mount, with its pressure_policy. By default
//   such a session ends, the next poll is answered 410, and phoenix.js reconnects.
// - The frames of a response that was not written are sent with the next poll (response::written).
// - A frame that cannot be sent in a poll (binary, unless it happens to be UTF-8) is dropped and reported to the observer;
//   the session continues. Phoenix answers 500, at which phoenix.js reconnects, only to fail at the next such frame:
//   limits::strict_encoding does that.
// - Polls that wait for a session that a drain has ended are answered at once (204), so that a server can shut down.
//
// At a restart (a drain) a polling phoenix.js gets an error without a code: 1012 exists for WebSockets only. It opens a new
// session by itself, and its channels rejoin.

#include <phx/longpoll/service.hpp>

#endif
