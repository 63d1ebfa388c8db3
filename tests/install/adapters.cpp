#if __has_include(<phx/adapter/beast.hpp>)
#include <phx/adapter/beast.hpp>
#endif
#if __has_include(<phx/adapter/beast_tls.hpp>)
#include <phx/adapter/beast_tls.hpp>
#endif
#if __has_include(<phx/adapter/nlohmann.hpp>)
#include <phx/adapter/nlohmann.hpp>
#endif
#if __has_include(<phx/erlang/token.hpp>)
#include <phx/erlang/token.hpp>
#endif
#if __has_include(<phx/adapter/redis_tls.hpp>)
#include <phx/adapter/redis_tls.hpp>
#endif
#if __has_include(<phx/websocket/deflate.hpp>)
#include <phx/websocket/deflate.hpp>
#endif
#include <phx/phx.hpp>

#include <boost/version.hpp>
#include <nlohmann/json.hpp>

int main() {
  phx::payload const p = phx::payload::json(R"({"n":1})");
  if (phx::redis::pubsub({.secure = phx::redis::tls(), .node = "a"}).node_name() != "a") return 1;
  if (!phx::phoenix_token::make("kjoy3o1zeidquwy1398juxzldjlksahdk3", "user auth")) return 1;
  if (phx::beast::tls::self_signed().native_handle() == nullptr) return 1;
  if (phx::websocket::permessage_deflate().make_compressor() == nullptr) return 1;
  return BOOST_VERSION >= 107400 && nlohmann::json::parse(p.raw()).at("n") == 1 ? 0 : 1;
}
