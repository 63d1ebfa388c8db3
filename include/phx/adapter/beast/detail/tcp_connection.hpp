#ifndef PHX_ADAPTER_BEAST_DETAIL_TCP_CONNECTION_HPP
#define PHX_ADAPTER_BEAST_DETAIL_TCP_CONNECTION_HPP
// What an HTTP connection and a WebSocket have in common: a stream, a place in the counts, a deadline, a lifetime.

#include <phx/adapter/beast/detail/server_state.hpp>
#include <phx/adapter/beast/detail/stream.hpp>
#include <phx/core/time.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

class strand_context;
class tcp_connection;

/// Counts one connection, in its loop and in the server, from accept until it is gone.
class connection_permit {
 public:
  connection_permit(std::shared_ptr<server_state> server, strand_context& ctx) noexcept;
  connection_permit(connection_permit&& other) noexcept : server_(std::move(other.server_)), ctx_(other.ctx_) {}
  connection_permit& operator=(connection_permit&&) = delete;
  ~connection_permit();
  [[nodiscard]] std::shared_ptr<server_state> const& server() const noexcept { return server_; }
  [[nodiscard]] strand_context& ctx() const noexcept { return *ctx_; }

 private:
  std::shared_ptr<server_state> server_;
  strand_context* ctx_;
};

/// Intrusive list in the order of insertion. All connections of one list have the same time left when they are added, so the
/// first has the earliest deadline. A connection is in one list at most.
class deadline_list {
 public:
  [[nodiscard]] tcp_connection* first() const noexcept { return first_; }
  [[nodiscard]] time_point first_deadline() const noexcept;
  void push_back(tcp_connection& c, time_point deadline) noexcept;
  /// Removes it from its list, if it is in one.
  static void erase(tcp_connection& c) noexcept;
  /// Calls `f` for each; `f` may erase the one it is called for.
  template <class F>
  void for_each(F&& f) noexcept;

 private:
  tcp_connection* first_ = nullptr;
  tcp_connection* last_ = nullptr;
};

/// A TCP connection of one loop. It is destroyed with the last keep_alive: each operation under way has one. They are made
/// and destroyed inside the strand or, when the io_context ends, by the one thread left; so the count needs no atomic.
class tcp_connection {
 public:
  tcp_connection(connection_permit&& p, stream&& s) noexcept
      : stream_(std::move(s)), permit_(std::move(p)), server_(permit_.server()), ctx_(&permit_.ctx()) {}
  tcp_connection(tcp_connection const&) = delete;
  tcp_connection& operator=(tcp_connection const&) = delete;

  class keep_alive {
   public:
    explicit keep_alive(tcp_connection& c) noexcept : connection_(&c) { ++c.references_; }
    keep_alive(keep_alive&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
    keep_alive& operator=(keep_alive&&) = delete;
    ~keep_alive() {
      if (connection_ != nullptr && --connection_->references_ == 0) delete connection_;
    }

   private:
    tcp_connection* connection_;
  };

  /// Its deadline has passed.
  virtual void on_deadline() noexcept = 0;
  /// The server stops: no user code is called after this.
  virtual void on_stop() noexcept = 0;
  /// The server drains: an idle connection closes, one that waits for a late answer gets a short deadline.
  virtual void on_drain() noexcept = 0;

 protected:
  virtual ~tcp_connection();
  void close_stream() noexcept { stream_.close(); }
  [[nodiscard]] strand_context& ctx() const noexcept { return *ctx_; }
  [[nodiscard]] server_state& server() const noexcept { return *server_; }
  /// For the connection that takes over the stream of this one.
  [[nodiscard]] connection_permit take_permit() noexcept { return std::move(permit_); }
  stream stream_;

 private:
  friend class deadline_list;
  connection_permit permit_;
  std::shared_ptr<server_state> server_;
  strand_context* ctx_;
  deadline_list* list_ = nullptr;
  tcp_connection* previous_ = nullptr;
  tcp_connection* next_ = nullptr;
  time_point deadline_ = (time_point::max)();
  std::uint32_t references_ = 0;
};

inline time_point deadline_list::first_deadline() const noexcept {
  return first_ == nullptr ? (time_point::max)() : first_->deadline_;
}
inline void deadline_list::push_back(tcp_connection& c, time_point deadline) noexcept {
  erase(c);
  c.list_ = this;
  c.deadline_ = deadline;
  c.next_ = nullptr;
  c.previous_ = last_;
  (last_ == nullptr ? first_ : last_->next_) = &c;
  last_ = &c;
}
inline void deadline_list::erase(tcp_connection& c) noexcept {
  deadline_list* const list = std::exchange(c.list_, nullptr);
  if (list == nullptr) return;
  (c.previous_ == nullptr ? list->first_ : c.previous_->next_) = c.next_;
  (c.next_ == nullptr ? list->last_ : c.next_->previous_) = c.previous_;
}
template <class F>
void deadline_list::for_each(F&& f) noexcept {
  for (tcp_connection* c = first_; c != nullptr;) {
    tcp_connection* const next = c->next_;
    f(*c);
    c = next;
  }
}

/// The completion handler of an operation, or a call to post: calls a member function of a tcp_connection inside its strand, with
/// the operation's error_code if it is one, and keeps the connection alive until then. It is allocated in `memory`, which is part of
/// the connection.
template <class C, auto Member>
struct completion {
  C* connection;
  operation_memory* memory;
  tcp_connection::keep_alive reference;
  using allocator_type = operation_allocator<char>;
  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*memory); }
  template <class... Result>
  void operator()(Result... result) {
    (connection->*Member)(result...);
  }
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
