#ifndef PHX_PRESENCE_PRESENCE_HPP
#define PHX_PRESENCE_PRESENCE_HPP
// Who is here: channels tracked under keys, told to everybody on their topic, on all nodes (protocol 14).
//
//     phx::endpoint everywhere;
//     phx::presence who(everywhere);                            // shared by all loops; channels hold a reference
//
//     phx::join_result join(phx::joining& here, phx::message const&) { here.send("joined"); return phx::join_result::ok(); }
//     phx::outcome handle_info(phx::context& here, phx::message const&) {
//       if (!who.track(here, user_id, phx::payload::json(R"({"device":"phone"})"))) ...
//       here.push("presence_state", who.list(here.topic()));
//       return phx::outcome::noreply();
//     }
//
// The entry goes with the channel, whatever ends it. Diffs are ordinary broadcasts, `presence_diff`, made by each node for
// its own clients. They are sent when a loop runs next, never from within a callback: so a channel that pushes the state
// from the first message it sends itself, as above, has told it before any diff.

#include <phx/presence/tracker.hpp>
#include <phx/socket/socket.hpp>

#include <chrono>
#include <mutex>
#include <set>

namespace phx {
inline namespace PHX_BUILD {

struct presence_options {
  /// The same on all nodes; two presences of one endpoint need two names.
  std::string name = "presence";
  /// An entry whose channel crashed, was replaced or lost its connection stays so long: if the same key is tracked on the
  /// topic meanwhile, it takes the entry over, and a page that is loaded anew is no leave and join. zero: it leaves at once,
  /// as in Phoenix. Who leaves or stops has left in any case.
  duration linger = std::chrono::seconds(3);
  /// What happens on a topic in so long is one diff. zero: each change is one, as soon as a loop runs.
  duration batch = std::chrono::milliseconds(100);
  std::uint32_t tracks = 100;  ///< entries of one connection, all its channels together; beyond: errc::limit_reached
  std::size_t meta = 8192;     ///< bytes of one meta; beyond: errc::meta_too_large
  std::size_t key = 255;       ///< bytes of a key; beyond: errc::name_too_long
  /// Take keys such as `__proto__` as data. Clients before phoenix.js 1.8.9 break on them (protocol 18), so without this
  /// they are errc::unsafe_key, and those of other nodes are not shown.
  bool any_key = false;
  /// Greater than at any earlier start of this node. 0: microseconds since 1970 by the system's clock, read once.
  std::uint64_t start = 0;
  /// Says goodbye to the other nodes when it is destroyed, instead of leaving them to find out (Phoenix:
  /// permdown_on_shutdown).
  bool goodbye = true;
  tracker_options nodes{};  ///< any_key and alone are filled in
};

struct presence_counts {
  std::uint64_t diffs = 0;         ///< broadcast on this node
  std::uint64_t dropped = 0;       ///< of them those that a loop's full mailbox did not take
  std::uint64_t unsent = 0;        ///< messages to other nodes that the PubSub did not take: they will be asked for
  std::uint64_t fetch_failed = 0;  ///< `fetch` threw or did not answer an object: what it was given was used
  tracker::counts nodes{};         ///< what other nodes said
};

/// What `handle_metas` is told of one topic: who came, who went, and all who are there now. `{"key":{"metas":[...]}}` each.
struct presence_change {
  std::string_view topic;
  payload const& joins;
  payload const& leaves;
  payload const& present;
};

namespace detail {

/// What all handles and all watches share. Its mutex is never held while anybody else's code runs.
class presence_core : public std::enable_shared_from_this<presence_core> {
 public:
  using address = watch_access::address;

  explicit presence_core(presence_options opts) : opts_(std::move(opts)), topic_("phx_presence:" + opts_.name) {}

  // ---- at the endpoint

  void start(endpoint& everywhere) {
    tracker_options nodes = opts_.nodes;
    nodes.any_key = opts_.any_key;
    nodes.alone = !everywhere.has_others();
    std::uint64_t started = opts_.start;
    // The core reads no clock: this once it has to, because a node that starts anew with an old number would not be heard.
    if (started == 0)
      started = static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
              .count());
    {
      std::lock_guard const hold(mutex_);
      tracker_.emplace(everywhere.node_name(), started, nodes);
      everywhere_ = &everywhere;
    }
    if (!nodes.alone)
      everywhere.listen(
          topic_, {this, [](void* self, broadcast const& b) noexcept { static_cast<presence_core*>(self)->heard(b); }});
    everywhere.add(ticker{this,
                          [](void* self, time_point now) noexcept { return static_cast<presence_core*>(self)->beat(now); },
                          [](void* self) noexcept { static_cast<presence_core*>(self)->gone(); }});
  }
  void stop() noexcept {
    endpoint* const was = last_words();
    if (was == nullptr) return;
    was->remove(this);
    was->unlisten(topic_, this);
  }
  void gone() noexcept { (void)last_words(); }

  // ---- what channels do

  template <class Watch>
  [[nodiscard]] result<std::string> track(channel_id const& channel, std::string_view topic, std::string_view key,
                                          payload const& meta, Watch watch) noexcept {
    std::string ref;
    errc ec = errc::none;
    bool const ran = try_invoke(
        [&] {
          std::string members;
          ec = judged(topic, key, meta, members);
          if (ec == errc::none) ec = tracked(channel, topic, key, members, ref, watch);
        },
        [&](char const*) {});
    return answer(ran ? ec : errc::no_memory, std::move(ref));
  }
  [[nodiscard]] result<std::string> update(channel_id const& channel, std::string_view topic, std::string_view key,
                                           payload const& meta) noexcept {
    std::string ref;
    errc ec = errc::none;
    bool const ran = try_invoke(
        [&] {
          std::string members;
          ec = judged(topic, key, meta, members);
          if (ec == errc::none) ec = updated(channel, topic, key, members, ref);
        },
        [&](char const*) {});
    return answer(ran ? ec : errc::no_memory, std::move(ref));
  }
  void untrack(channel_id const& channel, std::string_view const* topic, std::string_view const* key) noexcept {
    (void)try_invoke(
        [&] {
          std::unique_lock hold(mutex_);
          auto const owner = owners_.find(watch_access::of(channel));
          if (owner == owners_.end()) return;
          std::vector<dot>& mine = owner->second;
          for (std::size_t i = 0; i < mine.size();) {
            entry_ptr const e = tracker_->own(mine[i]);
            if ((topic == nullptr || e->topic == *topic) && (key == nullptr || e->key == *key)) {
              forget(e->clock);
              mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(i));
              (void)tracker_->leave(e->clock);
            } else {
              ++i;
            }
          }
          stirred(hold);
        },
        [](char const*) {});
  }
  /// What the channel has there now; !valid() if nothing.
  [[nodiscard]] std::optional<payload> meta_of(channel_id const& channel, std::string_view topic, std::string_view key) {
    std::lock_guard const hold(mutex_);
    entry_ptr const e = own(watch_access::of(channel), topic, key);
    if (e == nullptr) return std::nullopt;
    return payload::trusted_json(e->meta());
  }
  /// A channel's life is over.
  void ended(address const& owner_2, exit_reason reason) noexcept {
    (void)try_invoke(
        [&] {
          std::unique_lock hold(mutex_);
          auto const owner = owners_.find(owner_2);
          if (owner == owners_.end()) return;
          bool const for_good = reason == exit_reason::left || reason == exit_reason::normal ||
                                reason == exit_reason::shutdown || opts_.linger <= duration{};
          for (dot const d : std::exchange(owner->second, {})) {
            if (for_good || everywhere_ == nullptr) {
              forget(d);
              (void)tracker_->leave(d);
            } else {
              auto& mine = locals_.at(d);
              uncount(mine.owner);
              entry_ptr const e = tracker_->own(d);
              left_[{e->topic, e->key}].insert(d);
              mine.lingers = ++lingering_;
              unstamped_.push_back({{}, d, mine.lingers});
            }
          }
          owners_.erase(owner_2);
          stirred(hold);
        },
        [](char const*) {});
  }

  // ---- what is asked

  [[nodiscard]] payload list(std::string_view topic) noexcept {
    std::string text = "{}";
    bool const ran = try_invoke(
        [&] {
          std::lock_guard const hold(mutex_);
          expose(topic);
          if (!tracker_) return;
          if (entries_by_key const* const all = tracker_->list(topic)) text = written(*all);
        },
        [](char const*) {});
    return ran ? fetched(topic, std::move(text)) : payload{};
  }
  [[nodiscard]] payload get_by_key(std::string_view topic, std::string_view key) noexcept {
    entries_by_key one;
    bool const ran = try_invoke(
        [&] {
          std::lock_guard const hold(mutex_);
          expose(topic);
          if (!tracker_) return;
          entries_by_key const* const all = tracker_->list(topic);
          if (all == nullptr) return;
          if (auto const at = all->find(key); at != all->end()) one.insert(*at);
        },
        [](char const*) {});
    if (!ran || one.empty()) return payload::trusted_json("[]");
    payload const whole = fetched(topic, written(one));
    // `{"key":ENTRY}`; a fetch may have put more keys in.
    json::cursor c(whole.raw(), json::deepest);
    std::string_view name, entry;
    std::string wanted;
    json::append_quoted(wanted, key);
    if (c.take('{'))
      while (c.value(name) && c.take(':') && c.value(entry)) {
        if (json::same_string(name, wanted)) return payload::trusted_json(entry);
        if (!c.take(',')) break;
      }
    return payload::trusted_json("[]");
  }
  [[nodiscard]] presence_counts counts() const noexcept {
    std::lock_guard const hold(mutex_);
    presence_counts all = counts_;
    if (tracker_) all.nodes = tracker_->counted();
    return all;
  }
  [[nodiscard]] std::uint32_t nodes() const noexcept {
    std::lock_guard const hold(mutex_);
    return tracker_ ? tracker_->others_up() + 1 : 0;
  }

  struct listener_of {
    virtual ~listener_of() = default;
    virtual payload fetch(std::string_view topic, payload const& entries) = 0;
    virtual void handle_metas(presence_change const& c) = 0;
  };
  std::unique_ptr<listener_of> fetch{}, handle_metas{};

 private:
  struct local {
    address owner;
    std::uint64_t lingers = 0;  // its number among those whose channel is gone; 0: it lives
  };
  struct last_moment {
    time_point until;
    dot entry;
    std::uint64_t number;
  };
  struct fate {
    entry_ptr entry;
    bool join = false, leave = false;
    bool known = false;    // to clients, before this diff
    bool exposed = false;  // to those who were given the state since
    std::uint64_t lists = 0;
  };
  /// A diff in the making.
  struct diff {
    std::vector<presence_entry const*> order{};
    std::map<presence_entry const*, fate> fates{};
    std::uint64_t lists = 1;  // how often somebody was given the topic's state meanwhile
    time_point due{};
    bool stamped = false;
  };

  [[nodiscard]] static result<std::string> answer(errc ec, std::string ref) noexcept {
    if (ec != errc::none) return error{ec, {}};
    return ref;
  }
  [[nodiscard]] errc judged(std::string_view topic, std::string_view key, payload const& meta, std::string& members) const {
    if (!opts_.any_key && unsafe_key(key)) return errc::unsafe_key;
    if (key.size() > opts_.key || key.size() > wire_limits::key || topic.size() > wire_limits::topic)
      return errc::name_too_long;
    if (!json::utf8(key) || !json::utf8(topic)) return errc::invalid_utf8;
    if (meta.raw().size() > opts_.meta || meta.raw().size() > wire_limits::meta) return errc::meta_too_large;
    if (!meta.is_object()) return errc::not_an_object;
    std::optional<std::string> clean = meta_members(meta.raw());
    if (!clean) return errc::not_an_object;
    members = std::move(*clean);
    return errc::none;
  }
  [[nodiscard]] entry_ptr own(address const& owner_2, std::string_view topic, std::string_view key) const {
    auto const owner = owners_.find(owner_2);
    if (owner == owners_.end()) return nullptr;
    for (dot const d : owner->second)
      if (entry_ptr e = tracker_->own(d); e->topic == topic && e->key == key) return e;
    return nullptr;
  }

  template <class Watch>
  [[nodiscard]] errc tracked(channel_id const& channel, std::string_view topic, std::string_view key,
                             std::string const& members, std::string& ref, Watch watch) {
    address const owner = watch_access::of(channel);
    std::unique_ptr<watch_of> fresh;
    std::unique_lock hold(mutex_);
    if (everywhere_ == nullptr) return errc::already_closed;
    if (own(owner, topic, key) != nullptr) return errc::already_tracked;
    std::uint32_t& count = clients_[client_of(owner)];
    if (count >= opts_.tracks) {
      if (count == 0) clients_.erase(client_of(owner));
      return errc::limit_reached;
    }
    if (!owners_.contains(owner)) fresh = std::make_unique<watch_of>(shared_from_this(), owner);
    std::vector<dot>& mine = owners_[owner];
    ++count;
    entry_ptr const e = take_over_or_join(topic, key, members);
    locals_[e->clock] = {owner, 0};
    mine.push_back(e->clock);
    ref = e->ref();
    stirred(hold);
    if (fresh == nullptr) return errc::none;
    if (watch(fresh.get())) {
      (void)fresh.release();  // it ends itself
      return errc::none;
    }
    ended(owner, exit_reason::normal);
    return errc::no_memory;
  }
  /// The entry of the same key whose channel has just gone: with the same meta nothing has happened; else it is an update.
  [[nodiscard]] entry_ptr take_over_or_join(std::string_view topic, std::string_view key, std::string const& members) {
    entry_ptr old;
    // Of those who are there only who lingers is looked at: one key may be that of all who have no name.
    if (auto const left = left_.find({std::string(topic), std::string(key)}); left != left_.end())
      for (dot const d : left->second) {
        entry_ptr const e = tracker_->own(d);
        bool const same = e->members() == members;
        if (old == nullptr || same) old = e;
        if (same) break;
      }
    if (old == nullptr) return tracker_->join(topic, key, members);
    no_more_left(*old);
    if (old->members() == members) return old;
    locals_.erase(old->clock);
    return tracker_->update(old->clock, members);
  }
  [[nodiscard]] errc updated(channel_id const& channel, std::string_view topic, std::string_view key,
                             std::string const& members, std::string& ref) {
    address const owner = watch_access::of(channel);
    std::unique_lock hold(mutex_);
    entry_ptr const old = own(owner, topic, key);
    if (old == nullptr) return errc::not_tracked;
    entry_ptr const e = tracker_->update(old->clock, members);
    locals_.erase(old->clock);
    locals_[e->clock] = {owner, 0};
    std::vector<dot>& mine = owners_.find(owner)->second;
    for (dot& d : mine)
      if (d == old->clock) d = e->clock;
    ref = e->ref();
    stirred(hold);
    return errc::none;
  }

  [[nodiscard]] static address client_of(address owner) noexcept {
    owner.number = 0;
    return owner;
  }
  void uncount(address const& owner) {
    auto const at = clients_.find(client_of(owner));
    if (at != clients_.end() && --at->second == 0) clients_.erase(at);
  }
  void forget(dot d) {
    uncount(locals_.at(d).owner);
    locals_.erase(d);
  }
  void no_more_left(presence_entry const& e) {
    auto const at = left_.find({e.topic, e.key});
    at->second.erase(e.clock);
    if (at->second.empty()) left_.erase(at);
  }

  // ---- diffs

  /// Something may have changed: what follows is done by the next beat. Gives the lock back.
  void stirred(std::unique_lock<std::mutex>& hold) {
    bool const more = absorb() || !unstamped_.empty();
    endpoint* const at = everywhere_;
    hold.unlock();
    if (more && at != nullptr) at->hurry((time_point::min)());
  }
  /// @return whether there is a diff that a beat does not know about yet.
  bool absorb() {
    bool fresh = false;
    for (tracker::change const& c : tracker_->take_changes()) {
      auto const [at, is_new] = diffs_.try_emplace(c.entry->topic);
      if (is_new) waiting_.push_back(c.entry->topic);
      diff& d = at->second;
      fresh = fresh || !d.stamped;
      auto const [one, is_first] = d.fates.try_emplace(c.entry.get());
      fate& f = one->second;
      if (is_first) {
        f.entry = c.entry;
        f.known = !c.joined;
        d.order.push_back(c.entry.get());
      }
      // Of what came and went, or went and came, nothing need be said; but to those who were given the state in between.
      f.exposed = f.exposed || (!is_first && f.lists != d.lists);
      f.lists = d.lists;
      if (c.joined) {
        f.join = !f.leave || f.exposed || f.join;
        f.leave = false;
      } else {
        f.leave = f.known || f.exposed;
        f.join = f.join && f.exposed && !f.known;
      }
    }
    return fresh;
  }
  void expose(std::string_view topic) {
    if (auto const at = diffs_.find(topic); at != diffs_.end()) ++at->second.lists;
  }

  [[nodiscard]] payload fetched(std::string_view topic, std::string entries) noexcept {
    payload plain = payload::trusted_json(entries);
    if (fetch == nullptr || entries == "{}") return plain;
    payload more;
    bool const ran = try_invoke([&] { more = fetch->fetch(topic, plain); }, [](char const*) {});
    if (ran && more.valid() && more.is_object()) return more;
    std::lock_guard const hold(mutex_);
    ++counts_.fetch_failed;
    return plain;
  }
  void publish(endpoint& at, std::string const& topic, diff const& d) {
    entries_by_key came, went;
    for (presence_entry const* const e : d.order) {
      fate const& f = d.fates.at(e);
      if (f.join) came[e->key].push_back(f.entry);
      if (f.leave) went[e->key].push_back(f.entry);
    }
    if (came.empty() && went.empty()) return;
    payload const joins = fetched(topic, written(came)), leaves = fetched(topic, written(went));
    std::string text = R"({"joins":)";
    text.append(joins.raw()).append(R"(,"leaves":)").append(leaves.raw()).append("}");
    bool const all = at.local_broadcast(topic, "presence_diff", payload::trusted_json(text)) == errc::none;
    {
      std::lock_guard const hold(mutex_);
      ++counts_.diffs;
      if (!all) ++counts_.dropped;
    }
    if (handle_metas == nullptr) return;
    std::string now = "{}";
    {
      std::lock_guard const hold(mutex_);
      if (entries_by_key const* const present = tracker_->list(topic)) now = written(*present);
    }
    payload const present = payload::trusted_json(now);
    (void)try_invoke([&] { handle_metas->handle_metas({topic, joins, leaves, present}); }, [](char const*) {});
  }

  // ---- time

  [[nodiscard]] time_point beat(time_point now) noexcept {
    time_point next = (time_point::max)();
    (void)try_invoke([&] { next = work(now); }, [](char const*) {});
    return next;
  }
  [[nodiscard]] time_point work(time_point now) {
    std::vector<std::pair<std::string, diff>> ripe;
    std::vector<tracker::parcel> parcels;
    time_point next = (time_point::max)();
    endpoint* all_loops = nullptr;
    {
      std::lock_guard const hold(mutex_);
      all_loops = everywhere_;
      if (all_loops == nullptr) return next;
      for (last_moment l : unstamped_) {
        l.until = now + opts_.linger;
        lingers_.push_back(l);
      }
      unstamped_.clear();
      for (; !lingers_.empty() && lingers_.front().until <= now; lingers_.pop_front()) {
        auto const at = locals_.find(lingers_.front().entry);
        if (at == locals_.end() || at->second.lingers != lingers_.front().number) continue;  // taken over
        no_more_left(*tracker_->own(at->first));
        locals_.erase(at);
        (void)tracker_->leave(lingers_.front().entry);
      }
      if (tracker_->due() <= now) (void)tracker_->tick(now);
      parcels = tracker_->take_parcels();
      (void)absorb();
      // Those that no beat has seen yet are the last of them.
      for (auto topic = waiting_.rbegin(); topic != waiting_.rend(); ++topic) {
        diff& d = diffs_.find(*topic)->second;
        if (std::exchange(d.stamped, true)) break;
        d.due = now + opts_.batch;
      }
      for (; !waiting_.empty() && diffs_.find(waiting_.front())->second.due <= now; waiting_.pop_front()) {
        auto node = diffs_.extract(waiting_.front());
        ripe.emplace_back(std::move(node.key()), std::move(node.mapped()));
      }
      next = tracker_->due();
      auto const sooner = [&next](time_point at) {
        if (at < next) next = at;
      };
      if (!lingers_.empty()) sooner(lingers_.front().until);
      if (!waiting_.empty()) sooner(diffs_.find(waiting_.front())->second.due);
    }
    send(*all_loops, parcels);
    for (auto const& [topic, d] : ripe) publish(*all_loops, topic, d);
    return next;
  }

  // ---- other nodes

  void heard(broadcast const& b) noexcept {
    (void)try_invoke(
        [&] {
          std::unique_lock hold(mutex_);
          endpoint* const all_loops = everywhere_;
          if (all_loops == nullptr) return;
          (void)tracker_->receive(b.payload.is_binary() ? b.payload.raw() : std::string_view{});
          std::vector<tracker::parcel> const parcels = tracker_->take_parcels();
          stirred(hold);
          send(*all_loops, parcels);
        },
        [](char const*) {});
  }
  void send(endpoint& at, std::vector<tracker::parcel> const& parcels) {
    for (tracker::parcel const& p : parcels) {
      payload const bytes = payload::binary(p.bytes);
      broadcast const b{topic_, "tracker", payload_access::lend(bytes), {}};
      send_status const s = p.to.empty() ? at.to_others(b) : at.to_node(p.to, b);
      if (s == send_status::ok || s == send_status::congested) continue;
      std::lock_guard const hold(mutex_);
      ++counts_.unsent;
    }
  }
  [[nodiscard]] endpoint* last_words() noexcept {
    endpoint* was = nullptr;
    std::vector<tracker::parcel> parcels;
    (void)try_invoke(
        [&] {
          {
            std::lock_guard const hold(mutex_);
            was = everywhere_;
            if (was == nullptr) return;
            if (opts_.goodbye) tracker_->goodbye();
            parcels = tracker_->take_parcels();
          }
          send(*was, parcels);
          std::lock_guard const hold(mutex_);
          everywhere_ = nullptr;
        },
        [](char const*) {});
    return was;
  }

  struct watch_of : end_watch {
    watch_of(std::shared_ptr<presence_core> core, address const& of) : for_whom(std::move(core)), owner(of) {
      ended = [](end_watch* self, exit_reason reason) noexcept {
        std::unique_ptr<watch_of> const mine(static_cast<watch_of*>(self));
        mine->for_whom->ended(mine->owner, reason);
      };
    }
    std::shared_ptr<presence_core> for_whom;
    address owner;
  };

  presence_options opts_;
  std::string topic_;
  mutable std::mutex mutex_;
  endpoint* everywhere_ = nullptr;
  std::optional<tracker> tracker_{};
  std::map<address, std::vector<dot>> owners_{};
  std::map<address, std::uint32_t> clients_{};  // how many entries each connection has
  std::map<dot, local> locals_{};
  std::map<std::pair<std::string, std::string>, std::set<dot>> left_{};  // those that linger, by topic and key
  std::vector<last_moment> unstamped_{};
  std::deque<last_moment> lingers_{};  // by time
  std::uint64_t lingering_ = 0;
  std::map<std::string, diff, std::less<>> diffs_{};
  std::deque<std::string> waiting_{};  // their topics, by time
  presence_counts counts_{};
};

}  // namespace detail

