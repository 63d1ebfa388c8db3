#ifndef PHX_FWD_HPP
#define PHX_FWD_HPP
// Forward declarations of every public type of phx, for headers that only name them. They also hold the default template
// arguments, so include this header instead of declaring the types yourself. Costs next to nothing to compile.

#include <phx/core/detail/build.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {

// core, message
enum class answer : std::uint8_t;
enum class close_code : std::uint16_t;
enum class errc : std::uint8_t;
enum class event_code : std::uint8_t;
enum class flood_policy : std::uint8_t;
enum class opcode : std::uint8_t;
enum class pressure_policy : std::uint8_t;
struct broadcast;
struct close_frame;
struct error;
class exit_reason;
class frame;
class frame_builder;
class frame_pool;
template <class T>
struct json_traits;
struct inbound_limit;
struct limits;
struct memory;
struct message;
struct json_text;
struct telemetry_event;
class owned_message;
class payload;
struct push;
struct reply;
template <class T>
class result;
class status;
struct json_ref;
namespace json {
class cursor;
class scanner;
}  // namespace json

// serializer
enum class generation : std::uint8_t;
class mount_generation;
class scratch;
class serializer_ref;
struct v1_json;
template <generation G>
struct v1_json_seed;
struct v1_wire;
struct v2_json;
struct wire_rules;

// http
namespace http {
enum class persistence : std::uint8_t;
enum class progress : std::uint8_t;
struct body_event;
class body_reader;
struct header;
struct peer_data;
class proxy_protocol_reader;
struct request;
class request_reader;
struct response;
template <class O>
class response_writer;
}  // namespace http
using http::header;
using http::peer_data;
using http::request;
using http_answer = http::response;

// websocket
namespace websocket {
enum class event_kind : std::uint8_t;
class accept_key;
struct accepted_compression;
class compression;
class compressor;
class control_frame;
struct deflate_options;
struct deflate_terms;
class extension_answer;
struct frame_event;
class frame_header;
class frame_reader;
struct inflate_result;
struct inflated;
class message_codec;
}  // namespace websocket

// connect
enum class transport_kind : std::uint8_t;
class connect_info;
struct credentials;
struct forwarded_headers;
class param;
class params;
class proxy_network;
class trusted_proxies;
struct uri;

// core, loop
enum class channel_state : std::uint8_t;
enum class send_status : std::uint8_t;
struct drain_listener;
struct drain_options;
class endpoint;
struct listener;
class loop;
struct ticker;
struct socket_id;
struct traffic;
class turn_guard;

// connect, socket
enum class frames_result : std::uint8_t;
enum class lost : std::uint8_t;
enum class refusal : std::uint8_t;
template <class S>
struct admission;
class channel_id;
template <class C>
class channel_place;
class check_origin;
template <class S>
struct connected;
class context;
class ended_channel;
class join_result;
class joining;
struct mount;
struct origin;
struct origin_decision;
class origin_pattern;
class outcome;
struct rate;
struct refused_request;
class reply_to;
class sent;
class session_source;
template <class T, class D>
class socket;
class throttle;
struct throttle_options;
template <class S, class D>
class websocket_connection;

// channel
struct anonymous;
template <auto Member>
struct bound_event;
template <class Session = anonymous>
class router;
class topic_pattern;

// longpoll
namespace longpoll {
struct entropy;
class poll_request;
struct options;
class response;
class service;
template <class D>
class service_for;
class sessions;
}  // namespace longpoll

// erlang
enum class key_digest : std::uint8_t;
enum class term_kind : std::uint8_t;
class elixir_struct;
struct key_options;
class phoenix_token;
class session_cookie;
class term;
class term_view;
class token_age;
namespace etf {
enum class terms : std::uint8_t;
struct bounds;
class json_encoder;
class reader;
struct struct_hook;
class writer;
}  // namespace etf

// presence
class presence;
struct presence_change;
struct presence_counts;
struct presence_options;
class tracker;
struct tracker_options;

// metrics
class metrics;
struct metrics_options;

}  // namespace PHX_BUILD
}  // namespace phx

#endif
