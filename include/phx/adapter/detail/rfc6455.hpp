#ifndef PHX_ADAPTER_DETAIL_RFC6455_HPP
#define PHX_ADAPTER_DETAIL_RFC6455_HPP
// Moved to websocket/; here until the Beast host includes that.

#include <phx/websocket/frame_reader.hpp>

#endif
