#!/usr/bin/env bash
# A unit built with exceptions and one without that share a phx type must not link: one of them would silently lose its `try`.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
cat >"$work/takes.cpp" <<'CPP'
#include <phx/message/frame.hpp>
bool takes(phx::frame const& f);
bool takes(phx::frame const&) { return true; }
CPP
cat >"$work/gives.cpp" <<'CPP'
#include <phx/message/frame.hpp>
bool takes(phx::frame const& f);
int main() { return takes(phx::frame{}) ? 0 : 1; }
CPP
compile() { g++ -std=c++20 -Iinclude "$@"; }
compile -c "$work/takes.cpp" -o "$work/takes.o" &&
  compile -c "$work/gives.cpp" -o "$work/gives.o" &&
  compile -fno-exceptions -c "$work/gives.cpp" -o "$work/gives-without.o" || exit 1
g++ "$work/takes.o" "$work/gives.o" -o "$work/same" && "$work/same" || { echo "FAIL two units built alike do not link"; exit 1; }
if g++ "$work/takes.o" "$work/gives-without.o" -o "$work/mixed" 2>"$work/said"; then
  echo "FAIL units built with and without exceptions link"
  exit 1
fi
grep -q 'undefined reference to .takes(phx::without_exceptions::frame const&)' "$work/said" || { cat "$work/said"; exit 1; }
