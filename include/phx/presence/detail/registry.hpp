#ifndef PHX_PRESENCE_DETAIL_REGISTRY_HPP
#define PHX_PRESENCE_DETAIL_REGISTRY_HPP
// The implementation of phx::presence: which channel is tracked under which keys, the life of an entry after its channel has
// ended, and the connection between the tracker, the endpoint and the clients.
//
// Memory: each operation that changes the list allocates everything it needs before it changes anything. What follows from
// the change (its diff, the messages to other nodes) is recorded without allocating, and the next tick retries it if it
// fails.

#include <phx/core/intrusive_list.hpp>
#include <phx/presence/detail/diff_batch.hpp>
#include <phx/presence/options.hpp>
#include <phx/socket/socket.hpp>

#include <mutex>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// An entry of this node. It is a map node that moves between the map of its owner and the map of lingering entries, so that
/// moving it allocates nothing.
struct tracked_entry {
  entry_ptr entry{};  // its topic, key and meta are valid; the tracker may know it under another ref
  // For a lingering entry, in the order in which the channels ended:
  tracked_entry *next = nullptr, *previous = nullptr;
  std::optional<time_point> until{};  // set by the first tick after the channel ended

  [[nodiscard]] dot clock() const noexcept { return entry->clock; }
};
/// A key of views of the entry's strings.
struct tracked_key {
  std::string_view topic, key, members{};
  [[nodiscard]] friend bool operator==(tracked_key const&, tracked_key const&) = default;
  /// Not <=>: libc++ 14 has none for string_view.
  [[nodiscard]] friend bool operator<(tracked_key const& a, tracked_key const& b) noexcept {
    if (int const order = a.topic.compare(b.topic)) return order < 0;
    if (int const order = a.key.compare(b.key)) return order < 0;
    return a.members < b.members;
  }
};
using tracked_entries = std::multimap<tracked_key, tracked_entry>;

/// Entries whose channel has ended, until another channel takes them over or presence_options::linger has passed.
class lingering_entries {
 public:
  [[nodiscard]] bool empty() const noexcept { return in_order_.front() == nullptr; }
  [[nodiscard]] bool has_unstamped() const noexcept { return !empty() && !in_order_.back()->until; }
  /// Adds all entries of `ended`, without allocating.
  void add(tracked_entries& ended) noexcept {
    for (auto& [key, t] : ended) {
      t.until.reset();
      in_order_.push_back(t);
    }
    entries_.merge(ended);
  }
  void stamp(time_point until) noexcept {
    for (tracked_entry* t = in_order_.back(); t != nullptr && !t->until; t = t->previous) t->until = until;
  }
  /// When the first entry must leave; max() if none lingers. @pre stamp() was called.
  [[nodiscard]] time_point due() const noexcept { return empty() ? (time_point::max)() : *in_order_.front()->until; }
  /// Removes the entry that is due first. @pre !empty()
  [[nodiscard]] dot pop() noexcept {
    tracked_entry* const t = in_order_.front();
    dot const clock = t->clock();
    // Entries with equal keys are in the order in which they were added, so the first one is it.
    auto at = entries_.lower_bound(tracked_key{t->entry->topic, t->entry->key, t->entry->members()});
    while (&at->second != t) ++at;
    in_order_.remove(*t);
    entries_.erase(at);
    return clock;
  }
  /// An entry with this topic and key, preferably one with the same meta. O(log n), even if many users share one key.
  [[nodiscard]] tracked_entry const* find(tracked_key const& wanted) const noexcept {
    auto at = entries_.lower_bound(wanted);
    if (at == entries_.end() || at->first != wanted) at = entries_.lower_bound(tracked_key{wanted.topic, wanted.key});
    if (at == entries_.end() || at->first.topic != wanted.topic || at->first.key != wanted.key) return nullptr;
    return &at->second;
  }
  [[nodiscard]] tracked_entries::node_type take(tracked_entry const& t) noexcept {
    auto at = entries_.lower_bound(tracked_key{t.entry->topic, t.entry->key, t.entry->members()});
    while (&at->second != &t) ++at;
    in_order_.remove(at->second);
    return entries_.extract(at);
  }

 private:
  tracked_entries entries_{};
  intrusive_list<tracked_entry, &tracked_entry::previous, &tracked_entry::next> in_order_{};
};

/// The state that all handles and watchers share. Thread-safe: its mutex is never held while other code runs, except the
/// allocator. track, update and untrack take O(log n) of all entries (untrack also O(tracks)); the end of a channel O(its
/// entries).
class presence_registry : public std::enable_shared_from_this<presence_registry> {
 public:
  using address = watch_access::address;

  explicit presence_registry(presence_options options)
      : options_(std::move(options)), topic_("phx_presence:" + options_.name) {
    if (std::string_view const fault = options_.nodes.fault(); !fault.empty()) no_value(fault.data());
  }

  // ---- connection to the endpoint

  void start(endpoint& at);
  void stop() noexcept {
    endpoint* const was = disconnect();
    if (was == nullptr) return;
    was->remove_ticker(this);
    was->unlisten(topic_, this);
  }

  // ---- operations of channels

  template <class Watch>
  [[nodiscard]] result<std::string> track(channel_id const& channel, std::string_view topic, std::string_view key,
                                          payload const& meta, Watch watch) noexcept {
    std::string ref;
    errc code = errc::none;
    bool const ran = try_invoke([&] { code = do_track(channel, topic, key, meta, ref, watch); }, [](char const*) {});
    return answer(ran ? code : errc::no_memory, std::move(ref));
  }
  [[nodiscard]] result<std::string> update(channel_id const& channel, std::string_view topic, std::string_view key,
                                           payload const& meta) noexcept {
    std::string ref;
    errc code = errc::none;
    bool const ran = try_invoke([&] { code = do_update(channel, topic, key, meta, ref); }, [](char const*) {});
    return answer(ran ? code : errc::no_memory, std::move(ref));
  }
  /// @param topic, key null: any.
  void untrack(channel_id const& channel, std::string_view const* topic, std::string_view const* key) noexcept {
    std::unique_lock lock(mutex_);
    auto const owner = owners_.find(watch_access::of(channel));
    if (owner == owners_.end()) return;
    for (auto at = owner->second.begin(); at != owner->second.end();) {
      entry_ptr const e = at->second.entry;
      if ((topic != nullptr && e->topic != *topic) || (key != nullptr && e->key != *key)) {
        ++at;
        continue;
      }
      (void)tracker_->leave(e->clock);
      count_down(owner->first, 1);
      at = owner->second.erase(at);
    }
    schedule_flush(lock);
  }
  /// The current meta of the channel's entry, without refs. @return errc::not_tracked, no_memory.
  [[nodiscard]] result<payload> meta_of(channel_id const& channel, std::string_view topic, std::string_view key) noexcept {
    entry_ptr entry;
    {
      std::lock_guard const lock(mutex_);
      auto const owner = owners_.find(watch_access::of(channel));
      if (owner == owners_.end()) return error{errc::not_tracked, {}};
      auto const at = find(owner->second, topic, key);
      if (at == owner->second.end()) return error{errc::not_tracked, {}};
      entry = at->second.entry;
    }
    payload meta;
    bool const ran = try_invoke([&] { meta = payload::trusted_json(entry->meta()); }, [](char const*) {});
    if (!ran || !meta.valid()) return error{errc::no_memory, {}};
    return meta;
  }
  /// Called when a channel has ended. Needs no memory.
  void channel_ended(address const& channel, exit_reason reason) noexcept {
    std::unique_lock lock(mutex_);
    auto const owner = owners_.find(channel);
    if (owner == owners_.end()) return;
    bool const for_good = reason == exit_reason::left || reason == exit_reason::normal || reason == exit_reason::shutdown ||
                          options_.linger <= duration{} || endpoint_ == nullptr;
    count_down(channel, owner->second.size());
    if (for_good)
      for (auto const& [key, t] : owner->second) (void)tracker_->leave(t.clock());
    else
      lingering_.add(owner->second);
    owners_.erase(owner);
    schedule_flush(lock);
  }

  // ---- queries

  /// The state of a topic; !valid() without memory.
  [[nodiscard]] payload list(std::string_view topic) noexcept;
  [[nodiscard]] payload get_by_key(std::string_view topic, std::string_view key) noexcept;
  [[nodiscard]] presence_counts counts() const noexcept {
    std::lock_guard const lock(mutex_);
    presence_counts all = counts_;
    if (tracker_) all.nodes = tracker_->counted();
    return all;
  }
  [[nodiscard]] std::uint32_t nodes() const noexcept {
    std::lock_guard const lock(mutex_);
    return tracker_ ? tracker_->others_up() + 1 : 0;
  }

  /// The callbacks of the host.
  struct hook {
    virtual ~hook() = default;
    [[nodiscard]] virtual payload fetch(std::string_view topic, payload const& entries) = 0;
    virtual void handle_metas(presence_change const& change) = 0;
  };
  std::unique_ptr<hook> fetch{}, handle_metas{};

 private:
  struct channel_watch : end_watch {
    channel_watch(std::shared_ptr<presence_registry> of, address const& watched)
        : registry(std::move(of)), channel(watched) {
      ended = [](end_watch* self, exit_reason reason) noexcept {
        std::unique_ptr<channel_watch> const mine(static_cast<channel_watch*>(self));
        mine->registry->channel_ended(mine->channel, reason);
      };
    }
    std::shared_ptr<presence_registry> registry;
    address channel;
  };

  [[nodiscard]] static result<std::string> answer(errc code, std::string ref) noexcept {
    if (code != errc::none) return error{code, {}};
    return ref;
  }
  /// @param members set to the members of the meta.
  [[nodiscard]] errc check(std::string_view topic, std::string_view key, payload const& meta, std::string& members) const;
  template <class Watch>
  [[nodiscard]] errc do_track(channel_id const& channel, std::string_view topic, std::string_view key, payload const& meta,
                              std::string& ref, Watch& watch);
  [[nodiscard]] errc do_update(channel_id const& channel, std::string_view topic, std::string_view key, payload const& meta,
                               std::string& ref);
  [[nodiscard]] static tracked_entries::iterator find(tracked_entries& of, std::string_view topic,
                                                      std::string_view key) noexcept {
    auto const at = of.lower_bound(tracked_key{topic, key});
    return at != of.end() && at->first.topic == topic && at->first.key == key ? at : of.end();
  }
  static void insert(tracked_entries& into, tracked_entries::node_type node) noexcept {
    entry_ptr const& e = node.mapped().entry;
    node.key() = {e->topic, e->key, e->members()};
    into.insert(std::move(node));
  }
  [[nodiscard]] static address client_of(address channel) noexcept {
    channel.number = 0;
    return channel;
  }
  void count_down(address const& channel, std::size_t entries) noexcept {
    auto const at = clients_.find(client_of(channel));
    if (at != clients_.end() && (at->second -= static_cast<std::uint32_t>(entries)) == 0) clients_.erase(at);
  }

  // ---- diffs

  /// Moves the tracker's changes into the batch. @return false without memory; the rest follows in a later call.
  bool collect_changes() noexcept {
    changes_.append(tracker_->take_changes());
    return try_invoke(
        [&] {
          for (; !changes_.empty(); changes_.pop()) batch_.change_state(changes_.front());
        },
        [](char const*) {});
  }
  /// Schedules a tick, which publishes what has changed. Releases the lock.
  void schedule_flush(std::unique_lock<std::mutex>& lock) noexcept {
    bool const all = collect_changes();
    bool const more = !all || batch_.has_unstamped() || lingering_.has_unstamped();
    endpoint* const at = endpoint_;
    lock.unlock();
    if (more && at != nullptr) at->schedule_tick((time_point::min)());
  }
  [[nodiscard]] payload fetched(std::string_view topic, payload plain) noexcept;
  [[nodiscard]] bool publish(endpoint& at, topic_diff& diff);
  bool publish_due(endpoint& at) noexcept;

  // ---- timers and other nodes

  [[nodiscard]] time_point tick(time_point now) noexcept;
  void on_node_message(broadcast const& b) noexcept;
  void send(endpoint& at, std::vector<tracker::parcel> const& parcels) noexcept;
  [[nodiscard]] endpoint* disconnect() noexcept;

  presence_options options_;
  std::string topic_;
  mutable std::mutex mutex_;
  endpoint* endpoint_ = nullptr;
  std::optional<tracker> tracker_{};
  std::map<address, tracked_entries> owners_{};  // by channel
  std::map<address, std::uint32_t> clients_{};   // the number of entries of each connection
  lingering_entries lingering_{};
  change_queue changes_{};  // changes that are not in the batch yet
  diff_batch batch_{};
  topic_diffs due_{};  // being published; only tick uses it, so no lock is needed
  presence_counts counts_{};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/presence/detail/registry_impl.hpp>

#endif
