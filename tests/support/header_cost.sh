#!/usr/bin/env bash
# The cost of `#include <phx/phx.hpp>`: seconds (the median of five) and preprocessed lines, which have a limit.
# (Lines, because they do not depend on the machine and its load.)
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
limit=65000
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
echo '#include <phx/phx.hpp>' >"$work/a.cpp"
lines=$(g++ -std=c++20 -Iinclude -E -P "$work/a.cpp" | wc -l) || exit 1
TIMEFORMAT=%R
for _ in 1 2 3 4 5; do
  { time g++ -std=c++20 -Iinclude -fsyntax-only "$work/a.cpp"; } 2>>"$work/seconds" || { cat "$work/seconds"; exit 1; }
done
echo "note: phx/phx.hpp: $(sort -n "$work/seconds" | sed -n 3p) s to include, $lines lines of at most $limit"
[ "$lines" -le "$limit" ]
