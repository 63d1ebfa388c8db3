#ifndef PHX_PRESENCE_DETAIL_REGISTRY_IMPL_HPP
#define PHX_PRESENCE_DETAIL_REGISTRY_IMPL_HPP
// The member functions of phx/presence/detail/registry.hpp, in the order of its members.

#include <phx/presence/detail/registry.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

inline void presence_registry::start(endpoint& at) {
  tracker_options nodes = options_.nodes;
  nodes.any_key = options_.any_key;
  nodes.alone = !at.has_pubsub();
  std::uint64_t started = options_.start;
  // The core reads no clock, except for the default of this number: other nodes ignore a restarted node at first if its
  // number is old.
  if (started == 0)
    started = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
  struct undo {
    presence_registry& registry;
    endpoint& at;
    bool listening = false, started = false;
    ~undo() {
      if (started) return;
      if (listening) at.unlisten(registry.topic_, &registry);
      std::lock_guard const lock(registry.mutex_);
      registry.endpoint_ = nullptr;
      registry.tracker_.reset();
    }
  } attempt{*this, at};
  {
    std::lock_guard const lock(mutex_);
    tracker_.emplace(at.node_name(), started, nodes);
    endpoint_ = &at;
  }
  if (!nodes.alone) {
    at.listen(topic_, {this, [](void* self, broadcast const& b) noexcept {
                         static_cast<presence_registry*>(self)->on_node_message(b);
                       }});
    attempt.listening = true;
  }
  at.add_ticker(ticker{this,
                       [](void* self, time_point now) noexcept { return static_cast<presence_registry*>(self)->tick(now); },
                       [](void* self) noexcept { (void)static_cast<presence_registry*>(self)->disconnect(); }});
  attempt.started = true;
}

/// Sends the last message to the other nodes. @return the endpoint, if there is one.
inline endpoint* presence_registry::disconnect() noexcept {
  std::vector<tracker::parcel> parcels;
  endpoint* at = nullptr;
  {
    std::lock_guard const lock(mutex_);
    at = endpoint_;
    if (at == nullptr) return nullptr;
    // Without memory, the other nodes notice by its silence.
    if (options_.goodbye) (void)try_invoke([&] { tracker_->goodbye(); }, [](char const*) {});
    parcels = tracker_->take_parcels();
  }
  send(*at, parcels);
  std::lock_guard const lock(mutex_);
  endpoint_ = nullptr;
  return at;
}

// ---- operations of channels

inline errc presence_registry::check(std::string_view topic, std::string_view key, payload const& meta,
                                     std::string& members) const {
  if (!options_.any_key && unsafe_key(key)) return errc::unsafe_key;
  if (key.size() > options_.key || key.size() > wire_limits::key || topic.size() > wire_limits::topic)
    return errc::name_too_long;
  if (!json::utf8(key) || !json::utf8(topic)) return errc::invalid_utf8;
  if (meta.raw().size() > options_.meta || meta.raw().size() > wire_limits::meta) return errc::meta_too_large;
  if (!meta.is_object()) return errc::not_an_object;
  std::optional<std::string> clean = meta_members(meta.raw());
  if (!clean) return errc::not_an_object;
  members = std::move(*clean);
  return errc::none;
}

