#include <phx/phx.hpp>

int main() {
  phx::payload const kept = phx::payload::json(R"({"n":9007199254740993})");
  return kept.valid() && kept.raw() == R"({"n":9007199254740993})" ? 0 : 1;
}
