#ifndef PHX_PHX_HPP
#define PHX_PHX_HPP
// The headers that every server needs, from core/ to channel/. Not included, because they would add half as much again to
// the compile time: longpoll/longpoll.hpp, presence/presence.hpp, connect/throttle.hpp, core/random.hpp, the older generations of Phoenix
// (serializer/legacy/generation.hpp) and the adapters.

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
