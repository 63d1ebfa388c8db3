#ifndef PHX_TESTS_SUPPORT_HEX_HPP
#define PHX_TESTS_SUPPORT_HEX_HPP

#include <string>
#include <string_view>

namespace support {

/// The bytes for hex digits in lower case; spaces and line breaks are ignored.
[[nodiscard]] inline std::string from_hex(std::string_view digits) {
  std::string out;
  int high = -1;
  for (char const c : digits) {
    if (c == ' ' || c == '\n') continue;
    int const value = c >= 'a' ? c - 'a' + 10 : c - '0';
    if (high < 0) {
      high = value;
      continue;
    }
    out.push_back(static_cast<char>(static_cast<unsigned char>(high * 16 + value)));
    high = -1;
  }
  return out;
}
[[nodiscard]] inline std::string to_hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (char const c : bytes) {
    out.push_back(digits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(digits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

}  // namespace support

#endif