/// Every member may be called from any thread, those that take a context inside its loop. A channel is tracked under as many
/// keys as it likes, each once for a topic; one key may be that of many channels. Give it to the channels by reference: it
/// must be there as long as they are; whether it or the endpoint goes first is all one.
class presence {
 public:
  /// To be started before anything is tracked.
  explicit presence(presence_options opts = {}) : core_(std::make_shared<detail::presence_core>(std::move(opts))) {}
  /// @pre the endpoint's PubSub, if it gets one, is attached.
  explicit presence(endpoint& everywhere, presence_options opts = {}) : presence(std::move(opts)) { start(everywhere); }
  presence(presence const&) = delete;
  presence& operator=(presence const&) = delete;
  ~presence() { core_->stop(); }

  /// Once. @pre the endpoint's PubSub, if it gets one, is attached.
  void start(endpoint& everywhere) { core_->start(everywhere); }

  /// Tracks the channel under `key` on its topic. `meta` is an object; what it says of phx_ref and phx_ref_prev is ignored.
  /// @return the entry's phx_ref; or, and then nothing is broadcast, errc::already_tracked, unsafe_key, name_too_long,
  ///   invalid_utf8, meta_too_large, not_an_object, limit_reached, no_memory, already_closed (not started, or the endpoint
  ///   gone).
  result<std::string> track(context& ctx, std::string_view key, payload const& meta = {}) noexcept {
    return core_->track(ctx.id(), ctx.topic(), key, meta, [&](end_watch* w) noexcept { return attach(ctx, w); });
  }
  result<std::string> track(joining& ctx, std::string_view key, payload const& meta = {}) noexcept {
    return core_->track(ctx.id(), ctx.topic(), key, meta, [&](end_watch* w) noexcept { return attach(ctx, w); });
  }
  /// For channels that live elsewhere, and for topics that are not the channel's own. If it has ended, the entry goes again.
  result<std::string> track(channel_id const& channel, std::string_view topic, std::string_view key,
                            payload const& meta = {}) noexcept {
    return core_->track(channel, topic, key, meta,
                        [&](end_watch* w) noexcept { return detail::watch_access::watch(channel, w); });
  }