template <class Watch>
errc presence_registry::do_track(channel_id const& channel, std::string_view topic, std::string_view key,
                                 payload const& meta, std::string& ref, Watch& watch) {
  std::string members;
  if (errc const code = check(topic, key, meta, members); code != errc::none) return code;
  address const owner_address = watch_access::of(channel), client_address = client_of(owner_address);
  ref.reserve(16);
  std::unique_ptr<channel_watch> watcher;
  bool taken_over = false;

  std::unique_lock lock(mutex_);
  if (endpoint_ == nullptr) return errc::already_closed;
  auto owner = owners_.find(owner_address);
  if (owner != owners_.end() && find(owner->second, topic, key) != owner->second.end()) return errc::already_tracked;
  auto client = clients_.find(client_address);
  if ((client == clients_.end() ? 0 : client->second) >= options_.tracks) return errc::limit_reached;
  // Everything that may fail comes first, the tracker's part last.
  std::map<address, tracked_entries> new_owner;
  std::map<address, std::uint32_t> new_client;
  if (owner == owners_.end()) {
    owner = new_owner.try_emplace(owner_address).first;
    watcher = std::make_unique<channel_watch>(shared_from_this(), owner_address);
  }
  if (client == clients_.end()) client = new_client.try_emplace(client_address, 0).first;
  tracked_entries::node_type node;
  if (tracked_entry const* const old = lingering_.find({topic, key, members})) {
    // With the same meta nothing changes; otherwise it is an update.
    entry_ptr entry = old->entry;
    if (entry->members() != members) entry = tracker_->update(old->clock(), members);
    node = lingering_.take(*old);
    node.mapped().entry = std::move(entry);
    taken_over = true;
  } else {
    tracked_entries fresh;
    auto const at = fresh.emplace(tracked_key{}, tracked_entry{});
    at->second.entry = tracker_->join(topic, key, members);
    node = fresh.extract(at);
  }
  ref.assign(tracker_->own(node.mapped().clock())->ref());
  ++client->second;
  insert(owner->second, std::move(node));
  owners_.merge(new_owner);
  clients_.merge(new_client);
  schedule_flush(lock);

  if (watcher == nullptr) return errc::none;
  if (watch(watcher.get())) {
    (void)watcher.release();  // owned by the channel's end from now on
    return errc::none;
  }
  channel_ended(owner_address, taken_over ? exit_reason::closed : exit_reason::normal);
  return errc::no_memory;
}

inline errc presence_registry::do_update(channel_id const& channel, std::string_view topic, std::string_view key,
                                         payload const& meta, std::string& ref) {
  std::string members;
  if (errc const code = check(topic, key, meta, members); code != errc::none) return code;
  ref.reserve(16);
  std::unique_lock lock(mutex_);
  auto const owner = owners_.find(watch_access::of(channel));
  if (owner == owners_.end()) return errc::not_tracked;
  auto const old = find(owner->second, topic, key);
  if (old == owner->second.end()) return errc::not_tracked;
  entry_ptr made = tracker_->update(old->second.clock(), members);
  ref.assign(made->ref());
  tracked_entries::node_type node = owner->second.extract(old);
  node.mapped().entry = std::move(made);
  insert(owner->second, std::move(node));
  schedule_flush(lock);
  return errc::none;
}

// ---- queries

inline payload presence_registry::list(std::string_view topic) noexcept {
  std::string text;
  bool const ran = try_invoke(
      [&] {
        std::lock_guard const lock(mutex_);
        entries_by_key const* const all = tracker_ ? tracker_->list(topic) : nullptr;
        text = all == nullptr ? "{}" : to_json(*all);
        batch_.mark_listed(topic);
      },
      [](char const*) {});
  // An invalid text, such as an empty one, makes a payload that is !valid().
  return ran ? fetched(topic, payload::trusted_json(text)) : payload::json({});
}

inline payload presence_registry::get_by_key(std::string_view topic, std::string_view key) noexcept {
  std::string text, quoted;
  bool found = false;
  bool const ran = try_invoke(
      [&] {
        json::append_quoted(quoted, key);
        std::lock_guard const lock(mutex_);
        entries_by_key const* const all = tracker_ ? tracker_->list(topic) : nullptr;
        if (all != nullptr) {
          if (auto const at = all->find(key); at != all->end()) {
            text.append("{").append(quoted).append(":");
            append_metas(text, at->second);
            text += '}';
            found = true;
          }
        }
        batch_.mark_listed(topic);
      },
      [](char const*) {});
  if (!ran) return payload::json({});
  if (!found) return payload::trusted_json("[]");
  payload whole = fetched(topic, payload::trusted_json(text));
  if (!whole.valid()) return whole;
  // `{"key":ENTRY}`; `fetch` may have added more keys.
  json::cursor c(whole.raw(), json::deepest);
  std::string_view name, entry;
  if (c.take('{'))
    while (c.value(name) && c.take(':') && c.value(entry)) {
      if (json::same_string(name, quoted)) return payload::trusted_json(entry);
      if (!c.take(',')) break;
    }
  return payload::trusted_json("[]");
}

// ---- diffs

/// Passes entries to the host's `fetch` and returns its result; on failure the entries unchanged.
inline payload presence_registry::fetched(std::string_view topic, payload plain) noexcept {
  if (fetch == nullptr || !plain.valid() || plain.raw() == "{}") return plain;
  payload more;
  bool const ran = try_invoke([&] { more = fetch->fetch(topic, plain); }, [](char const*) {});
  if (ran && more.valid() && more.is_object()) return more;
  std::lock_guard const lock(mutex_);
  ++counts_.fetch_failed;
  return plain;
}

