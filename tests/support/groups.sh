# The groups of tests, for tests/run and for CTest (tests/support/ctest.sh): one function each, which writes its results to the ledger.
# Sourced after toolbox.sh, with the working directory at the root of the project and $logs set. A build is the name of a preset, or
# the path of its folder.

expected() { sed -n "s/^$1 //p" tests/conformance/expected_counts; }
have() { compgen -G "$1" >/dev/null; }
build_of() { case $1 in /*) echo "$1" ;; *) echo "build/$1" ;; esac; }
bin() { echo "$(build_of "$1")/bin/$2"; }
built() { [ -x "$(bin "$1" "$2")" ] || { echo "FAIL $2 was not built"; return 1; }; }

layering() {
  tests/support/layering.py --self-test && tests/support/layering.py && tests/support/readme.py && tests/support/pages.py && ! grep -q '"resolved"' tests/*/package-lock.json
}

# Fails if clang-format 14 would change a file (other versions format differently).
formatted() {
  git ls-files '*.hpp' '*.cpp' | xargs clang-format-14 --dry-run -Werror
}

# clang-tidy for four units that include nearly all headers: a channel and a router, a host's transport, presence over the
# blocking host, long-polling. .clang-tidy selects the checks.
tidy() {
  printf '%s\n' tests/archetype/channel.cpp tests/archetype/transport.cpp examples/10_presence.cpp examples/12_any_http_server.cpp |
    xargs -P "$jobs" -I{} clang-tidy-14 --quiet {} -- -std=c++20 -Iinclude -Itests
}

# Builds the reference; fails if a public name has no comment.
docs() {
  local build
  build=$(build_of "$1")
  cmake --build "$build" --target docs && return
  sed -nE 's/^.*(warning|error): /FAIL &/p' "$build/docs-warnings.txt"
  return 1
}

# build PRESET [TARGET...] [-- CONFIGURE ARGUMENTS]
build() {
  local preset=$1 targets=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do targets+=("$1"); shift; done
  [ "${1:-}" = -- ] && shift
  cmake --preset "$preset" "$@" || return
  cmake --build "build/$preset" -j "$jobs" ${targets:+--target "${targets[@]}"} -- -k 0
}

# units PRESET [few]: runs and counts the doctest cases; fails if fewer conversations are played in process than expected, unless
# `few` is given for a build that cannot play all
units() {
  built "$1" phx_tests || return
  local log=$logs/units-$1.ctest status
  local left_out=()
  [ -x "$(bin "$1" two_units)" ] || left_out=(-E two_units)  # if only some targets were built
  ${RUN_WITH:-} ctest --test-dir "$(build_of "$1")" -L "^unit\$" "${left_out[@]}" --verbose --timeout 600 --no-tests=error >"$log" 2>&1
  status=$?
  cat "$log"
  local p f run=0 there
  while read -r p f; do
    count "$p" "$f"
    run=$((run + p + f))
  done < <(sed -nE 's/.*\[doctest\] test cases: *[0-9]+ \| *([0-9]+) passed \| *([0-9]+) failed.*/\1 \2/p' "$log")
  there=$(${RUN_WITH:-} "$(bin "$1" phx_tests)" --count --no-version | sed -nE 's/.*filters: ([0-9]+)$/\1/p')
  [ "$run" = "$there" ] || { echo "FAIL $run of $there test cases were run"; status=1; }
  if [ "${2:-}" != few ] ; then
    played "$log" 'in process' "$(expected in_process)" || status=1
  else
    sed -nE 's/^.*(in process: .* played)/note: \1/p' "$log"
  fi
  return $status
}

# failing_memory PRESET: the Beast host and the epoll host, with each allocation failing in turn
failing_memory() {
  local program status=0 p f programs=(phx_failing_memory phx_failing_memory_epoll)
  for program in "${programs[@]}"; do
    built "$1" $program || return
    # Side by side: they mostly wait for deadlines.
    timeout 1800 "$(bin "$1" $program)" --no-version >"$logs/$program-$1" 2>&1 &
  done
  for program in "${programs[@]}"; do wait -n || status=1; done
  for program in "${programs[@]}"; do
    cat "$logs/$program-$1"
    read -r p f < <(sed -nE 's/.*\[doctest\] test cases: *[0-9]+ \| *([0-9]+) passed \| *([0-9]+) failed.*/\1 \2/p' "$logs/$program-$1")
    count "${p:-0}" "${f:-1}"
  done
  return $status
}

# played LOG LABEL LEAST: fails unless the log has lines `LABEL: N played, M passed` with no number below LEAST
played() {
  local n m rest lines=0 status=0
  while read -r n m rest; do
    lines=$((lines + 1))
    echo "note: $2: $n played, $m passed${rest:+ $rest}"
    [ "$n" -ge "$3" ] && [ "$m" -ge "$3" ] && continue
    echo "FAIL $2: at least $3 must be played and pass"
    status=1
  done < <(sed -nE "s/^.*$2: ([0-9]+) played, ([0-9]+) passed/\1 \2/p" "$1")
  [ $lines -gt 0 ] || { echo "FAIL $2: nothing was played"; return 1; }
  return $status
}

# conversations PRESET [PLAYER OPTION...] [-- SERVER OPTION...]
conversations() {
  local server log status n m
  server=$(bin "$1" lab_server) log=$logs/$RANDOM.play
  built "$1" lab_server || return
  shift
  ${RUN_WITH:-} node tests/conformance/play.mjs --server "$server" "$@" >"$log"
  status=$?
  cat "$log"
  played "$log" 'over loopback' "$(expected loopback)" || status=1
  read -r n m < <(sed -nE 's/^.*over loopback: ([0-9]+) played, ([0-9]+) passed.*/\1 \2/p' "$log")
  rm -f "$log"
  count "${m:-0}" "$((${n:-0} - ${m:-0}))"
  return $status
}

# checks COMMAND...: runs a program whose last line is `N passed, M failed`
checks() {
  local log=$logs/$RANDOM.checks status
  "$@" >"$log" 2>&1
  status=$?
  cat "$log"
  [ $status = $nothing ] || count_lines "$log" || { echo "FAIL $1 printed no result"; status=1; }
  rm -f "$log"
  return $status
}

clients() {
  built "$1" lab_server || return
  checks node tests/conformance/clients/run.mjs --server "$(bin "$1" lab_server)" "${@:2}" || return
  local passed
  passed=$(awk '{ n += $1 } END { print n }' "$ledger")
  [ "$passed" -ge "$(expected clients)" ] || { echo "FAIL at least $(expected clients) checks of the clients must pass"; return 1; }
}

# Clients that negotiate permessage-deflate
compressed() {
  built "$1" lab_server || return
  install python3-websockets || true  # the test says if it is not there
  checks node tests/deflate/clients.mjs --server "$(bin "$1" lab_server)" &&
    checks node tests/deflate/clients.mjs --server "$(bin "$1" lab_server)" -- --host epoll
}

third_host() {
  built "$1" third_host || return
  checks node tests/third_host/phoenix.mjs --server "$(bin "$1" third_host)"
}

examples() {
  local reader=$PWD/build/prometheus/usr/bin/promtool
  [ ! -x "$reader" ] || export PROMTOOL=$reader
  checks node tests/support/examples.mjs "$(build_of "$1")/bin"
}

# Behind nginx and HAProxy, configured by the files in examples/proxies
proxies() {
  local command PATH=$PATH:/usr/sbin:/usr/local/sbin
  for command in nginx haproxy openssl; do
    command -v $command >/dev/null && continue
    echo "note: skipped: proxies: $command is not installed; ./tests/run set-up installs it"
    return $nothing
  done
  built "$1" behind_proxy || return
  checks timeout 120 node tests/proxies/run.mjs --server "$(bin "$1" behind_proxy)"
}

# The recipes in examples/hosts, each as far as its library is there
recipes() {
  have "$(build_of "$1")/bin/host_*" || { echo "note: skipped: recipes: none was built"; return $nothing; }
  checks node tests/hosts/suite.mjs "$(build_of "$1")/bin"
}

browser() {
  built "$1" chat || return
  checks node tests/browser/chat.mjs --server "$(bin "$1" chat)" --shots build/shots
}

nodes() {
  built "$1" lab_server || return
  checks node tests/nodes/redis.mjs --server "$(bin "$1" lab_server)"
}

near_misses() {
  have 'tests/archetype/near_miss/*.cpp' || return $nothing
  checks tests/support/near_miss.py --cxx "$1" tests/archetype/near_miss
}

# The time and memory that examples/01_echo.cpp takes to compile, within limits.
compile_cost() {
  checks tests/support/compile_cost.py --cxx "$1"
}

# Counts the instructions of the hot path with callgrind, against this compiler's record; and checks that the check can fail.
instructions() {
  export CXX=$1
  checks benchmarks/instructions.sh --check && checks benchmarks/instructions.sh --self-test
}

