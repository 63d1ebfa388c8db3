// error: cannot convert 'std::string'
// clang: no viable conversion from 'std::string'
#include <phx/adapter/nlohmann.hpp>
#include <phx/phx.hpp>

// Text is not a payload by itself: is it JSON, or a string to be quoted? payload::json(text) says which.
void push(phx::context& ctx) { (void)ctx.push("said", std::string("{}")); }
