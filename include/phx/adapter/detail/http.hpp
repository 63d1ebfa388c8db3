#ifndef PHX_ADAPTER_DETAIL_HTTP_HPP
#define PHX_ADAPTER_DETAIL_HTTP_HPP
// Moved to http/ and websocket/; here until the Beast host includes those.

#include <phx/http/request_reader.hpp>

#endif
