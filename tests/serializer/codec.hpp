#ifndef PHX_TESTS_SERIALIZER_CODEC_HPP
#define PHX_TESTS_SERIALIZER_CODEC_HPP
// A serializer with everything it needs.

#include <phx/serializer/serializer.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

namespace doctest {
template <>
struct StringMaker<phx::errc> {
  static String convert(phx::errc code) {
    std::string_view const text = phx::to_string(code);
    return {text.data(), static_cast<unsigned>(text.size())};
  }
};
}  // namespace doctest

struct codec {
  explicit codec(phx::serializer_ref of) : mode(of) {}

  phx::serializer_ref mode;
  phx::memory from{};
  phx::scratch room{from};
  phx::frame_pool pool{from};
  phx::message in{};
  phx::opcode op = phx::opcode::text;  ///< of the last encoded frame

  phx::errc decode(std::string_view text, phx::opcode opcode = phx::opcode::text) {
    in = {};
    kept_.emplace_back(text.begin(), text.end());  // exactly this many bytes: a sanitizer detects a read beyond them
    return mode.decode(opcode, {kept_.back().data(), kept_.back().size()}, room, in);
  }
  phx::errc decode_binary(std::string_view bytes) { return decode(bytes, phx::opcode::binary); }

  /// The encoded frame; nothing if the generation sends none. An error is given in angle brackets.
  std::optional<std::string> encode(auto const& record) {
    phx::frame_builder out(pool);
    phx::errc const ec = mode.encode(out, record);
    if (ec != phx::errc::none) {
      CHECK_MESSAGE(!out.started(), "nothing may be half written");
      return "<" + std::string(phx::to_string(ec)) + ">";
    }
    phx::frame const done = out.finish();
    if (done.empty()) return std::nullopt;
    op = done.op();
    return std::string(done.data());
  }

 private:
  std::vector<std::vector<char>> kept_;
};

inline std::string refusal(phx::errc ec) { return "<" + std::string(phx::to_string(ec)) + ">"; }

/// "00 0a ff" as bytes; spaces are ignored.
inline std::string hex(std::string_view digits) {
  auto const value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes, pair;
  for (char const c : digits) {
    if (c == ' ') continue;
    pair += c;
    if (pair.size() < 2) continue;
    bytes += static_cast<char>(value(pair[0]) * 16 + value(pair[1]));
    pair.clear();
  }
  return bytes;
}

#endif