headers_alone() {
  case $1 in /*) ;; *) cmake --preset "$1" || return ;; esac
  cmake --build "$(build_of "$1")" -j "$jobs" --target all_verify_interface_header_sets -- -k 0
}

# consumer WORK CMAKE_ARGUMENT [TARGET]: builds and runs a project that uses phx
consumer() {
  rm -rf "$1/build"
  cmake -G Ninja -S tests/install -B "$1/build" "$2" && cmake --build "$1/build" -j "$jobs" ${3:+--target "$3"} &&
    ctest --test-dir "$1/build" --output-on-failure --no-tests=error ${3:+-R "^$3\$"}
}
# one COMMAND...: runs a command as one check
one() { if "$@"; then count 1 0; else echo "FAIL $*"; count 0 1; return 1; fi; }

# Uses phx installed, as a subfolder (whose project then installs nothing of phx), as a Debian package, and with pkg-config
consumers() {
  local work=$PWD/build/consumers status=0 build
  build=$(build_of "$1")
  rm -rf "$work"
  cmake --install "$build" --prefix "$work/prefix" >/dev/null || return
  one consumer "$work" "-DCMAKE_PREFIX_PATH=$work/prefix" || status=1
  one consumer "$work" "-DPHX_SOURCE=$PWD" || status=1
  one installs_nothing "$work" || status=1
  cpack -G DEB --config "$build/CPackConfig.cmake" -B "$work/deb" >/dev/null && dpkg -x "$work"/deb/libphx-dev_*_all.deb "$work/root" || return
  one consumer "$work" "-DCMAKE_PREFIX_PATH=$work/root/usr" stranger || status=1
  one by_pkg_config "$work/root/usr" "$build" || status=1
  return $status
}
installs_nothing() {
  DESTDIR=$1/nothing cmake --install "$1/build" >/dev/null && [ -z "$(find "$1/nothing" -type f 2>/dev/null)" ]
}
by_pkg_config() {
  local flags version
  version=$(PKG_CONFIG_PATH=$1/share/pkgconfig pkg-config --modversion phx) &&
    flags=$(PKG_CONFIG_PATH=$1/share/pkgconfig pkg-config --cflags --libs phx) || return
  [ "$version" = "$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$2/CMakeCache.txt")" ] || return
  [ -f "$1/include/phx/doc/protocol.md" ] || return
  # shellcheck disable=SC2086
  g++ -std=c++20 tests/install/main.cpp $flags -o "$1/stranger" && "$1/stranger"
}

fuzz() {
  build fuzz fuzzers || return
  local target name status=0
  for target in build/fuzz/bin/fuzz_*; do
    name=${target##*/fuzz_}
    mkdir -p "build/fuzz/found/$name" "tests/fuzz/corpus/$name"
    if "$target" -max_total_time=10 -timeout=60 -rss_limit_mb=4096 -seed=1 -print_final_stats=1 \
      -artifact_prefix="build/fuzz/found/$name-" "build/fuzz/found/$name" "tests/fuzz/corpus/$name"; then
      count 1 0
    else
      echo "FAIL fuzz_$name"
      count 0 1
      status=1
    fi
  done
  return $status
}

boost_beside() {
  build boost-beside phx_tests -- -DPHX_TEST_ROOMS=adapter \
    -DBoost_DIR="$PWD/build/boost-1.81/usr/lib/$(gcc -dumpmachine)/cmake/Boost-1.81.0" || return
  grep -q 'boost-1.81/usr/include' build/boost-beside/compile_commands.json || { echo "FAIL not built with Boost 1.81"; return 1; }
  units boost-beside few
}

# Without exceptions a join that raises ends the program: the player skips those conversations, and prints which.
without_exceptions() {
  build noexcept phx_tests two_units $(have 'tests/archetype/*.cpp' && echo phx_archetypes) && units noexcept few
}

# emulated MACHINE COMPILER ROOM...: runs the tests of some rooms on another architecture with qemu-user. No adapters: their
# libraries are installed for this architecture only.
emulated() {
  local machine=$1 compiler=$2 rooms log status
  shift 2
  rooms=$(IFS=';'; echo "$*") log=$logs/$machine.emulated
  install "g++-$compiler" qemu-user || return
  cmake --preset dev -B "build/$machine" -DCMAKE_CXX_COMPILER="$compiler-g++" -DPHX_TEST_ROOMS="$rooms" -DPHX_EXAMPLES=OFF \
    -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON -DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON -DPHX_HIREDIS_LIBRARY=OFF || return
  cmake --build "build/$machine" -j "$jobs" --target phx_tests -- -k 0 || return
  "qemu-$machine" -L "/usr/$compiler" "build/$machine/bin/phx_tests" >"$log" 2>&1
  status=$?
  cat "$log"
  count $(sed -nE 's/.*\[doctest\] test cases: *[0-9]+ \| *([0-9]+) passed \| *([0-9]+) failed.*/\1 \2/p' "$log")
  return $status
}

built_and_units() { build "$@" && units "$1"; }

# The thread sanitizer needs the address layout of older kernels.
fixed_addresses() { command -v setarch >/dev/null && echo "setarch $(uname -m) -R"; }
