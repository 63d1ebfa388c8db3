#ifndef PHX_PHX_HPP
#define PHX_PHX_HPP
// Everything but adapter/ and testing/.

#include <phx/channel/router.hpp>
#include <phx/longpoll/longpoll.hpp>
#include <phx/presence/presence.hpp>
#include <phx/fwd.hpp>
#include <phx/serializer/generation.hpp>
#include <phx/serializer/v1_json.hpp>
#include <phx/serializer/v2_json.hpp>
#include <phx/socket/check_origin.hpp>
#include <phx/socket/handshake.hpp>
#include <phx/socket/mount.hpp>
#include <phx/socket/socket.hpp>
#include <phx/socket/throttle.hpp>

#endif
