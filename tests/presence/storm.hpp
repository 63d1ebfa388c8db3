#ifndef TESTS_PRESENCE_STORM_HPP
#define TESTS_PRESENCE_STORM_HPP
// Several nodes and an unreliable network, all from one seed: messages are lost, late, duplicated, reordered, cut off in one
// or both directions; nodes crash, become silent, return, say goodbye. Then the network is reliable again, and all remaining
// nodes must agree.

#include <phx/presence/tracker.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace storm {

/// splitmix64: the same numbers on every machine.
class dice {
 public:
  explicit dice(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t roll() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  std::uint64_t below(std::uint64_t n) noexcept { return roll() % n; }
  bool chance(std::uint64_t percent) noexcept { return below(100) < percent; }

 private:
  std::uint64_t state_;
};

class run {
 public:
  explicit run(std::uint64_t seed, std::size_t steps = 120) : dice_(seed) {
    options_.period = ms(100);
    options_.silent_periods = 1 + static_cast<std::uint32_t>(dice_.below(4));
    options_.down = ms(1000);
    options_.permdown = ms(dice_.chance(50) ? 2'000 : 60'000);
    options_.kept = static_cast<std::uint32_t>(dice_.chance(50) ? 4 : 1'000);
    options_.message = dice_.chance(50) ? 60 : 100'000;
    (void)dice_.roll();  // keeps the meaning of seeds from before one more option was drawn
    loss_ = dice_.below(4) * 12;
    doubled_ = dice_.below(3) * 15;
    late_ = dice_.chance(30) ? 3'000 : 150;
    std::size_t const count = 2 + dice_.below(4);
    for (std::size_t i = 0; i < count; ++i) start(i);
    for (std::size_t i = 0; i < steps; ++i) step();
  }

  /// Empty, or the difference found.
  std::string heal() {
    loss_ = doubled_ = 0;
    late_ = 20;
    cut_.clear();
    for (auto& n : nodes_) n->silent = false;
    // Messages in transit arrive, silent nodes are noticed, and nodes that are behind ask twice.
    pass(ms(3'000) + options_.down * 2 + options_.period * static_cast<int>(options_.silent_periods * 4 + 8));
    std::set<std::string> truth;
    for (auto const& n : nodes_)
      if (n->is) truth.insert(n->own.begin(), n->own.end());
    for (auto const& n : nodes_) {
      if (!n->is) continue;
      if (std::string const wrong = differs(*n, truth); !wrong.empty()) return wrong;
    }
    return {};
  }
  [[nodiscard]] std::size_t delivered() const noexcept { return delivered_; }
  [[nodiscard]] std::size_t entries() const noexcept { return made_; }

 private:
  using entry_ptr = phx::tracker::entry_ptr;
  struct node {
    std::string name;
    std::uint64_t starts = 0;
    std::unique_ptr<phx::tracker> is{};
    bool silent = false;          // it receives, but its messages are lost
    std::set<std::string> own{};  // its own entries, as all must see them
    std::map<std::string, phx::detail::dot> clocks{};
    std::set<std::string> text{};  // the sum of its changes: the state of its clients
    std::string confused{};
  };
  struct letter {
    std::size_t to;
    std::string bytes;
  };

  [[nodiscard]] static phx::duration ms(std::uint64_t n) { return std::chrono::milliseconds(n); }
  [[nodiscard]] static std::string line(phx::detail::presence_entry const& e) {
    return e.topic + ' ' + e.key + ' ' + e.json;
  }

  void start(std::size_t at) {
    if (at == nodes_.size()) nodes_.push_back(std::make_unique<node>(node{.name = "n" + std::to_string(at)}));
    node& n = *nodes_[at];
    n.is = std::make_unique<phx::tracker>(n.name, ++n.starts, options_);
    n.own.clear();
    n.clocks.clear();
    n.text.clear();
    collect(at);
  }
  void step() {
    std::size_t const at = dice_.below(nodes_.size());
    node& n = *nodes_[at];
    std::uint64_t const choice = dice_.below(100);
    if (choice < 55) {
      for (std::uint64_t many = 1 + (dice_.chance(10) ? dice_.below(20) : 0); many != 0; --many) act(n);
    } else if (choice < 60) {
      if (n.is && dice_.chance(30)) n.is->goodbye();
      collect(at);
      n.is.reset();
      n.own.clear();
    } else if (choice < 68) {
      start(at);
    } else if (choice < 76) {
      cut_.insert({at, dice_.below(nodes_.size())});
    } else if (choice < 82) {
      cut_.clear();
    } else if (choice < 86) {
      n.silent = !n.silent;
    } else {
      pass(ms(dice_.below(20) == 0 ? 2'500 : dice_.below(300)));
    }
    if (n.is) collect(at);
    if (dice_.chance(30)) pass(ms(dice_.below(60)));
  }
  void act(node& n) {
    if (!n.is) return;
    std::uint64_t const choice = dice_.below(10);
    if (choice < 5 || n.clocks.empty()) {
      entry_ptr const e = n.is->join("t" + std::to_string(dice_.below(3)), "k" + std::to_string(dice_.below(4)), "");
      n.own.insert(line(*e));
      n.clocks[line(*e)] = e->clock;
      ++made_;
      return;
    }
    auto const which = std::next(n.clocks.begin(), static_cast<std::ptrdiff_t>(dice_.below(n.clocks.size())));
    phx::detail::dot const clock = which->second;
    n.own.erase(which->first);
    n.clocks.erase(which);
    if (choice < 8) {
      (void)n.is->leave(clock);
    } else {
      entry_ptr const e = n.is->update(clock, "\"n\":" + std::to_string(dice_.below(9)));
      n.own.insert(line(*e));
      n.clocks[line(*e)] = e->clock;
      ++made_;
    }
  }
  /// Puts the messages of a tracker into the network.
  void collect(std::size_t at) {
    node& n = *nodes_[at];
    if (!n.is) return;
    for (phx::tracker::change const& c : n.is->take_changes()) {
      bool const sense = c.joined ? n.text.insert(line(*c.entry)).second : n.text.erase(line(*c.entry)) == 1;
      if (!sense) n.confused = (c.joined ? "joined twice: " : "left, but was not there: ") + line(*c.entry);
    }
    for (phx::tracker::parcel const& p : n.is->take_parcels())
      for (std::size_t to = 0; to < nodes_.size(); ++to) {
        if (to == at || n.silent || cut_.contains({at, to}) || (!p.to.empty() && p.to != nodes_[to]->name)) continue;
        if (dice_.chance(loss_)) continue;
        for (int times = dice_.chance(doubled_) ? 2 : 1; times != 0; --times)
          under_way_.insert({now_ + ms(dice_.below(late_)), {to, p.bytes}});
      }
  }
  void pass(phx::duration d) {
    phx::time_point const until = now_ + d;
    for (;;) {
      phx::time_point next = until;
      if (!under_way_.empty()) next = std::min(next, under_way_.begin()->first);
      for (auto const& n : nodes_)
        if (n->is) next = std::min(next, n->is->due());
      if (next > now_) now_ = next;
      while (!under_way_.empty() && under_way_.begin()->first <= now_) {
        letter const l = std::move(under_way_.begin()->second);
        under_way_.erase(under_way_.begin());
        if (!nodes_[l.to]->is) continue;
        ++delivered_;
        if (!nodes_[l.to]->is->receive(l.bytes)) nodes_[l.to]->confused = "a message was not understood";
        collect(l.to);
      }
      for (std::size_t i = 0; i < nodes_.size(); ++i)
        if (nodes_[i]->is && nodes_[i]->is->due() <= now_) {
          (void)nodes_[i]->is->tick(now_);
          collect(i);
        }
      if (now_ >= until) return;
    }
  }
  [[nodiscard]] static std::string differs(node const& n, std::set<std::string> const& truth) {
    std::set<std::string> seen;
    n.is->for_each([&](entry_ptr const& e) { seen.insert(line(*e)); });
    for (std::string const& s : truth)
      if (!seen.contains(s)) return n.name + " does not show " + s;
    for (std::string const& s : seen)
      if (!truth.contains(s)) return n.name + " still shows " + s;
    if (!n.confused.empty()) return n.name + ": " + n.confused;
    if (n.text != seen) return n.name + " told its clients something else";
    return {};
  }

  dice dice_;
  phx::tracker_options options_{};
  std::uint64_t loss_ = 0, doubled_ = 0, late_ = 20;
  phx::time_point now_{std::chrono::hours(1)};
  std::vector<std::unique_ptr<node>> nodes_{};
  std::set<std::pair<std::size_t, std::size_t>> cut_{};
  std::multimap<phx::time_point, letter> under_way_{};
  std::size_t delivered_ = 0, made_ = 0;
};

}  // namespace storm

#endif
