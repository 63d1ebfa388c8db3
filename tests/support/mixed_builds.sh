#!/usr/bin/env bash
# Units with and without exceptions that share a phx type must not link, since one of them would silently lose its `try`; nor
# must units with different minor versions. And C++17 must fail with a clear error.
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
g++ "$work/takes.o" "$work/gives.o" -o "$work/same" && "$work/same" || { echo "FAIL two units of the same build do not link"; exit 1; }
if g++ "$work/takes.o" "$work/gives-without.o" -o "$work/mixed" 2>"$work/errors"; then
  echo "FAIL units built with and without exceptions link"
  exit 1
fi
grep -qE 'undefined reference to .takes\(phx::v[0-9_]+without_exceptions::frame const&\)' "$work/errors" || { cat "$work/errors"; exit 1; }

cp -r include "$work/newer" && sed -i -E 's/^(#define PHX_VERSION_MINOR) .*/\1 99/' "$work/newer/phx/version.hpp"
if g++ -std=c++20 -I"$work/newer" -fsyntax-only "$work/takes.cpp" 2>"$work/errors"; then
  echo "FAIL a version other than that of the inline namespace compiles"
  exit 1
fi
sed -i -E 's/v[0-9]+_[0-9]+_with/v0_99_with/; s/(PHX_VERSION_MINOR !=) [0-9]+/\1 99/' "$work/newer/phx/core/detail/build.hpp"
g++ -std=c++20 -I"$work/newer" -c "$work/takes.cpp" -o "$work/newer.o" || exit 1
if g++ "$work/newer.o" "$work/gives.o" -o "$work/mixed" 2>"$work/errors"; then
  echo "FAIL units of different minor versions link"
  exit 1
fi
grep -q 'undefined reference to' "$work/errors" || { cat "$work/errors"; exit 1; }

if g++ -std=c++17 -Iinclude -fsyntax-only "$work/takes.cpp" 2>"$work/errors"; then
  echo "FAIL phx compiles as C++17"
  exit 1
fi
grep -m 1 'error:' "$work/errors" | grep -q 'phx needs C++20' || { head "$work/errors"; echo "FAIL the first error does not say that phx needs C++20"; exit 1; }
