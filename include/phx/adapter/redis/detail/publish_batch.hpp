#ifndef PHX_ADAPTER_REDIS_DETAIL_PUBLISH_BATCH_HPP
#define PHX_ADAPTER_REDIS_DETAIL_PUBLISH_BATCH_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <phx/core/error.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A PUBLISH command, encoded.
[[nodiscard]] inline std::string publish_command(std::string_view channel, std::string_view message) {
  std::string command = "*3\r\n$7\r\nPUBLISH\r\n$" + std::to_string(channel.size()) + "\r\n";
  ((command += channel) += "\r\n$") += std::to_string(message.size());
  ((command += "\r\n") += message) += "\r\n";
  return command;
}

/// Commands that wait to be written, in order.
struct publish_batch {
  std::string commands{};
  std::vector<std::size_t> hashes{};  ///< of the messages that Redis will send back to this node
  std::uint64_t count = 0;

  /// Adds the whole command, or throws std::bad_alloc; a hash without its command may remain, which does no harm.
  /// @param hash null for a message to one node.
  void add(std::string_view command, std::size_t const* hash) {
    if (hash != nullptr) hashes.push_back(*hash);
    commands += command;
    ++count;
  }
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
