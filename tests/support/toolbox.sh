# Shared by tests/run and examples/run: installing missing packages, running and timing groups, and the ledger of results.
# Sourced with the working directory at the root of the project.

jobs=$(nproc)

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# install PACKAGE...: installs missing packages; updates the package lists only if there are any
install() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  echo "installing ${missing[*]}"
  as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# install_without_service PACKAGE: installs a package without starting its service. Running services are not affected.
install_without_service() {
  command -v "$1" >/dev/null && return
  if [ -e /usr/sbin/policy-rc.d ]; then
    install "$1"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null && as_root chmod +x /usr/sbin/policy-rc.d
  install "$1"
  local status=$?
  as_root rm -f /usr/sbin/policy-rc.d
  return $status
}

# install_commands COMMAND=PACKAGE...: installs the packages of missing commands. A command from another source is accepted.
install_commands() {
  local missing=() pair
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
  [ ${#missing[@]} = 0 ] || install "${missing[@]}"
}

# npm_ci FOLDER: installs node_modules by the lock file, once
npm_ci() {
  [ -f "$1/package-lock.json" ] || return 0
  cmp -s "$1/package-lock.json" "$1/node_modules/.lock-that-was-installed" && return 0
  echo "npm ci in $1"
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund && cp package-lock.json node_modules/.lock-that-was-installed)
}

now() { date +%H:%M:%S; }

nothing=77  # the status of a skipped group; its log has a line `note: skipped: NAME: REASON`
all_passed=0 all_failed=0 pending=() summary=()

# group NAME COMMAND...: runs a command with its output in a log; prints the seconds, and the end of the log if it fails
group() {
  local name=$1 log status from=$SECONDS
  shift
  log=$logs/${name//[^A-Za-z0-9_.+-]/-}.log
  ledger=$logs/ledger
  : >"$ledger"
  printf '%s  %s ...\n' "$(now)" "$name"
  ("$@") >"$log" 2>&1 </dev/null
  status=$?
  local seconds=$((SECONDS - from)) passed=0 failed=0 p f
  while read -r p f; do passed=$((passed + p)) failed=$((failed + f)); done <"$ledger"
  local result="$passed passed, $failed failed"
  if [ $status = $nothing ]; then
    local reason
    reason=$(sed -n 's/^note: skipped: //p' "$log" | head -n 1)
    pending+=("${reason:-$name: nothing to run yet}")
    printf '%s  skipped: %s\n' "$(now)" "${reason:-$name: nothing to run yet}"
    return 0
  fi
  if [ $status != 0 ]; then
    [ $failed -gt 0 ] || failed=1
    result="FAILED, $passed passed, $failed failed"
    grep -nE 'FAIL|ERROR|error:|SUMMARY|undefined reference' "$log" | head -40
    echo "--- the end of $log"
    tail -n 40 "$log"
    echo "---"
  elif [ $passed = 0 ]; then
    result=done
  fi
  [ $status = 0 ] || failures=1
  all_passed=$((all_passed + passed)) all_failed=$((all_failed + failed))
  grep -hE '^note: ' "$log" | sed "s/^note: /          /"
  summary+=("$(printf '%6d s  %-44s %s' "$seconds" "$name" "$result")")
  printf '%s  %s: %s, %d s\n' "$(now)" "$name" "$result" "$seconds"
}

count() { echo "$1 $2" >>"$ledger"; }

# count_lines FILE: adds up every line that ends in `N passed, M failed`
count_lines() {
  local p f found=1
  while read -r p f; do count "$p" "$f"; found=0; done < <(sed -nE 's/^.*\b([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$1")
  return $found
}

# closing: prints the seconds of each group, the skipped groups, and the total
closing() {
  echo
  printf '%s\n' "${summary[@]}"
  [ ${#pending[@]} = 0 ] || printf '  skipped: %s\n' "${pending[@]}"
  printf '%6d s  total\n\n%d passed, %d failed\n' "$SECONDS" "$all_passed" "$all_failed"
  [ "$all_failed" = 0 ] && [ "$all_passed" -gt 0 ]
}
