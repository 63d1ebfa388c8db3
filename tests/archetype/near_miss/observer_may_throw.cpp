// error: o.on_event(n)
// clang: Observer
#include <phx/phx.hpp>

struct observer {
  void on_event(phx::telemetry_event const&);
};
void watch(phx::loop& l, observer& o) { l.observe(o); }
