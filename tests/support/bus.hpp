#ifndef PHX_TESTS_SUPPORT_BUS_HPP
#define PHX_TESTS_SUPPORT_BUS_HPP
// Nodes in one process: a message published by one is delivered to the others at once, on the same thread.

#include <phx/loop/endpoint.hpp>

namespace support {

class bus {
 public:
  /// One node's place on the bus: a PubSub.
  class node {
   public:
    node(bus& on, std::string name) : bus_(on), name_(std::move(name)) {}
    node(node const&) = delete;
    node& operator=(node const&) = delete;

    void start(phx::endpoint& local) {
      std::lock_guard const hold(bus_.mutex_);
      local_ = &local;
      bus_.nodes_.push_back(this);
    }
    void stop() noexcept {
      std::lock_guard const hold(bus_.mutex_);
      std::erase(bus_.nodes_, this);
      ++stops;
    }
    [[nodiscard]] std::string const& node_name() const noexcept { return name_; }
    phx::send_status broadcast(phx::broadcast const& b) noexcept {
      return send([this](node const& n) { return &n != this; }, b);
    }
    phx::send_status direct_broadcast(std::string_view to, phx::broadcast const& b) noexcept {
      return send([to](node const& n) { return n.name_ == to; }, b);
    }

    phx::send_status answer = phx::send_status::ok;  // the result of publish; dropped or closed: nothing is sent
    int stops = 0;

   private:
    template <class Whom>
    phx::send_status send(Whom whom, phx::broadcast const& b) noexcept {
      if (answer == phx::send_status::dropped || answer == phx::send_status::closed) return answer;
      std::lock_guard const hold(bus_.mutex_);
      for (node* const n : bus_.nodes_)
        if (whom(*n)) (void)n->local_->deliver(b);
      return answer;
    }
    bus& bus_;
    std::string name_;
    phx::endpoint* local_ = nullptr;
  };

 private:
  std::recursive_mutex mutex_;
  std::vector<node*> nodes_;
};

}  // namespace support

#endif
