#ifndef PHX_PRESENCE_DETAIL_DOTS_HPP
#define PHX_PRESENCE_DETAIL_DOTS_HPP
// The set of another replica's dots that were seen. It is nearly always one range from 1 on (Phoenix calls it the context);
// a lost message leaves a gap, with more ranges after it (Phoenix calls them clouds; protocol 14.4).

#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// One count of a replica's counter, and the identity of the entry made at it: the `dot` of Almeida, Shoker and Baquero
/// ("Delta state replicated data types", 2016). From 1 on, below 2^48, because a phx_ref has six bytes for it.
using dot = std::uint64_t;
inline constexpr dot last_dot = (dot{1} << 48) - 1;

struct dot_range {
  dot first = 0, last = 0;  // both inclusive
  [[nodiscard]] friend bool operator==(dot_range, dot_range) = default;
};

/// Ordered ranges with a gap between any two. contains is O(log n) of the ranges; united and within are linear and may throw
/// std::bad_alloc; everything else takes constant time.
class dot_set {
 public:
  dot_set() = default;
  /// @param ranges ordered by `first`; they may overlap.
  explicit dot_set(std::vector<dot_range> ranges) : ranges_(std::move(ranges)) { close_up(); }

  [[nodiscard]] bool contains(dot d) const noexcept {
    std::size_t at = 0, end = ranges_.size();  // the first range that begins after d is in [at, end]
    while (at != end) {
      std::size_t const middle = at + (end - at) / 2;
      if (ranges_[middle].first <= d)
        at = middle + 1;
      else
        end = middle;
    }
    return at != 0 && d <= ranges_[at - 1].last;
  }
  /// The last dot of the range that begins at 1; 0 if there is none.
  [[nodiscard]] dot contiguous() const noexcept {
    return ranges_.empty() || ranges_.front().first != 1 ? 0 : ranges_.front().last;
  }
  [[nodiscard]] std::vector<dot_range> const& ranges() const noexcept { return ranges_; }

  [[nodiscard]] dot_set united(dot_set const& other) const {
    dot_set result;
    result.ranges_.reserve(ranges_.size() + other.ranges_.size());
    std::size_t a = 0, b = 0;
    while (a != ranges_.size() || b != other.ranges_.size()) {
      bool const next_is_own =
          b == other.ranges_.size() || (a != ranges_.size() && ranges_[a].first <= other.ranges_[b].first);
      result.ranges_.push_back(next_is_own ? ranges_[a++] : other.ranges_[b++]);
    }
    result.close_up();
    return result;
  }
  /// The part of the set in [first, last].
  [[nodiscard]] dot_set within(dot first, dot last) const {
    dot_set part;
    for (dot_range const r : ranges_)
      if (r.last >= first && r.first <= last)
        part.ranges_.push_back({r.first < first ? first : r.first, r.last < last ? r.last : last});
    return part;
  }

 private:
  void close_up() noexcept {
    std::size_t kept = 0;
    for (std::size_t i = 1; i < ranges_.size(); ++i) {
      if (ranges_[i].first > ranges_[kept].last + 1)
        ranges_[++kept] = ranges_[i];
      else if (ranges_[i].last > ranges_[kept].last)
        ranges_[kept].last = ranges_[i].last;
    }
    if (!ranges_.empty()) ranges_.resize(kept + 1);
  }
  std::vector<dot_range> ranges_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
