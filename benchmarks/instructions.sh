#!/usr/bin/env bash
# Counts the instructions of the hot path under callgrind, per operation, and compares them with the record of this compiler in
# instructions.txt.
#   instructions.sh --check    fails when one is more than 3 % above its record; without a record of this compiler: skipped
#   instructions.sh --record   writes them down
# CXX chooses the compiler (g++).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tests/support/toolbox.sh

task=${1:-}
case $task in --check | --record) ;; *) sed -n '2,6s/^# \?//p' "$0" >&2; exit 2 ;; esac
record=benchmarks/instructions.txt
cxx=${CXX:-g++}
install_commands "$cxx=$cxx" valgrind=valgrind >&2 || exit 1

# As a system names it, without the package's own number: clang-14.0.6, g++-12.2.0
compiler="$("$cxx" --version | head -n 1 | sed -E 's/^(Debian |Ubuntu )?(clang|g\+\+|[^ ]+).*[^0-9.]([0-9]+\.[0-9]+\.[0-9]+).*/\2-\3/')-$(uname -m)"
if [ "$task" = --check ] && ! grep -q "^$compiler " "$record" 2>/dev/null; then
  echo "skipped: no record for $compiler in $record"
  exit 0
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
"$cxx" -std=c++20 -O2 -DNDEBUG -Iinclude benchmarks/instructions.cpp -o "$work/instructions" -pthread || exit 1

# What the program does once is in both runs, and so in neither's difference. The C library's string functions are held to those
# every x86-64 has: which it would choose depends on the processor.
instructions() {
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2 \
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/instructions" "$1" "$2" 2>&1 >/dev/null |
    sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}
status=0
: >"$work/counts"
for pair in decode_94:1000 decode_1024:1000 dispatch:1000 reply_94:1000 reply_1024:1000 fan_out_1000:50; do
  name=${pair%:*} times=${pair#*:}
  few=$(instructions "$name" "$times") many=$(instructions "$name" $((2 * times)))
  if [ -z "$few" ] || [ -z "$many" ]; then
    echo "FAIL $name: callgrind counted nothing"
    exit 1
  fi
  each=$(((many - few) / times))
  if [ "$each" -le 0 ]; then
    echo "FAIL $name: $each instructions"
    exit 1
  fi
  echo "$compiler $name $each" >>"$work/counts"
  if [ "$task" = --record ]; then
    printf '%-14s %8d\n' "$name" "$each"
    continue
  fi
  was=$(awk -v c="$compiler" -v n="$name" '$1 == c && $2 == n { print $3 }' "$record")
  if [ -z "$was" ]; then
    echo "FAIL $name: $each instructions, and none recorded"
    status=1
    continue
  fi
  verdict=ok
  if [ $((each * 100)) -gt $((was * 103)) ]; then verdict=FAIL status=1; fi
  awk -v v="$verdict" -v n="$name" -v e="$each" -v w="$was" \
    'BEGIN { printf "%-4s %-14s %8d instructions, %d recorded, %+.1f %%\n", v, n, e, w, (e / w - 1) * 100 }'
done
if [ "$task" = --record ]; then
  { grep -v "^$compiler " "$record" 2>/dev/null; cat "$work/counts"; } | sort >"$work/record" && cp "$work/record" "$record"
  echo "recorded for $compiler"
fi
exit $status
