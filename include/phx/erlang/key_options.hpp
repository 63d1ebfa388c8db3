#ifndef PHX_ERLANG_KEY_OPTIONS_HPP
#define PHX_ERLANG_KEY_OPTIONS_HPP
// How Plug.Crypto derives a key from an application's secret (protocol 15.1).

#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {

/// The hash function of key derivation and signatures.
enum class key_digest : std::uint8_t { sha256, sha384, sha512 };
/// Phoenix's `key_iterations`, `key_length` and `key_digest`, with its defaults.
struct key_options {
  /// Of PBKDF2.
  std::uint32_t iterations = 1000;
  /// Bytes of the key, 1 to 1024.
  std::size_t length = 32;
  /// Of PBKDF2.
  key_digest digest = key_digest::sha256;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif
