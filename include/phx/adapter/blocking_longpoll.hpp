#ifndef PHX_ADAPTER_BLOCKING_LONGPOLL_HPP
#define PHX_ADAPTER_BLOCKING_LONGPOLL_HPP
// Long-polling for the blocking host. In a header of its own because it is a third of what such a server costs to compile,
// and most need WebSockets only; an application that Phoenix generates has `longpoll: false`, too.
//
//     phx::blocking::server server(app, {.port = 4000, .mount = {.longpoll = true}}, phx::blocking::long_polling{});
//
// HTTP connections stay open from one long-poll to the next: to close them would make every poll and every message of such a
// client a connection, with a thread of its own, and counts for options::throttle.

#include <phx/adapter/blocking.hpp>
#include <phx/longpoll/longpoll.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace blocking {

/// Given to a server as its third argument: it serves long-polls, if its mount says `longpoll`.
struct long_polling {
  longpoll::options settings{};  ///< how it polls
};

// ---- Where phx puts what a long-poll is answered

/// The connection's thread waits for its client to hang up, too; so it waits in poll(), and this rings a bell there.
struct poll_answer {
  /// Counts refused requests.
  throttle& door;
  /// Whose request it is.
  std::string_view address;
  /// The request and its response.
  longpoll::poll_request asked{*this};
  /// The response, once it has come.
  std::optional<longpoll::response> answer{};  // guarded by the loop's mutex, as all that phx calls
  /// Rings when it has.
  detail::self_pipe bell{};
  /// What the throttle said.
  bool first_of_connection = true;  // to be accepted, for the first session

  /// For one request. @param at may count it.
  poll_answer(throttle& at, std::string_view whose) noexcept : door(at), address(whose) {}
  /// Sessions of one connection are to be no more than connections, which are counted.
  std::optional<refused_request> may_open(time_point now) {
    if (std::exchange(first_of_connection, false)) return std::nullopt;
    return door.try_acquire(address, now);
  }
  /// See longpoll::service.
  void respond(longpoll::response r) noexcept {
    answer.emplace(std::move(r));
    bell.write();
  }
};
static_assert(longpoll::takes_responses<poll_answer> && longpoll::guards_sessions<poll_answer>);

}  // namespace blocking

namespace detail {

/// The long-polls of a server. Inside its mutex where it calls phx; `answer` runs on a connection's thread.
template <class D>
class poll_host<D, blocking::long_polling> {
  using server = blocking::server<D, blocking::long_polling>;
  using connection = typename server::connection;

 public:
  /// What a connection keeps from one poll to the next.
  using client = std::optional<blocking::poll_answer>;

  void start(server& of, blocking::long_polling const& polls) {
    if (of.how_.mount.longpoll) service_.emplace(sessions_, of.loop_, of.how_.mount, of.app_, polls.settings);
  }

  /// A request whose head has been read. False: the connection is over.
  [[nodiscard]] bool answer(server& of, connection& c, http_stream& stream, client& polls, request const& from,
                            time_point deadline) {
    using result = http_stream::result;
    std::string body;
    result const came = stream.body(service_->max_body(), deadline, body);
    if (came == result::ended) return false;
    if (!polls) polls.emplace(of.door_, from.peer.address);
    polls->address = from.peer.address;  // behind a proxy each request of a connection may be another client's
    polls->first_of_connection = polls->first_of_connection && c.counted;
    bool const no_bell = polls->bell.readable() < 0;  // out of descriptors
    if (came == result::refused ||
        no_bell) {  // for pages of any origin to see; a body that is too long is 400 (protocol 10.2)
      std::uint16_t const status = no_bell                  ? std::uint16_t{503}
                                   : stream.status() == 413 ? std::uint16_t{400}
                                                            : stream.status();
      of.say_no(c, stream, {status, {{"access-control-allow-origin", "*"}}, {}});
      return false;
    }
    return poll(of, c, stream, *polls, from, std::move(body));
  }

 private:
  /// phx answers it at once, or when there is something to tell.
  [[nodiscard]] bool poll(server& of, connection& c, http_stream& stream, blocking::poll_answer& answer, request const& from,
                          std::string body) {
    bool stays = stream.head().keep_alive();
    answer.bell.drain();
    {
      std::lock_guard const inside(of.mutex_);
      c.state = connection::polls;
      service_->serve(answer.asked, from, body, clock_now());
    }
    body = std::string();  // who waits keeps no request in memory
    stream.forget();
    bool there = stream.wait(answer.bell.readable(), (time_point::max)()) == http_stream::wait_result::woken;

    std::optional<refusal> reason;
    {
      std::lock_guard const inside(of.mutex_);
      c.state = connection::asks;
      answer.asked.cancel();  // if it hung up: what the poll waited for stays for the next
      if (answer.answer) reason = answer.answer->refused();
    }
    there = there && (!reason || of.waits_for(*reason, stream));
    std::string bytes;
    if (there) {
      std::lock_guard const inside(of.mutex_);
      stays = stays && !of.loop_.draining();
      auto const after = stays ? http::persistence::keep_alive : http::persistence::close;
      there = try_invoke([&] { http::write_response(bytes, *answer.answer, after); }, [](char const*) noexcept {});
    }
    there = there && of.send(c, bytes);
    {
      std::lock_guard const inside(of.mutex_);
      if (answer.answer && there) answer.answer->written();
      answer.answer.reset();  // what could not be written stays for the next poll, too
    }
    if (there && !stays) stream.finish(saturating_add(clock_now(), of.how_.goodbye));
    return there && stays;
  }

  longpoll::sessions sessions_{};
  std::optional<longpoll::service_for<D>> service_{};  // with mount.longpoll
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
