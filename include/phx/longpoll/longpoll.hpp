#ifndef PHX_LONGPOLL_LONGPOLL_HPP
#define PHX_LONGPOLL_LONGPOLL_HPP
// Long-polling (protocol 10): a Transport made of HTTP requests, for clients that cannot open a WebSocket. No I/O in here: a
// request goes in, a response comes out, at once or when there is a frame or the window ends.
//
// What a host does, in the order in which it is made; it is destroyed the other way round.
//
//     phx::mount const mount{.path = "/socket", .longpoll = true};
//     phx::endpoint everywhere;
//     phx::longpoll::sessions sessions;                                        // of the process
//     phx::loop loop(everywhere, waker);                                       // each loop
//     phx::longpoll::service_for<decltype(app)> polling(sessions, loop, mount, app);   // each loop and mount
//
//     struct connection {                                                      // one HTTP connection
//       phx::longpoll::poll_request request{*this};
//       void respond(phx::longpoll::response r) noexcept { write(std::move(r)); }      // then r.written(), or r.failed()
//       std::optional<phx::refused_request> may_open(phx::time_point now);             // if you like: of each new session
//     };
//
//     // a request has come, with its body
//     auto const head = phx::request::of(method, target, headers, {peer_address, peer_port});
//     if (mount.route(head.path) == phx::transport_kind::longpoll)
//       polling.serve(c.request, head, body, now);                             // c.respond is called, now or later
//
// Timers are the loop's: what loop.run returns covers them. A session belongs to the loop its first request came to;
// requests for it that come to other loops are passed on, and answered where they came (a POST is copied once for that).
//
// Better than Phoenix, and nobody can tell but by the clock or by what is not lost:
// - a session that is gone is known at once, where Phoenix waits 2 s for nobody's answer;
// - what waits for a client is bounded by limits::outbound of its mount, with its pressure_policy; by default such a session
//   ends, the next poll is answered 410, and phoenix.js connects anew;
// - the frames of a response that was not written come with the next poll (response::written);
// - a frame that cannot stand in a poll (binary, and not UTF-8 by chance) is dropped, and the observer told; the session
// goes
//   on. Phoenix answers 500, at which phoenix.js begins anew, to meet the next such frame: limits::strict_encoding;
// - polls that wait for a session that drain has ended are answered at once (204), so that a server can go.
//
// A restart (a drain) reaches a phoenix.js that polls as an error, without a code: 1012 is for WebSockets only. It opens a
// new session by itself, and its channels rejoin.

#include <phx/longpoll/service.hpp>

#endif
