#ifndef PHX_PRESENCE_PRESENCE_HPP
#define PHX_PRESENCE_PRESENCE_HPP
// Presence: the channels tracked under keys, shown to all clients of their topic, on all nodes (protocol 14).
//
//     phx::endpoint endpoint;
//     phx::presence presence(endpoint);                       // shared by all loops; channels hold a reference
//
//     phx::join_result join(phx::joining& ctx, phx::message const&) { ctx.send("joined"); return phx::join_result::ok(); }
//     phx::outcome handle_info(phx::context& ctx, phx::message const&) {
//       if (!presence.track(ctx, user_id, phx::payload::json(R"({"device":"phone"})"))) ...
//       ctx.push("presence_state", presence.list(ctx.topic()));
//       return phx::outcome::noreply();
//     }
//
// An entry leaves when its channel ends, for any reason. Diffs are ordinary broadcasts of `presence_diff`; each node makes
// them for its own clients. A diff is sent when a loop runs next, never inside a callback: a channel that pushes the state
// in the first message it sends itself, as above, has pushed it before any diff.
//
// Implementation: tracker.hpp (agreement between nodes, a state machine), detail/registry.hpp (which channel owns which
// entries) and detail/diff_batch.hpp (collects diffs).

#include <phx/presence/detail/registry.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The presences of all channels, on all loops of one endpoint.
///
/// Order: construct; fetch and handle_metas if needed; start (after the endpoint's PubSub was attached); then track, update,
/// untrack, list and get_by_key.
/// Lifetime: must outlive the channels that refer to it. It may be destroyed before or after the endpoint.
/// Threads: every member may be called from any thread; those with a context inside its loop. One mutex protects everything;
/// no user code runs while it is held.
/// Keys: a channel may be tracked under several keys, each once per topic; several channels may have the same key.
/// Cost: track, update and untrack are O(log n) of the entries; list is linear in its result; a diff is encoded once, not
/// per client.
/// Memory: without memory each member does nothing and reports it, or returns a payload that is not valid(). Leaves need no
/// memory, and other nodes learn of them too.
class presence {
 public:
  /// Call start() before anything is tracked.
  /// @throws std::runtime_error if options.nodes.fault() names one (aborts where exceptions are off), std::bad_alloc.
  explicit presence(presence_options options = {})
      : registry_(std::make_shared<detail::presence_registry>(std::move(options))) {}
  /// Constructs and starts. Throws what the other constructor and `start` throw.
  explicit presence(endpoint& at, presence_options options = {}) : presence(std::move(options)) { start(at); }
  presence(presence const&) = delete;
  presence& operator=(presence const&) = delete;
  /// Tells the other nodes that this one is gone (presence_options::goodbye).
  ~presence() { registry_->stop(); }

  /// Call it once. @pre the endpoint's PubSub, if any, is attached. May throw std::bad_alloc; then it is not started.
  void start(endpoint& at) { registry_->start(at); }

  /// Tracks the channel under `key` on its topic. `meta` is an object; its phx_ref and phx_ref_prev are ignored.
  /// @return the entry's phx_ref; or an error, and then nothing is broadcast: errc::already_tracked, unsafe_key,
  ///   name_too_long, invalid_utf8, meta_too_large, not_an_object, limit_reached, no_memory, already_closed (not started, or
  ///   the endpoint was destroyed).
  result<std::string> track(context& ctx, std::string_view key, payload const& meta = {}) noexcept {
    return registry_->track(ctx.id(), ctx.topic(), key, meta, [&](end_watch* w) noexcept { return attach(ctx, w); });
  }
  /// The same inside a join.
  result<std::string> track(joining& ctx, std::string_view key, payload const& meta = {}) noexcept {
    return registry_->track(ctx.id(), ctx.topic(), key, meta, [&](end_watch* w) noexcept { return attach(ctx, w); });
  }
  /// The same for a channel of another thread, or for a topic that is not the channel's own. If the channel has ended, the
  /// entry leaves again.
  result<std::string> track(channel_id const& channel, std::string_view topic, std::string_view key,
                            payload const& meta = {}) noexcept {
    return registry_->track(channel, topic, key, meta,
                            [&](end_watch* w) noexcept { return detail::watch_access::watch(channel, w); });
  }

  /// Replaces the meta. The diff has a leave of the old meta and a join of the new one, with phx_ref_prev.
  /// @return the new phx_ref; errc::not_tracked (Phoenix: nopresence), or an error of track.
  result<std::string> update(context& ctx, std::string_view key, payload const& meta) noexcept {
    return registry_->update(ctx.id(), ctx.topic(), key, meta);
  }
  /// The same for a channel of another thread.
  result<std::string> update(channel_id const& channel, std::string_view topic, std::string_view key,
                             payload const& meta) noexcept {
    return registry_->update(channel, topic, key, meta);
  }
  /// The same with a function `change(payload const& old) -> payload`; `old` has no refs.
  template <class F>
  requires std::is_invocable_r_v<payload, F&, payload const&> result<std::string> update(context& ctx, std::string_view key,
                                                                                         F change) {
    result<payload> const old = registry_->meta_of(ctx.id(), ctx.topic(), key);
    if (!old) return old.error();
    return update(ctx, key, static_cast<payload>(change(*old)));
  }

  /// Removes the entry; the channel continues. Does nothing if it is not tracked.
  void untrack(context& ctx, std::string_view key) noexcept {
    std::string_view const topic = ctx.topic();
    registry_->untrack(ctx.id(), &topic, &key);
  }
  /// The same for a channel of another thread.
  void untrack(channel_id const& channel, std::string_view topic, std::string_view key) noexcept {
    registry_->untrack(channel, &topic, &key);
  }
  /// Removes all entries of the channel, on all topics.
  void untrack(channel_id const& channel) noexcept { registry_->untrack(channel, nullptr, nullptr); }
  /// The same, inside a callback of the channel.
  void untrack(context& ctx) noexcept { untrack(ctx.id()); }

  /// The payload for `presence_state`: `{"key":{"metas":[{"phx_ref":...},...]},...}`. !valid() without memory.
  [[nodiscard]] payload list(std::string_view topic) const noexcept { return registry_->list(topic); }
  /// `{"metas":[...]}`, or `[]` if there is no entry under this key. !valid() without memory.
  [[nodiscard]] payload get_by_key(std::string_view topic, std::string_view key) const noexcept {
    return registry_->get_by_key(topic, key);
  }

  /// Sets `f(topic, entries) -> payload`, which returns the same keys and metas, with additional fields of your own
  /// (protocol 14.3). Called for every list, and for the joins and the leaves of a diff: once per diff, not per client. May
  /// run on several loops at the same time. @pre nothing is tracked yet.
  template <class F>
  requires std::is_invocable_r_v<payload, F&, std::string_view, payload const&>
  void fetch(F f) {
    struct of final : detail::presence_registry::hook {
      explicit of(F g) : run(std::move(g)) {}
      payload fetch(std::string_view topic, payload const& entries) override { return run(topic, entries); }
      void handle_metas(presence_change const&) override {}
      F run;
    };
    registry_->fetch = std::make_unique<of>(std::move(f));
  }
  /// Sets `f(presence_change const&)`, called after each diff, one call at a time, on any loop (protocol 14.3). It may track
  /// and list. @pre nothing is tracked yet.
  template <class F>
  requires std::is_invocable_v<F&, presence_change const&>
  void handle_metas(F f) {
    struct of final : detail::presence_registry::hook {
      explicit of(F g) : run(std::move(g)) {}
      payload fetch(std::string_view, payload const& entries) override { return entries; }
      void handle_metas(presence_change const& c) override { run(c); }
      F run;
    };
    registry_->handle_metas = std::make_unique<of>(std::move(f));
  }

  /// `{"reason":...}` for a reply: "nopresence", as in Phoenix, or a short sentence.
  [[nodiscard]] static payload reason(errc code) {
    std::string text = R"({"reason":)";
    // These two codes have another text for presence.
    json::append_quoted(text, code == errc::not_tracked     ? "nopresence"
                              : code == errc::not_an_object ? "a meta that is no JSON object"
                              : code == errc::name_too_long ? "a key longer than presence_options::key"
                                                            : to_string(code));
    return payload::trusted_json(text += '}');
  }
  /// The counters. Any thread.
  [[nodiscard]] presence_counts counts() const noexcept { return registry_->counts(); }
  /// The number of nodes that are up, including this one.
  [[nodiscard]] std::uint32_t nodes() const noexcept { return registry_->nodes(); }

 private:
  using end_watch = detail::end_watch;
  template <class Context>
  [[nodiscard]] static bool attach(Context& ctx, end_watch* w) noexcept {
    detail::watch_access::watch(ctx, w);
    return true;
  }
  std::shared_ptr<detail::presence_registry> registry_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif
