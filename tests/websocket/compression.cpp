#include <phx/websocket/compression.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using phx::websocket::deflate_options;
using phx::websocket::deflate_terms;
using phx::websocket::negotiate_deflate;

namespace {

/// What is answered to these lines of Sec-WebSocket-Extensions; empty: nothing is agreed on.
std::string answer(std::vector<std::string> const& lines, deflate_options const& options = {}) {
  std::vector<phx::http::header> headers{{"host", "example.com"}};
  for (std::string const& line : lines) headers.push_back({"Sec-WebSocket-Extensions", line});
  auto const terms = negotiate_deflate(headers, options);
  return terms ? std::string(terms->answer().view()) : std::string();
}
std::string answer(std::string const& line, deflate_options const& options = {}) {
  return answer(std::vector{line}, options);
}

std::string const alone = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
deflate_options const takeover{.server_context_takeover = true, .client_context_takeover = true};

}  // namespace

TEST_CASE("permessage-deflate: what browsers and npm ws offer is agreed on, each message by itself") {
  CHECK(answer("permessage-deflate; client_max_window_bits") == alone);
  CHECK(answer("permessage-deflate") == alone);
  CHECK(answer("permessage-deflate;client_no_context_takeover;server_no_context_takeover") == alone);
  CHECK(answer(" permessage-deflate ; \tclient_max_window_bits = 15 ") == alone);
  CHECK(answer("permessage-deflate; client_max_window_bits=\"12\"") == alone);
}

TEST_CASE("permessage-deflate: nothing is agreed on without an offer") {
  CHECK(answer(std::vector<std::string>{}).empty());
  for (char const* line :
       {"", " ", ",", "x-webkit-deflate-frame", "permessage-bzip2; permessage-deflate", "permessage-deflate2", "permessage",
        "PERMESSAGE-DEFLATE", "foo; bar=\", permessage-deflate, \"", "foo; bar=\"\\\", permessage-deflate"})
    CHECK(answer(line).empty());
  CHECK_FALSE(phx::websocket::compression());
  CHECK(phx::websocket::compression().make_compressor() == nullptr);
}

TEST_CASE("permessage-deflate: unknown, wrong and doubled parameters decline the offer") {
  for (char const* parameters : {"unknown",
                                 "unknown=1",
                                 "",
                                 "=",
                                 "server_no_context_takeover=",
                                 "server_no_context_takeover=1",
                                 "client_no_context_takeover=true",
                                 "client_no_context_takeover=\"\"",
                                 "server_max_window_bits",
                                 "server_max_window_bits=",
                                 "server_max_window_bits=8",
                                 "server_max_window_bits=7",
                                 "server_max_window_bits=16",
                                 "server_max_window_bits=010",
                                 "server_max_window_bits=+9",
                                 "server_max_window_bits=1 0",
                                 "server_max_window_bits=9x",
                                 "server_max_window_bits=\"9x\"",
                                 "server_max_window_bits=-9",
                                 "server_max_window_bits=99999999999999999999",
                                 "client_max_window_bits=",
                                 "client_max_window_bits=7",
                                 "client_max_window_bits=16",
                                 "client_max_window_bits=08",
                                 "client_max_window_bits=\"\"",
                                 "Client_max_window_bits",
                                 "client_max_window_bits; client_max_window_bits",
                                 "client_max_window_bits; client_max_window_bits=9",
                                 "server_max_window_bits=9; server_max_window_bits=9",
                                 "server_no_context_takeover; server_no_context_takeover",
                                 "client_no_context_takeover; client_no_context_takeover",
                                 "client_max_window_bits;",
                                 "client_max_window_bits;;client_no_context_takeover"}) {
    CAPTURE(parameters);
    CHECK(answer("permessage-deflate; " + std::string(parameters)).empty());
    CHECK(answer("permessage-deflate; " + std::string(parameters) + ", permessage-deflate") == alone);
  }
}

TEST_CASE("permessage-deflate: the first offer that can be accepted counts, over several lines too") {
  CHECK(answer("permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10") ==
        alone + "; server_max_window_bits=10");
  CHECK(answer({"foo; x=\"a,b;c\"", "permessage-deflate; nonsense", "permessage-deflate; server_max_window_bits=9, bar"}) ==
        alone + "; server_max_window_bits=9");
  CHECK(answer("permessage-deflate, permessage-deflate; server_max_window_bits=9") == alone);
}

TEST_CASE("permessage-deflate: windows are the smaller of what both want") {
  CHECK(answer("permessage-deflate; server_max_window_bits=15") == alone + "; server_max_window_bits=15");
  CHECK(answer("permessage-deflate; server_max_window_bits=15", {.server_window_bits = 11}) ==
        alone + "; server_max_window_bits=11");
  CHECK(answer("permessage-deflate; server_max_window_bits=9", {.server_window_bits = 11}) ==
        alone + "; server_max_window_bits=9");
  CHECK(answer("permessage-deflate", {.server_window_bits = 11}) == alone + "; server_max_window_bits=11");
  CHECK(answer("permessage-deflate", {.server_window_bits = 3}) == alone + "; server_max_window_bits=9");
  CHECK(answer("permessage-deflate", {.server_window_bits = 77}) == alone);
  // Only a client that offers it can be asked.
  CHECK(answer("permessage-deflate", {.client_window_bits = 10}) == alone);
  CHECK(answer("permessage-deflate; client_max_window_bits", {.client_window_bits = 10}) ==
        alone + "; client_max_window_bits=10");
  CHECK(answer("permessage-deflate; client_max_window_bits=12", {.client_window_bits = 10}) ==
        alone + "; client_max_window_bits=10");
  CHECK(answer("permessage-deflate; client_max_window_bits=8", {.client_window_bits = 10}) ==
        alone + "; client_max_window_bits=8");
}

TEST_CASE("permessage-deflate: windows for each connection if the server and the client want them") {
  CHECK(answer("permessage-deflate", takeover) == "permessage-deflate");
  CHECK(answer("permessage-deflate; server_no_context_takeover", takeover) ==
        "permessage-deflate; server_no_context_takeover");
  CHECK(answer("permessage-deflate; client_no_context_takeover", takeover) ==
        "permessage-deflate; client_no_context_takeover");
  CHECK(answer("permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits; "
               "server_max_window_bits=15",
               {.client_window_bits = 14}) ==
        alone + "; server_max_window_bits=15; client_max_window_bits=14");  // the longest
}
