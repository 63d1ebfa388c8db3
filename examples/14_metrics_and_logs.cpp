// What an operator needs: metrics for Prometheus at /metrics, and a log of JSON lines with the reason of each refusal, drop and
// crash and what to do about it.
#include <phx/adapter/beast.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/metrics/metrics.hpp>
#include <phx/phx.hpp>

#include <boost/asio/signal_set.hpp>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

/// What an operator can do about an event; empty if there is nothing to do. Events with a text here are logged as warnings.
constexpr std::string_view advice(phx::event_code kind) noexcept {
  switch (kind) {
    case phx::event_code::connect_refused: return "if the origin is yours, add it to mount::origins";
    case phx::event_code::join_crashed:
    case phx::event_code::handler_crashed: return "a bug in a channel: its client rejoins, and may crash it again";
    case phx::event_code::join_timed_out: return "what join waits for is slow, or never calls its joined()";
    case phx::event_code::frame_dropped:
    case phx::event_code::slow:
    case phx::event_code::pressure: return "the client reads too slowly: send it less, or raise limits::outbound";
    case phx::event_code::too_many_channels: return "raise limits::channels, or find the client that joins so much";
    case phx::event_code::held_too_much: return "a pending join takes long while its client sends on";
    case phx::event_code::nodes_not_reached: return "other nodes miss a broadcast: look at the PubSub connection";
    case phx::event_code::not_encoded:
    case phx::event_code::broadcast_skipped: return "a payload that is not JSON, or bytes for a client of version 1";
    case phx::event_code::malformed:
    case phx::event_code::too_large: return "not a Phoenix client, or limits::frame is too small for one that is";
    case phx::event_code::no_memory: return "limits::memory refused: lower the limits, or give it more";
    default: return {};
  }
}

/// One JSON line for each event, on stderr. At most `lines_a_second` of a kind; what was left out is counted in the next line.
/// Used by one loop: an observer runs inside it, so it needs no lock.
class json_log {
 public:
  void on_event(phx::telemetry_event const& e) noexcept try {
    if (e.kind == phx::event_code::handled_in) return;  // too many for a log
    budget& b = budgets_[static_cast<std::size_t>(e.kind)];
    if (std::time_t const now = std::time(nullptr); now != b.second) b = {now, 0, b.left_out};
    if (b.lines == lines_a_second) return void(++b.left_out);
    ++b.lines;

    std::string_view const help = advice(e.kind);
    nlohmann::json line{{"time", b.second}, {"level", help.empty() ? "info" : "warning"}, {"event", to_string(e.kind)}};
    if (e.slot != 0 || e.generation != 0) line["socket"] = std::to_string(e.slot) + "." + std::to_string(e.generation);
    if (!e.topic.empty()) line["topic"] = e.topic;
    if (!e.event.empty()) line["message"] = e.event;
    if (!e.text.empty()) line["text"] = e.text;  // of a refused origin: the origin, and the list it is not in
    if (e.error != phx::errc::none) line["error"] = to_string(e.error);
    if (e.code != 0) line["code"] = e.code;
    if (e.payload != nullptr) line["params"] = e.params();  // secrets are filtered
    if (!help.empty()) line["advice"] = help;
    if (b.left_out != 0) line["left_out"] = std::exchange(b.left_out, 0);
    // Texts come from clients: what is not UTF-8 is replaced.
    std::string const text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
    std::fwrite(text.data(), 1, text.size(), stderr);
  } catch (std::exception const&) {  // no memory for a line: it is left out
  }

 private:
  static constexpr unsigned lines_a_second = 10;
  struct budget {
    std::time_t second = 0;
    unsigned lines = 0, left_out = 0;
  };
  budget budgets_[64]{};  // more than there are kinds
};

struct room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "crash") throw std::runtime_error("a bug");
    ctx.broadcast(in.event, in.payload);
    return phx::outcome::reply();
  }
};

}  // namespace

int main(int argc, char** argv) {
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::metrics metrics({.topics = {"room:*"}});           // topics appear as these patterns only
  json_log log;

  boost::asio::io_context io;
  phx::router app;
  app.channel<room>("room:*");
  phx::beast::server server(io, {.port = static_cast<std::uint16_t>(port), .loops = 1});
  server.observe(metrics, log);
  server.serve(app, phx::mount{.origins = {"//localhost", "//127.0.0.1"}});
  // To loopback addresses only. A host with another rule applies it, and answers with metrics.text().
  server.route([&](phx::beast::http_request const& request) { return metrics.answer(request); });
  server.start();
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);

  boost::asio::signal_set stop(io, SIGTERM, SIGINT);
  stop.async_wait([&](boost::system::error_code, int) { server.drain(); });
  io.run();
}
