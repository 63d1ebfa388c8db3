#ifndef PHX_LONGPOLL_DETAIL_SESSION_HPP
#define PHX_LONGPOLL_DETAIL_SESSION_HPP
// One long-poll client: its socket, its frames, and the request that waits for them.

#include <phx/longpoll/detail/frame_queue.hpp>
#include <phx/longpoll/detail/relay_message.hpp>
#include <phx/longpoll/poll_request.hpp>
#include <phx/socket/socket.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// A session without the type of its socket. Its service creates it, finds it by key, and destroys it.
class session {
 public:
  explicit session(longpoll::service& owner) noexcept : service(&owner) {}
  session(session const&) = delete;
  session& operator=(session const&) = delete;

  /// @return false if it has ended: do not touch it then.
  [[nodiscard]] virtual bool receive(opcode, std::string_view, time_point) noexcept = 0;
  [[nodiscard]] virtual bool closing() const noexcept = 0;
  /// True if, since the last call, a message had no channel or a join was refused.
  [[nodiscard]] virtual bool turned_away() noexcept = 0;
  [[nodiscard]] virtual socket_id id() const noexcept = 0;
  virtual void close_inactive() noexcept = 0;  ///< for a client that stopped polling; the loop closes the socket later
  virtual void end() noexcept = 0;             ///< ends its channels at once; the transport is not called any more
  virtual void destroy(memory const&) noexcept = 0;

  [[nodiscard]] slot_key key() const noexcept { return table_entry.address.key; }

  longpoll::service* service;
  entry table_entry{};
  frame_queue frames{};
  poll_request* waiter = nullptr;  // a waiting poll of this loop
  relay_message remote_waiter{};   // or one from another loop
  time_point last_poll{}, next_check{};
  session* previous = nullptr;  // ordered by next_check
  session* next = nullptr;

 protected:
  ~session() = default;
};

/// The Transport of a session's socket.
struct session_transport {
  session* to;
  send_status send(frame const& f) noexcept;
  [[nodiscard]] std::size_t buffered() const noexcept { return to->frames.bytes(); }
  void flush() noexcept;
  void close(close_frame reason) noexcept;
};

template <class D>
class session_for final : public session {
 public:
  session_for(longpoll::service& owner, loop& on, D& app, admission<typename D::session_type> admitted,
              time_point now) noexcept
      : session(owner), socket_(on, app, std::move(admitted), session_transport{this}, now) {}
  [[nodiscard]] bool receive(opcode op, std::string_view whole, time_point now) noexcept override {
    return socket_.receive(op, whole, true, now);
  }
  [[nodiscard]] bool closing() const noexcept override { return socket_.closing(); }
  [[nodiscard]] bool turned_away() noexcept override { return socket_.turned_away(); }
  [[nodiscard]] socket_id id() const noexcept override { return socket_.name(); }
  void close_inactive() noexcept override { socket_.disconnect({close_code::going_away, "inactive"}); }
  void end() noexcept override { socket_.gone(lost::normal); }
  void destroy(memory const& from) noexcept override { phx::detail::destroy(from, this); }

 private:
  phx::socket<session_transport, D> socket_;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
