// error: w.wake()
// clang: Waker
#include <phx/phx.hpp>

struct waker {
  void wake();
};
void make(waker& w) { phx::loop l(w); }
