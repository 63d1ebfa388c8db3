#ifndef PHX_PHX_HPP
#define PHX_PHX_HPP
// What every server needs: core/ to channel/. Who wants them includes longpoll/longpoll.hpp, presence/presence.hpp,
// socket/throttle.hpp and the adapters himself: together they would cost all others half as much again to compile.

#include <phx/channel/router.hpp>
#include <phx/fwd.hpp>
#include <phx/serializer/generation.hpp>
#include <phx/serializer/v1_json.hpp>
#include <phx/serializer/v2_json.hpp>
#include <phx/socket/check_origin.hpp>
#include <phx/socket/handshake.hpp>
#include <phx/socket/mount.hpp>
#include <phx/socket/socket.hpp>

#endif
