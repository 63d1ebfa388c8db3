#!/usr/bin/env bash
# Runs one group of tests/run for CTest, with the same code.   ctest.sh COMMAND [ARGUMENT...]   (a function of groups.sh)
# Status 77: skipped, because something is missing that ./tests/run installs. CTest reports it as skipped, not as passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tests/support/toolbox.sh
. tests/support/groups.sh

for needed in tests/conformance tests/browser examples/chat; do
  case $1 in conversations | clients | third_host | proxies | examples | recipes | nodes | browser) ;; *) break ;; esac
  [ -d "$needed/node_modules" ] && continue
  echo "note: skipped: $1: $needed/node_modules is missing; ./tests/run set-up installs it"
  exit "$nothing"
done
logs=build/logs-ctest
mkdir -p "$logs"
ledger=$(mktemp "$logs/ledger.XXXXXX") && trap 'rm -f "$ledger"' EXIT
("$@")
status=$?
awk '{ p += $1; f += $2 } END { if (NR) printf "%d passed, %d failed\n", p, f; exit f > 0 }' "$ledger" || [ $status != 0 ] || status=1
exit $status
