// Messages that other programs publish on our Redis channel: terms and our own format. A message that is accepted can be
// written again and is then the same; JSON that becomes a term comes back as the same JSON.
#include <phx/adapter/redis/detail/wire.hpp>

#include "oracle.hpp"

using namespace phx::detail;
namespace etf = phx::etf;

namespace {

phx::broadcast again(redis_wire::bus_message const& h) {
  return {h.topic, h.event, phx::detail::payload_access::borrow(h.payload, h.bytes), {}, h.key};
}
std::optional<redis_wire::bus_message> broadcast_in(std::string_view in, redis_wire::term_storage& storage,
                                                    etf::bounds const& most) {
  redis_wire::term_message const term = redis_wire::read_term(in, storage, most);
  oracle::require((term.outcome == redis_wire::outcome::unknown_struct) == !term.module.empty(), "a struct has a name");
  if (term.outcome != redis_wire::outcome::broadcast) return std::nullopt;
  return term.message;
}
void same(redis_wire::bus_message const& a, std::optional<redis_wire::bus_message> const& b) {
  oracle::require(b.has_value(), "what was taken is taken again");
  oracle::require(a.only == b->only && a.node == b->node && a.topic == b->topic && a.event == b->event,
                  "its names are the same");
  oracle::require(a.payload == b->payload && a.bytes == b->bytes, "its payload is the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const in(reinterpret_cast<char const*>(data), size);
  etf::bounds const most;
  (void)etf::reader(in).skip(most.depth, etf::terms::any);
  (void)etf::reader(in).skip(most.depth, etf::terms::data);

  if (auto const h = redis_wire::read(in)) {
    std::string out;
    oracle::require(redis_wire::write(out, h->only, h->node, again(*h)) && out == in,
                    "our own form has one way to be written");
  }
  redis_wire::term_storage storage, storage_again;
  if (auto const h = broadcast_in(in, storage, most)) {
    bool const judged = !h->bytes && !oracle::has_huge_number(h->payload);
    oracle::require(!judged || oracle::accepts(h->payload), "a payload is JSON");
    oracle::require(!judged || phx::json::valid(h->payload), "and phx says so too");
    std::string out;
    // Some values change: a name may be longer, or both contain an @ and be a binary, which we never write; of an atom and a
    // binary that are the same JSON key one is left; a float may be an integer with too many digits.
    if (h->bytes && redis_wire::write_term(out, h->only, h->node, again(*h), most)) {
      auto const back = broadcast_in(out, storage_again, most);
      same(*h, back);
    }
  }
  std::string term, json, second;
  if (phx::json::check(in, most.depth) == phx::errc::none && etf::writer(term).json(in, most)) {
    etf::reader from(term);
    oracle::require(etf::json_encoder(term, most).value(from, json) && from.done(), "what is written can be read");
    oracle::require(oracle::accepts(json), "and is JSON again");
    oracle::require(etf::writer(second).json(json, most) && second == term, "of the same term");
  }
  return 0;
}