/// @return false without memory, or throws std::bad_alloc; the diff records which parts are done, so that a retry does not
///   repeat them.
inline bool presence_registry::publish(endpoint& at, topic_diff& diff) {
  for (auto const& [member, into] :
       {std::pair(&entry_state::join, &diff.joins), std::pair(&entry_state::leave, &diff.leaves)}) {
    if (*into) continue;
    payload entries = payload::trusted_json(to_json(diff, member));
    if (!entries.valid()) return false;
    *into = fetched(diff.topic, std::move(entries));
  }
  if (diff.joins->raw() == "{}" && diff.leaves->raw() == "{}") return true;
  if (!diff.sent) {
    std::string text = R"({"joins":)";
    text.append(diff.joins->raw()).append(R"(,"leaves":)").append(diff.leaves->raw()).append("}");
    payload const both = payload::trusted_json(text);
    if (!both.valid()) return false;
    bool const all = at.local_broadcast(diff.topic, "presence_diff", both) == errc::none;
    diff.sent = true;
    std::lock_guard const lock(mutex_);
    ++counts_.diffs;
    if (!all) ++counts_.dropped;
  }
  if (handle_metas == nullptr) return true;
  std::string text = "{}";
  {
    std::lock_guard const lock(mutex_);
    if (entries_by_key const* const all = tracker_->list(diff.topic)) text = to_json(*all);
  }
  payload const present = payload::trusted_json(text);
  if (!present.valid()) return false;
  (void)try_invoke(
      [&] {
        handle_metas->handle_metas({diff.topic, *diff.joins, *diff.leaves, present});
      },
      [](char const*) {});
  return true;
}

/// Publishes due diffs in order. @return false without memory; the rest is published later.
inline bool presence_registry::publish_due(endpoint& at) noexcept {
  for (; !due_.empty(); due_.pop_front()) {
    bool done = false;
    (void)try_invoke([&] { done = publish(at, due_.front()); }, [](char const*) {});
    if (!done) return false;
  }
  return true;
}

// ---- timers and other nodes

inline time_point presence_registry::tick(time_point now) noexcept {
  std::vector<tracker::parcel> parcels;
  bool all = true;
  time_point next = (time_point::max)();
  endpoint* at = nullptr;
  {
    std::lock_guard const lock(mutex_);
    at = endpoint_;
    if (at == nullptr) return next;
    lingering_.stamp(saturating_add(now, options_.linger));
    while (lingering_.due() <= now && !lingering_.empty()) (void)tracker_->leave(lingering_.pop());
    if (tracker_->due() <= now) (void)tracker_->tick(now);
    parcels = tracker_->take_parcels();
    all = collect_changes();
    batch_.stamp(saturating_add(now, options_.batch));
    batch_.take_due(now, due_);
    next = (std::min)({tracker_->due(), lingering_.due(), batch_.due()});
  }
  send(*at, parcels);
  if (!publish_due(*at)) all = false;
  // Retry soon: memory may be available again.
  if (!all) next = (std::min)(next, saturating_add(now, std::chrono::milliseconds(100)));
  return next;
}

inline void presence_registry::on_node_message(broadcast const& b) noexcept {
  std::unique_lock lock(mutex_);
  endpoint* const at = endpoint_;
  if (at == nullptr) return;
  // Without memory, the message counts as lost.
  (void)try_invoke([&] { (void)tracker_->receive(b.payload.is_binary() ? b.payload.raw() : std::string_view{}); },
                   [](char const*) {});
  std::vector<tracker::parcel> const parcels = tracker_->take_parcels();
  schedule_flush(lock);
  send(*at, parcels);
}

inline void presence_registry::send(endpoint& at, std::vector<tracker::parcel> const& parcels) noexcept {
  for (tracker::parcel const& p : parcels) {
    payload const bytes = payload::binary(p.bytes);
    send_status status = send_status::dropped;
    if (bytes.valid()) {
      broadcast const b{topic_, "tracker", payload_access::lend(bytes), {}};
      status = p.to.empty() ? at.to_other_nodes(b) : at.to_node(p.to, b);
    }
    if (status == send_status::ok || status == send_status::congested) continue;
    std::lock_guard const lock(mutex_);
    ++counts_.unsent;
  }
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
