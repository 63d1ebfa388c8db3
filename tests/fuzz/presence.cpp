// Three trackers and a network with losses, duplicates, reordering, partitions, restarts, and clocks set back. The input is
// a program of two bytes per operation. At the end everything is delivered, and all replicas must have the entries of the
// model, under the same refs, and must have told their clients exactly that.
#include <phx/presence/tracker.hpp>

#include "oracle.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>

namespace {

using oracle::require;
using phx::detail::dot;

struct node {
  std::string name{};
  std::uint64_t start = 0, starts = 0;
  std::unique_ptr<phx::tracker> tracker{};
  std::map<dot, std::string> model{};  // its entries: topic, key and members
  std::set<std::string> shown{};       // the sum of its changes
};
struct letter {
  std::size_t from, to;
  std::string bytes;
};

std::string line(phx::detail::presence_entry const& e) { return e.topic + ' ' + e.key + ' ' + e.json; }
std::string content(phx::detail::presence_entry const& e) { return e.topic + ' ' + e.key + ' ' + std::string(e.members()); }

class world {
 public:
  explicit world(unsigned options) {
    options_.period = ms(100);
    options_.silent_periods = 1 + (options & 1) * 3;
    options_.down = ms(1000);
    options_.permdown = ms((options & 2) != 0 ? 2'000 : 60'000);
    options_.kept = (options & 4) != 0 ? 2 : 1'000;
    options_.message = (options & 8) != 0 ? 30 : 100'000;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      nodes_[i].name = std::string(1, static_cast<char>('a' + i));
      start(i, 0);
    }
  }
  void operate(unsigned op, unsigned arg) {
    std::size_t const at = op / 16 % 3;
    node& n = nodes_[at];
    switch (op % 16) {
      case 0:
      case 1:
      case 2: {
        auto const e = n.tracker->join("t" + std::to_string(arg & 1), "k" + std::to_string(arg >> 1 & 3), "");
        n.model[e->clock] = content(*e);
        break;
      }
      case 3:
      case 4:
        if (!n.model.empty()) {
          auto const which = std::next(n.model.begin(), static_cast<std::ptrdiff_t>(arg % n.model.size()));
          require(n.tracker->leave(which->first), "an entry leaves once");
          n.model.erase(which);
        }
        break;
      case 5:
        if (!n.model.empty()) {
          auto const which = std::next(n.model.begin(), static_cast<std::ptrdiff_t>(arg % n.model.size()));
          auto const e = n.tracker->update(which->first, "\"n\":" + std::to_string(arg));
          require(e != nullptr && e->prev == which->first, "an entry is updated");
          n.model.erase(which);
          n.model[e->clock] = content(*e);
        }
        break;
      case 6:
      case 7: pass(ms(arg * 4)); break;
      case 8:
      case 9:
      case 10: deliver(arg, false); break;
      case 11: deliver(arg, true); break;
      case 12:
        if (!under_way_.empty()) under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(arg % under_way_.size()));
        break;
      case 13: cut_ = arg % 64; break;  // one bit for each direction of each pair
      case 14: start(at, arg); break;
      default:
        if (arg % 4 == 0)
          n.tracker->goodbye();
        else
          deliver_all();
    }
    collect(at);
  }
  void heal() {
    cut_ = 0;
    // After a second a silent node is known to be down and an earlier run to be old; a node that is behind has asked twice.
    for (int i = 0; i < 60 && !agree(); ++i) {
      pass(ms(100));
      deliver_all();
    }
    std::set<std::string> all;
    for (node const& n : nodes_) {
      for (auto const& [clock, text] : n.model) {
        auto const own = n.tracker->own(clock);
        require(own != nullptr && content(*own) == text, "a node has what the model has");
        all.insert(line(*own));
      }
    }
    for (node const& n : nodes_) {
      std::set<std::string> seen;
      n.tracker->for_each([&](auto const& e) { require(seen.insert(line(*e)).second, "nothing is listed twice"); });
      require(seen == all, "all nodes show the same");
      require(n.shown == all, "and have told their clients so");
    }
  }

 private:
  /// True if all show the same, as many as the model has. heal() compares more.
  [[nodiscard]] bool agree() const {
    std::size_t model = 0;
    std::array<std::set<std::string>, 3> seen;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      model += nodes_[i].model.size();
      nodes_[i].tracker->for_each([&](auto const& e) { seen[i].insert(line(*e)); });
    }
    return seen[0].size() == model && seen[0] == seen[1] && seen[0] == seen[2];
  }
  [[nodiscard]] static phx::duration ms(std::uint64_t n) { return std::chrono::milliseconds(n); }

  /// Starts a run of a node. @param arg whether its clock was set back.
  void start(std::size_t at, unsigned arg) {
    node& n = nodes_[at];
    ++n.starts;
    n.start = (arg & 1) != 0 && n.start > 1 ? 1 + (n.start * (arg >> 1 & 3)) / 4 : n.start + 1 + (arg >> 3);
    if (n.tracker != nullptr && (arg & 2) != 0) {
      n.tracker->goodbye();
      collect(at);
    }
    // Two runs with one number would give two entries one dot: a fault of the host, which is not tested here.
    while (!lives_.insert({at, n.start}).second) ++n.start;
    n.tracker = std::make_unique<phx::tracker>(n.name, n.start, options_);
    n.model.clear();
    n.shown.clear();
    collect(at);
  }
  void collect(std::size_t at) {
    node& n = nodes_[at];
    lives_.insert({at, n.tracker->start()});
    for (phx::tracker::change const& c : n.tracker->take_changes())
      require(c.joined ? n.shown.insert(line(*c.entry)).second : n.shown.erase(line(*c.entry)) == 1, "a change makes sense");
    for (phx::tracker::parcel const& p : n.tracker->take_parcels())
      for (std::size_t to = 0; to < nodes_.size(); ++to) {
        bool const is_cut = to != at && (cut_ >> (at * 2 + (to > at ? to - 1 : to)) & 1) != 0;
        if (to != at && !is_cut && (p.to.empty() || p.to == nodes_[to].name) && under_way_.size() < 200)
          under_way_.push_back({at, to, p.bytes});
      }
  }
  void deliver(std::size_t which, bool stays) {
    if (under_way_.empty()) return;
    auto const it = under_way_.begin() + static_cast<std::ptrdiff_t>(which % under_way_.size());
    letter const l = *it;
    if (!stays) under_way_.erase(it);
    require(nodes_[l.to].tracker->receive(l.bytes), "trackers understand each other");
    collect(l.to);
  }
  void deliver_all() {
    for (int i = 0; !under_way_.empty(); ++i) {
      require(i < 100'000, "what is said comes to an end");
      deliver(0, false);
    }
  }
  void pass(phx::duration d) {
    for (phx::time_point const until = now_ + d; now_ < until;) {
      now_ = std::min(until, now_ + ms(50));
      for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].tracker->due() > now_) continue;
        (void)nodes_[i].tracker->tick(now_);
        collect(i);
      }
    }
  }

  phx::tracker_options options_{};
  std::array<node, 3> nodes_{};
  std::vector<letter> under_way_{};
  std::set<std::pair<std::size_t, std::uint64_t>> lives_{};
  unsigned cut_ = 0;
  phx::time_point now_{std::chrono::hours(1)};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0 || size > 600) return 0;
  world w(data[0]);
  for (std::size_t i = 1; i + 1 < size; i += 2) w.operate(data[i], data[i + 1]);
  w.heal();
  return 0;
}
