#ifndef PHX_METRICS_DETAIL_PROMETHEUS_TEXT_HPP
#define PHX_METRICS_DETAIL_PROMETHEUS_TEXT_HPP
// Writes the Prometheus text format, version 0.0.4.

#include <phx/core/error.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Appends families to a string: `family`, then its samples.
class prometheus_text {
 public:
  using label = std::pair<std::string_view, std::string_view>;

  explicit prometheus_text(std::string& out) noexcept : out_(out) {}

  /// @param type counter, gauge or histogram. The views are kept until the next family.
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    append({"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"});
  }
  void sample(std::uint64_t value, std::initializer_list<label> labels = {}) {
    sample_of({}, std::to_string(value), labels);
  }
  /// @param suffix _bucket, _sum or _count
  void sample_of(std::string_view suffix, std::string_view value, std::initializer_list<label> labels) {
    append({name_, suffix});
    char before = '{';
    for (auto const& [name, text] : labels) {
      out_.push_back(std::exchange(before, ','));
      append({name, "=\""});
      escape(text);
      out_.push_back('"');
    }
    append({labels.size() != 0 ? "} " : " ", value, "\n"});
  }
  /// Nanoseconds as seconds, without floating point: no locale changes it.
  [[nodiscard]] static std::string seconds(std::uint64_t nanoseconds) {
    std::string fraction = std::to_string(nanoseconds % 1'000'000'000);
    fraction.insert(0, 9 - fraction.size(), '0');
    while (fraction.size() > 1 && fraction.back() == '0') fraction.pop_back();
    return std::to_string(nanoseconds / 1'000'000'000) + "." + fraction;
  }

 private:
  void append(std::initializer_list<std::string_view> parts) {
    for (std::string_view const p : parts) out_.append(p);
  }
  void escape(std::string_view text) {
    for (char const c : text) {
      if (c == '\n') {
        out_.append("\\n");
      } else {
        if (c == '"' || c == '\\') out_.push_back('\\');
        out_.push_back(c);
      }
    }
  }

  std::string& out_;
  std::string_view name_{};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
