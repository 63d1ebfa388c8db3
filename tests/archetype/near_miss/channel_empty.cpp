// error: this type has none of a channel's callbacks
#include <phx/phx.hpp>

struct room {
  int number = 0;
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }
