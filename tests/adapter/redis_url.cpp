#include <phx/adapter/redis/detail/url.hpp>

#include <doctest/doctest.h>

namespace {

/// The parts of a URL on one line; "no" if it is invalid.
std::string read(std::string_view url) {
  phx::redis::options o;
  o.host = "before";
  o.unix_socket = "before";
  bool tls = false;
  if (!phx::detail::read_redis_url(url, o, tls)) return "no";
  return (tls ? "tls " : "") + (o.unix_socket.empty() ? o.host + ' ' + std::to_string(o.port) : o.unix_socket) + ' ' +
         o.username + ':' + o.password + ' ' + std::to_string(o.database);
}

}  // namespace

TEST_CASE("redis url: host, user and database") {
  CHECK(read("redis://localhost") == "localhost 6379 : 0");
  CHECK(read("redis://10.0.0.7:6400") == "10.0.0.7 6400 : 0");
  CHECK(read("redis://h/3") == "h 6379 : 3");
  CHECK(read("redis://h/") == "h 6379 : 0");
  CHECK(read("redis://h?db=7") == "h 6379 : 7");
  CHECK(read("redis://h/?x=1&db=7#f") == "h 6379 : 7");
  CHECK(read("rediss://h:6380/1") == "tls h 6380 : 1");
  CHECK(read("redis://app:secret@h") == "h 6379 app:secret 0");
  CHECK(read("redis://:secret@h") == "h 6379 :secret 0");
  CHECK(read("redis://secret@h") == "h 6379 :secret 0");  // as redis-cli reads it
  CHECK(read("redis://a%40b:p%3A%2f%25@h") == "h 6379 a@b:p:/% 0");
  CHECK(read("redis://a:b@c@h") == "h 6379 a:b@c 0");
  CHECK(read("redis://a:b:c@h") == "h 6379 a:b:c 0");
  CHECK(read("redis://[::1]") == "::1 6379 : 0");
  CHECK(read("redis://[::1]:6400/2") == "::1 6400 : 2");
  CHECK(read("unix:///run/redis/redis.sock") == "/run/redis/redis.sock : 0");
  CHECK(read("unix://app:secret@/run/r%20s?db=2") == "/run/r s app:secret 2");
  CHECK(read("redis+unix:///r") == "/r : 0");
}

TEST_CASE("redis url: an invalid URL is refused") {
  for (std::string_view const url : {"",
                                     "localhost",
                                     "localhost:6379",
                                     "http://h",
                                     "redis:h",
                                     "redis://",
                                     "redis://h:",
                                     "redis://h:x",
                                     "redis://h:0",
                                     "redis://h:65536",
                                     "redis://h:-1",
                                     "redis://h/x",
                                     "redis://h/1/2",
                                     "redis://h/-1",
                                     "redis://h?db=x",
                                     "redis://h?db=",
                                     "redis://a%4@h",
                                     "redis://a%zz@h",
                                     "redis://[::1",
                                     "redis://[::1]x",
                                     "redis://[::1]:",
                                     "redis://a:b@",
                                     "unix://",
                                     "unix:///",
                                     "unix://host/path",
                                     "REDIS://h"})
    CHECK_MESSAGE(read(url) == "no", url);
}
