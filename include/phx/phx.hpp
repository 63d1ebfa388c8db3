#ifndef PHX_PHX_HPP
#define PHX_PHX_HPP
// What every server needs, from core/ to channel/. Not included, because together they would add half as much again to
// everybody's compile time: longpoll/longpoll.hpp, presence/presence.hpp, connect/throttle.hpp, the older generations of
// Phoenix (serializer/legacy/generation.hpp) and the adapters.

#include <phx/channel/router.hpp>
#include <phx/fwd.hpp>
#include <phx/serializer/v1.hpp>
#include <phx/serializer/v2.hpp>
#include <phx/connect/check_origin.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/connect/mount.hpp>
#include <phx/loop/report_refusal.hpp>
#include <phx/socket/socket.hpp>

#endif
