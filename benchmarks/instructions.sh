#!/usr/bin/env bash
# Counts the instructions of the hot path under callgrind, per operation, and compares them with the record of this compiler in
# instructions.txt. A group of tests/run ("instructions of the hot path").
#   instructions.sh --check      fails if one is more than 3 % above its record; without a record of this compiler it prints a note
#                                and exits with 77: the test is skipped, not passed
#   instructions.sh --record     records them: run it once for each compiler (CXX=clang++-14 benchmarks/instructions.sh
#                                --record) after a change of the hot path, and commit the record with the change
#   instructions.sh --self-test  counts a build with a regression, and fails unless --check fails for it
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

# Without the package's own number: clang-14.0.6-x86_64, g++-12.2.0-x86_64
compiler="$("$cxx" --version | head -n 1 | sed -E 's/^(Debian |Ubuntu )?(clang|g\+\+|[^ ]+).*[^0-9.]([0-9]+\.[0-9]+\.[0-9]+).*/\2-\3/')-$(uname -m)"
if [ "$task" != --record ] && ! grep -q "^$compiler " "$record" 2>/dev/null; then
  echo "note: skipped: instructions of the hot path: no record for $compiler in $record"
  exit $skipped
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cases=(decode_94:500 decode_1024:500 reject_1024:500 reject_middle:500 dispatch:500 reply_94:500 reply_94_metrics:500 reply_1024:500 fan_out_1000:20
  come_and_go_10:500 come_and_go_10000:500 come_and_go_100_topics:20)
more=()
if [ "$task" = --self-test ]; then
  cases=(decode_94:500) more=(-DPHX_DECODES_TWICE)
fi
"$cxx" -std=c++20 -O2 -DNDEBUG ${more[@]+"${more[@]}"} -Iinclude benchmarks/instructions.cpp -o "$work/instructions" -pthread || exit 1

# One-time work is in both runs, so it cancels out in the difference. The C library's string functions are restricted to those
# of the x86-64 baseline, since its choice depends on the processor.
instructions() {
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2 \
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$work/instructions" "$1" "$2" 2>&1 >/dev/null |
    sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}
# count NAME TIMES: writes the instructions per operation to the file of that name
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
    verdict FAIL "$name: $each instructions, without a record"
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
    # A rejected frame must not cost more than an accepted one.
    for name in reject_1024 reject_middle; do
      verdict "$([ "$(counted $name)" -gt "$(counted decode_1024)" ] && echo FAIL || echo ok)" \
        "$name: $(counted $name) instructions; an accepted frame of that size takes $(counted decode_1024)"
    done
    # A connect, join and end cost the same whatever the number of subscribers, and with a hundred topics at most a hundred times as much.
    alone=$(counted come_and_go_10)
    verdict "$([ $(($(counted come_and_go_10000) * 100)) -gt $((alone * 103)) ] && echo FAIL || echo ok)" \
      "come_and_go_10000: $(counted come_and_go_10000) instructions; with 10 on the topic it takes $alone"
    verdict "$([ "$(counted come_and_go_100_topics)" -gt $((alone * 100)) ] && echo FAIL || echo ok)" \
      "come_and_go_100_topics: $(counted come_and_go_100_topics) instructions; one topic takes $alone"
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] || { echo "if the change justifies this cost: CXX=$cxx benchmarks/instructions.sh --record"; exit 1; }
    ;;
  --self-test)
    if [ $failed = 1 ]; then
      echo "self-test: 1 passed, 0 failed"
    else
      echo "FAIL a case with more instructions than recorded was not reported"
      echo "self-test: 0 passed, 1 failed"
      exit 1
    fi
    ;;
esac
