#ifndef TESTS_CONFORMANCE_POLLING_HPP
#define TESTS_CONFORMANCE_POLLING_HPP
// Requests of long-poll clients, for the player: makes the request of a recorded step, and writes its result in the
// recording's format.

#include "lossless.hpp"

#include <phx/longpoll/longpoll.hpp>

#include <algorithm>
#include <memory>

namespace conformance {

/// One HTTP request; it owns all data until it is answered.
struct http_visit {
  phx::longpoll::poll_request asked{*this};
  std::string method{}, target{}, body{};
  std::vector<phx::header> headers{};
  std::optional<phx::http_answer> answer{};

  void respond(phx::longpoll::response r) noexcept {
    answer = r.http();
    r.written();
  }
  [[nodiscard]] phx::request request() const { return phx::request::of(method, target, headers, {"127.0.0.1", 50'000, {}}); }
  /// In the recording's format: messages are strings, compared as the JSON in them.
  [[nodiscard]] value result(of_equal_keys which) const {
    value got = value::object().with("status", value::of(static_cast<long long>(answer->status)));
    if (answer->status >= 500) return got;
    std::optional<value> parsed = answer->body.empty() ? std::nullopt : reader(answer->body, which).whole();
    conformance::value parsed_body = parsed ? *std::move(parsed) : value::of(answer->body);
    for (auto& [key, member] : parsed_body.members)
      if (key == "messages")
        for (value& message : member.items) {
          std::optional<value> frame =
              message.is == value::kind::string ? reader(message.text, which).whole() : std::nullopt;
          message = frame ? *std::move(frame) : value::object().with("$not_a_string", value(message));
        }
    return std::move(got).with("body", std::move(parsed_body));
  }
};

}  // namespace conformance

#endif