  /// Replaces the meta: a leave of the old one and a join of the new one in one diff, the new one with phx_ref_prev.
  /// @return the new phx_ref; errc::not_tracked (Phoenix: nopresence), or as for track.
  result<std::string> update(context& ctx, std::string_view key, payload const& meta) noexcept {
    return core_->update(ctx.id(), ctx.topic(), key, meta);
  }
  result<std::string> update(channel_id const& channel, std::string_view topic, std::string_view key,
                             payload const& meta) noexcept {
    return core_->update(channel, topic, key, meta);
  }
  /// With `change(payload const& old) -> payload`, old without its refs.
  template <class F>
  requires std::is_invocable_r_v<payload, F&, payload const&> result<std::string> update(context& ctx, std::string_view key,
                                                                                         F change) {
    std::optional<payload> const old = core_->meta_of(ctx.id(), ctx.topic(), key);
    if (!old) return error{errc::not_tracked, {}};
    return update(ctx, key, static_cast<payload>(change(*old)));
  }

  /// Nothing happens if it is not tracked. The channel lives.
  void untrack(context& ctx, std::string_view key) noexcept {
    std::string_view const topic = ctx.topic();
    core_->untrack(ctx.id(), &topic, &key);
  }
  void untrack(channel_id const& channel, std::string_view topic, std::string_view key) noexcept {
    core_->untrack(channel, &topic, &key);
  }
  /// Whatever the channel is tracked under, on all topics.
  void untrack(channel_id const& channel) noexcept { core_->untrack(channel, nullptr, nullptr); }
  void untrack(context& ctx) noexcept { untrack(ctx.id()); }

