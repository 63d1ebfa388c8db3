#ifndef PHX_PRESENCE_PRESENCE_HPP
#define PHX_PRESENCE_PRESENCE_HPP
// Who is present: channels tracked under keys, told to everybody on their topic, on all nodes (protocol 14).
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
// An entry leaves when its channel ends, whatever ends it. Diffs are ordinary broadcasts, `presence_diff`, made by each node
// for its own clients. They are sent when a loop runs next, never from within a callback: a channel that pushes the state
// from the first message it sends itself, as above, has sent it before any diff.
//
// Behind it: tracker.hpp (agreement between nodes, a state machine), detail/registry.hpp (which channel has which entries)
// and detail/diff_batch.hpp (diffs that are being collected).

#include <phx/presence/detail/registry.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The list of who is present, for the channels of all loops of one endpoint.
///
/// Order: construct, fetch and handle_metas if wanted, start (with the endpoint's PubSub attached), then track, update,
///   untrack, list and get_by_key.
/// Life: channels have it by reference, so it must be there as long as they are. Whether it or the endpoint is destroyed
///   first does not matter.
/// Threads: every member may be called from any thread, those that take a context inside its loop. One mutex guards all of
///   it; no code of yours runs under it.
/// Keys: a channel is tracked under as many as it likes, each once for a topic; one key may be that of many channels.
/// Cost: track, update and untrack O(log n) of the entries; list linear in what it returns; a diff is written once, not for
///   each who gets it.
/// Memory: without it each member does nothing and says so, or returns a payload that is not valid(). Entries leave, and
///   other nodes hear of it, all the same.
class presence {
 public:
  /// To be started before anything is tracked.
  /// @throws std::runtime_error if options.nodes.fault() names one (aborts where exceptions are off), std::bad_alloc.
  explicit presence(presence_options options = {})
      : registry_(std::make_shared<detail::presence_registry>(std::move(options))) {}
  /// Starts it too. Throws as the other one and `start` do.
  explicit presence(endpoint& at, presence_options options = {}) : presence(std::move(options)) { start(at); }
  presence(presence const&) = delete;
  presence& operator=(presence const&) = delete;
  /// Says goodbye to the other nodes (presence_options::goodbye).
  ~presence() { registry_->stop(); }

  /// Once. @pre the endpoint's PubSub, if it gets one, is attached. May throw std::bad_alloc, and is then not started.
  void start(endpoint& at) { registry_->start(at); }

  /// Tracks the channel under `key` on its topic. `meta` is an object; its phx_ref and phx_ref_prev are ignored.
  /// @return the entry's phx_ref; or, and then nothing is broadcast, errc::already_tracked, unsafe_key, name_too_long,
  ///   invalid_utf8, meta_too_large, not_an_object, limit_reached, no_memory, already_closed (not started, or the endpoint
  ///   gone).
  result<std::string> track(context& ctx, std::string_view key, payload const& meta = {}) noexcept {
    return registry_->track(ctx.id(), ctx.topic(), key, meta, [&](end_watch* w) noexcept { return attach(ctx, w); });
  }
  /// The same from within a join.
  result<std::string> track(joining& ctx, std::string_view key, payload const& meta = {}) noexcept {
    return registry_->track(ctx.id(), ctx.topic(), key, meta, [&](end_watch* w) noexcept { return attach(ctx, w); });
  }
  /// For channels that live elsewhere, and for topics that are not the channel's own. If the channel has ended, the entry
  /// leaves again.
  result<std::string> track(channel_id const& channel, std::string_view topic, std::string_view key,
                            payload const& meta = {}) noexcept {
    return registry_->track(channel, topic, key, meta,
                            [&](end_watch* w) noexcept { return detail::watch_access::watch(channel, w); });
  }

  /// Replaces the meta: a leave of the old one and a join of the new one in one diff, the new one with phx_ref_prev.
  /// @return the new phx_ref; errc::not_tracked (Phoenix: nopresence), or as for track.
  result<std::string> update(context& ctx, std::string_view key, payload const& meta) noexcept {
    return registry_->update(ctx.id(), ctx.topic(), key, meta);
  }
  /// The same for a channel that lives elsewhere.
  result<std::string> update(channel_id const& channel, std::string_view topic, std::string_view key,
                             payload const& meta) noexcept {
    return registry_->update(channel, topic, key, meta);
  }
  /// With `change(payload const& old) -> payload`, old without its refs.
  template <class F>
  requires std::is_invocable_r_v<payload, F&, payload const&> result<std::string> update(context& ctx, std::string_view key,
                                                                                         F change) {
    result<payload> const old = registry_->meta_of(ctx.id(), ctx.topic(), key);
    if (!old) return old.error();
    return update(ctx, key, static_cast<payload>(change(*old)));
  }

  /// The entry leaves, the channel lives on. Nothing happens if it is not tracked.
  void untrack(context& ctx, std::string_view key) noexcept {
    std::string_view const topic = ctx.topic();
    registry_->untrack(ctx.id(), &topic, &key);
  }
  /// The same, for all keys of the channel or of one topic.
  void untrack(channel_id const& channel, std::string_view topic, std::string_view key) noexcept {
    registry_->untrack(channel, &topic, &key);
  }
  /// All that the channel is tracked under, on all topics.
  void untrack(channel_id const& channel) noexcept { registry_->untrack(channel, nullptr, nullptr); }
  /// The same, for all keys of the channel or of one topic.
  void untrack(context& ctx) noexcept { untrack(ctx.id()); }

  /// What `presence_state` carries: `{"key":{"metas":[{"phx_ref":...},...]},...}`. !valid(): no memory.
  [[nodiscard]] payload list(std::string_view topic) const noexcept { return registry_->list(topic); }
  /// `{"metas":[...]}`, or `[]` if nobody is there under this key. !valid(): no memory.
  [[nodiscard]] payload get_by_key(std::string_view topic, std::string_view key) const noexcept {
    return registry_->get_by_key(topic, key);
  }

  /// `f(topic, entries) -> payload`: the same keys with the same metas, and fields of yours beside them (protocol 14.3).
  /// Called for every list, and for the joins and the leaves of a diff: once for a diff, not for each who gets it. It may
  /// run in several loops at once. @pre nothing is tracked yet.
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
  /// `f(presence_change const&)`: after each diff, one at a time, in some loop (protocol 14.3). It may track and list.
  /// @pre nothing is tracked yet.
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

  /// `{"reason":...}` for a reply: "nopresence", as Phoenix says it, or a short sentence.
  [[nodiscard]] static payload reason(errc code) {
    std::string text = R"({"reason":)";
    // Two codes have another meaning for a frame.
    json::append_quoted(text, code == errc::not_tracked     ? "nopresence"
                              : code == errc::not_an_object ? "a meta that is no JSON object"
                              : code == errc::name_too_long ? "a key longer than presence_options::key"
                                                            : to_string(code));
    return payload::trusted_json(text += '}');
  }
  /// Any thread.
  [[nodiscard]] presence_counts counts() const noexcept { return registry_->counts(); }
  /// Nodes that are up, this one among them.
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
