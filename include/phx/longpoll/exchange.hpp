#ifndef PHX_LONGPOLL_EXCHANGE_HPP
#define PHX_LONGPOLL_EXCHANGE_HPP
// One HTTP request of a long-poll client and its response, which may take a while.

#include <phx/longpoll/sessions.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/loop/report_refusal.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

class service;
class exchange;

namespace detail {

using phx::detail::loop_access;

/// Through which responses find their service, as long as there is one. Used inside one loop only.
struct anchor {
  service* to;
  memory from;
  std::uint32_t count = 1;
};
inline void drop(anchor* a) noexcept {
  if (a == nullptr || --a->count != 0) return;
  memory const from = a->from;
  phx::detail::destroy(from, a);
}

/// The frames of a session that one response carries.
struct batch {
  std::uint32_t slot = 0, generation = 0, number = 0;  // number 0: none
};

}  // namespace detail

/// What to write: an HTTP status, headers, a body. The host adds `content-length` and what concerns the connection.
///
/// It carries frames out of the session's buffer, which keeps them until their fate is known: destroyed means written,
/// failed() means that the client cannot have got it. (What reached the client's kernel and no further is lost, as in
/// Phoenix.) Moved, not copied. Views of it die when it is moved. It belongs to the loop that its request came to, and may
/// outlive its service.
class response {
 public:
  /// Moved, with the frames it carries.
  response(response&& other) noexcept
      : status_(other.status_),
        json_(other.json_),
        small_size_(std::exchange(other.small_size_, std::uint8_t{0})),
        refused_(other.refused_),
        fixed_(other.fixed_),
        body_(std::move(other.body_)),
        carrier_(std::exchange(other.carrier_, nullptr)),
        home_(std::exchange(other.home_, nullptr)),
        frames_(std::exchange(other.frames_, {})),
        extra_(std::move(other.extra_)),
        text_(std::move(other.text_)) {
    std::memcpy(small_, other.small_, small_size_);
  }
  /// Moved, with the frames it carries.
  response& operator=(response&& other) noexcept {
    if (this != &other) {
      this->~response();
      new (this) response(std::move(other));
    }
    return *this;
  }
  /// Written, or nothing was in it.
  ~response() { settle(true); }

  /// The HTTP status.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }
  /// Why its client was not let in, for throttle::hold; nothing if that is not what it says.
  [[nodiscard]] std::optional<refusal> refused() const noexcept { return refused_; }
  /// Calls `each(std::string_view name, std::string_view value)`, names in lower case.
  template <class F>
  void each_header(F&& each) const {
    each(std::string_view("access-control-allow-origin"), std::string_view("*"));
    each(std::string_view("cache-control"), std::string_view("no-store"));  // a token in a header is no part of the URL
    if (json_) each(std::string_view("content-type"), std::string_view("application/json; charset=utf-8"));
    for (auto const& [name, value] : extra_) each(std::string_view(name), std::string_view(value));
  }
  /// The body, empty for most.
  [[nodiscard]] std::string_view body() const noexcept {
    if (small_size_ != 0) return {small_, small_size_};
    if (!body_.empty()) return body_.data();
    if (carrier_ != nullptr && carrier_->payload.is_binary()) return carrier_->payload.raw();
    return text_.empty() ? fixed_ : std::string_view(text_);
  }
  /// The same as a value, for hosts that write those. @par Errors: std::bad_alloc.
  [[nodiscard]] http_answer http() const {
    http_answer a{status_, {}, std::string(body())};
    each_header([&](std::string_view name, std::string_view value) { a.headers.emplace_back(name, value); });
    return a;
  }
  /// The client has not got it: a write failed, or the connection was gone. The frames in it go back to the head of their
  /// session's buffer, in their order, for the next poll. Inside the loop.
  void failed() noexcept { settle(false); }

 private:
  friend class service;

  response() = default;
  void settle(bool written) noexcept;

  std::uint16_t status_ = 200;
  bool json_ = true;
  std::uint8_t small_size_ = 0;
  std::optional<refusal> refused_{};
  char small_[110];  // a body with a token and no messages
  std::string_view fixed_{};
  frame body_{};                     // of this loop's session
  detail::mail* carrier_ = nullptr;  // of another's: it goes back there with the news
  detail::anchor* home_ = nullptr;
  detail::batch frames_{};
  std::vector<std::pair<std::string, std::string>> extra_{};  // of a refusal, or of a preflight's answer
  std::string text_{};
};

/// Whoever waits for a response. Called inside the loop that was asked, once for each serve(): before it returns, or from a
/// later receive, run or serve of that loop. It must not call into phx; it may keep the response, and destroy its exchange.
template <class H>
concept takes_responses = requires(H& h, response r) {
  { h.respond(std::move(r)) }
  noexcept;
};

/// Optional: asked before a new session is opened, inside the loop, before its dispatcher is. A connection that stays open
/// can ask for one after the other, and whoever counts connections (throttle) counts those as one. It may throw: 503.
template <class H>
concept guards_sessions = requires(H& h, time_point now) {
  { h.may_open(now) } -> std::same_as<std::optional<refused_request>>;
};

/// A request under way. An HTTP connection has one as a member and uses it again and again, for one request at a time.
/// Neither copied nor moved; it belongs to one loop; destroying it cancels.
class exchange {
 public:
  /// @param host is kept: `host.respond(response)` takes what is to be written.
  template <takes_responses H>
  explicit exchange(H& host) noexcept
      : host_(&host), respond_([](void* to, response&& r) noexcept { static_cast<H*>(to)->respond(std::move(r)); }) {
    if constexpr (guards_sessions<H>)
      may_open_ = [](void* of, time_point now) { return static_cast<H*>(of)->may_open(now); };
  }
  exchange(exchange const&) = delete;
  exchange& operator=(exchange const&) = delete;
  ~exchange() { cancel(); }

  /// The connection is gone, or nobody cares any more: there will be no response. What a poll waited for stays for the next;
  /// a POST may be processed all the same. Inside the loop.
  void cancel() noexcept;
  /// Is a response still to come?
  [[nodiscard]] bool waiting() const noexcept { return at_ != nullptr; }

 private:
  friend class service;
  enum class what : std::uint8_t { poll, post };
  /// By which another loop speaks of it.
  [[nodiscard]] std::int64_t name() const noexcept {
    return static_cast<std::int64_t>(std::uint64_t{place_} << 32 | generation_);
  }

  void* host_;
  void (*respond_)(void*, response&&) noexcept;
  std::optional<refused_request> (*may_open_)(void*, time_point) = nullptr;
  service* at_ = nullptr;
  exchange* previous_ = nullptr;  // among those that wait, by deadline
  exchange* next_ = nullptr;
  time_point deadline_{};
  detail::address session_{};                    // where it waits
  std::uint32_t place_ = none, generation_ = 0;  // by which another loop names it
  bool* gone_ = nullptr;                         // wants to know
  what item_ = what::poll;
  bool present_ = false;  // the session is of this loop, and this poll its waiter
  bool real_ = false;     // status_ of HTTP is the real one (v0.10)
  char token_[detail::token::text_size] = {};
  static constexpr std::uint32_t none = UINT32_MAX;
};

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif
