// Macros that other headers define before ours are included: windows.h and rpcndr.h, Arduino.h, Qt, Xlib, <complex.h>, and
// GCC without
// -std. The standard library's headers come first, since some of them fail with these macros.
//
// No include guard: every file that includes this needs all of them defined from here on.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <cmath>
#include <compare>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <ranges>
#include <set>
#include <shared_mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#if __has_include(<unistd.h>)
#include <arpa/inet.h>
#include <fcntl.h>
#include <locale.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#endif
#if defined __SSE2__
#include <emmintrin.h>
#endif
#if __has_include(<zlib.h>)
#include <zlib.h>
#endif

#undef linux
#undef major
#undef minor
#undef unix

#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define small char
#define hyper long
#define interface struct
#define near
#define far
#define pascal
#define cdecl
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define VOID void
#define CALLBACK
#define STRICT 1
#define TRUE 1
#define FALSE 0
#define ERROR 0
#define DELETE (0x00010000L)
#define IGNORE 0
#define INFINITE 0xFFFFFFFF
#define NO_ERROR 0L
#define OPAQUE 2
#define TRANSPARENT 1

#define emit
#define foreach(a, b) for (a : b)
#define forever for (;;)
#define signals public
#define slots

#define Always 2
#define Bool int
#define None 0L
#define Status int
#define Success 0
#define True 1
#define False 0

#define B0 0000000
#define I _Complex_I
#define linux 1
#define major(device) ((device) >> 8)
#define minor(device) ((device)&255)
#define unix 1
