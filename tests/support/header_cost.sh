#!/usr/bin/env bash
# What `#include <phx/phx.hpp>` costs: seconds, the median of five, and the lines the compiler sees, which have a ceiling.
# (Lines, because they are the same on every machine and whatever else it is doing.)
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
ceiling=65000
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
echo '#include <phx/phx.hpp>' >"$work/a.cpp"
lines=$(g++ -std=c++20 -Iinclude -E -P "$work/a.cpp" | wc -l) || exit 1
TIMEFORMAT=%R
for _ in 1 2 3 4 5; do
  { time g++ -std=c++20 -Iinclude -fsyntax-only "$work/a.cpp"; } 2>>"$work/seconds" || { cat "$work/seconds"; exit 1; }
done
echo "note: phx/phx.hpp: $(sort -n "$work/seconds" | sed -n 3p) s to include, $lines lines of at most $ceiling"
[ "$lines" -le "$ceiling" ]
