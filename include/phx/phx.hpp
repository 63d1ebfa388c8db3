#ifndef PHX_PHX_HPP
#define PHX_PHX_HPP
// What every server needs: core/ to channel/. Who wants them includes longpoll/longpoll.hpp, presence/presence.hpp,
// socket/throttle.hpp and the adapters himself: together they would cost all others half as much again to compile.

#include <phx/channel/router.hpp>
#include <phx/fwd.hpp>
#include <phx/serializer/legacy/generation.hpp>
#include <phx/serializer/v1.hpp>
#include <phx/serializer/v2.hpp>
#include <phx/connect/check_origin.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/connect/mount.hpp>
#include <phx/loop/report_refusal.hpp>
#include <phx/socket/socket.hpp>

#endif
