#!/usr/bin/env bash
# Counts the instructions of the hot path under callgrind, per operation, and compares them with the record of this compiler in
# instructions.txt. A group of tests/run ("instructions of the hot path").
#   instructions.sh --check      fails when one is more than 3 % above its record; without a record of this compiler it says so
#                                and its status is 77: that is a test skipped, not one passed
#   instructions.sh --record     writes them down: to be run, once for each compiler (CXX=clang++-14 benchmarks/instructions.sh
#                                --record), by whoever makes the hot path longer or shorter, and committed with the change
#   instructions.sh --self-test  counts a build that does more than it must, and fails unless --check fails for it
# CXX chooses the compiler (g++).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. tests/support/toolbox.sh

task=${1:-}
case $task in --check | --record | --self-test) ;; *) sed -n '2,9s/^# \?//p' "$0" >&2; exit 2 ;; esac
record=benchmarks/instructions.txt
skipped=77
cxx=${CXX:-g++}
install_commands "$cxx=$cxx" valgrind=valgrind >&2 || exit 1

# As a system names it, without the package's own number: clang-14.0.6-x86_64, g++-12.2.0-x86_64
compiler="$("$cxx" --version | head -n 1 | sed -E 's/^(Debian |Ubuntu )?(clang|g\+\+|[^ ]+).*[^0-9.]([0-9]+\.[0-9]+\.[0-9]+).*/\2-\3/')-$(uname -m)"
if [ "$task" != --record ] && ! grep -q "^$compiler " "$record" 2>/dev/null; then
  echo "note: skipped: instructions of the hot path: no record for $compiler in $record"
  exit $skipped
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cases=(decode_94:500 decode_1024:500 reject_1024:500 reject_middle:500 dispatch:500 reply_94:500 reply_1024:500 fan_out_1000:20
  come_and_go_10:500 come_and_go_10000:500 come_and_go_100_topics:20)
more=()
if [ "$task" = --self-test ]; then
  cases=(decode_94:500) more=(-DPHX_DECODES_TWICE)
fi
"$cxx" -std=c++20 -O2 -DNDEBUG ${more[@]+"${more[@]}"} -Iinclude benchmarks/instructions.cpp -o "$work/instructions" -pthread || exit 1

# What the program does once is in both runs, and so in neither's difference. The C library's string functions are held to those
# every x86-64 has: which it would choose depends on the processor.
instructions() {
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2 \
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/instructions" "$1" "$2" 2>&1 >/dev/null |
    sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}
# count NAME TIMES: for each, in the file of that name
count_one() {
  local few many
  few=$(instructions "$1" "$2") && many=$(instructions "$1" $((2 * $2)))
  [ -n "$few" ] && [ -n "$many" ] && echo $(((many - few) / $2)) >"$work/$1"
}
for pair in "${cases[@]}"; do
  while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
  count_one "${pair%:*}" "${pair#*:}" &
done
wait

passed=0 failed=0
verdict() { # ok|FAIL TEXT
  printf '%-4s %s\n' "$1" "$2"
  if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
counted() { cat "$work/$1" 2>/dev/null || echo 0; }
for pair in "${cases[@]}"; do
  name=${pair%:*} each=$(counted "${pair%:*}")
  if [ "$each" -le 0 ]; then
    verdict FAIL "$name: callgrind counted nothing"
    continue
  fi
  echo "$compiler $name $each" >>"$work/counts"
  if [ "$task" = --record ]; then
    printf '%-24s %8d\n' "$name" "$each"
    continue
  fi
  was=$(awk -v c="$compiler" -v n="$name" '$1 == c && $2 == n { print $3 }' "$record")
  if [ -z "$was" ]; then
    verdict FAIL "$name: $each instructions, and none recorded"
    continue
  fi
  moved=$(awk -v e="$each" -v w="$was" 'BEGIN { printf "%+.1f %%", (e / w - 1) * 100 }')
  verdict "$([ $((each * 100)) -gt $((was * 103)) ] && echo FAIL || echo ok)" "$name: $each instructions, $was recorded, $moved"
done
case $task in
  --record)
    [ $failed = 0 ] || exit 1
    {
      grep '^#' "$record"
      { grep -v -e '^#' -e "^$compiler " "$record"; cat "$work/counts"; } | sort
    } >"$work/record" && cp "$work/record" "$record"
    echo "recorded for $compiler"
    ;;
  --check)
    # A frame that is rejected costs no more than one that is accepted.
    for name in reject_1024 reject_middle; do
      verdict "$([ "$(counted $name)" -gt "$(counted decode_1024)" ] && echo FAIL || echo ok)" \
        "$name: $(counted $name) instructions, where an accepted frame of that size takes $(counted decode_1024)"
    done
    # To join and to die cost the same whoever else is on the topic, and on a hundred topics no more than a hundred times as much.
    alone=$(counted come_and_go_10)
    verdict "$([ $(($(counted come_and_go_10000) * 100)) -gt $((alone * 103)) ] && echo FAIL || echo ok)" \
      "come_and_go_10000: $(counted come_and_go_10000) instructions, where with 10 on the topic it takes $alone"
    verdict "$([ "$(counted come_and_go_100_topics)" -gt $((alone * 100)) ] && echo FAIL || echo ok)" \
      "come_and_go_100_topics: $(counted come_and_go_100_topics) instructions, where one topic takes $alone"
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] || { echo "a change that has to cost this: CXX=$cxx benchmarks/instructions.sh --record"; exit 1; }
    ;;
  --self-test)
    if [ $failed = 1 ]; then
      echo "the guard's own test: 1 passed, 0 failed"
    else
      echo "FAIL what takes more instructions than recorded is not told"
      echo "the guard's own test: 0 passed, 1 failed"
      exit 1
    fi
    ;;
esac