  /// What `presence_state` carries: `{"key":{"metas":[{"phx_ref":...},...]},...}`.
  [[nodiscard]] payload list(std::string_view topic) const noexcept { return core_->list(topic); }
  /// `{"metas":[...]}`, or `[]` if nobody is there under this key.
  [[nodiscard]] payload get_by_key(std::string_view topic, std::string_view key) const noexcept {
    return core_->get_by_key(topic, key);
  }

  /// `f(topic, entries) -> payload`: the same keys with the same metas, and fields of yours beside them (protocol 14.3).
  /// Called for every list, and for the joins and the leaves of a diff: once for a diff, not for each who gets it. It may
  /// run in several loops at once. @pre nothing is tracked yet.
  template <class F>
  requires std::is_invocable_r_v<payload, F&, std::string_view, payload const&>
  void fetch(F f) {
    struct of final : detail::presence_core::listener_of {
      explicit of(F g) : run(std::move(g)) {}
      payload fetch(std::string_view topic, payload const& entries) override { return run(topic, entries); }
      void handle_metas(presence_change const&) override {}
      F run;
    };
    core_->fetch = std::make_unique<of>(std::move(f));
  }
  /// `f(presence_change const&)`: after each diff, one at a time, in some loop (protocol 14.3). It may track and list.
  /// @pre nothing is tracked yet.
  template <class F>
  requires std::is_invocable_v<F&, presence_change const&>
  void handle_metas(F f) {
    struct of final : detail::presence_core::listener_of {
      explicit of(F g) : run(std::move(g)) {}
      payload fetch(std::string_view, payload const& entries) override { return entries; }
      void handle_metas(presence_change const& c) override { run(c); }
      F run;
    };
    core_->handle_metas = std::make_unique<of>(std::move(f));
  }

  /// `{"reason":...}` for a reply: "nopresence", as Phoenix says it, or a short sentence.
  [[nodiscard]] static payload reason(errc ec) {
    std::string text = R"({"reason":)";
    // Two codes have another meaning for a frame.
    json::append_quoted(text, ec == errc::not_tracked     ? "nopresence"
                              : ec == errc::not_an_object ? "a meta that is no JSON object"
                              : ec == errc::name_too_long ? "a key longer than presence_options::key"
                                                          : to_string(ec));
    return payload::trusted_json(text += '}');
  }
  [[nodiscard]] presence_counts counts() const noexcept { return core_->counts(); }
  /// Nodes that are up, this one among them.
  [[nodiscard]] std::uint32_t nodes() const noexcept { return core_->nodes(); }

 private:
  using end_watch = detail::end_watch;
  template <class Here>
  [[nodiscard]] static bool attach(Here& ctx, end_watch* w) noexcept {
    detail::watch_access::watch(ctx, w);
    return true;
  }
  std::shared_ptr<detail::presence_core> core_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif
