# Reads the rows (row|NAME|TEXT|FIGURE|GOAL), then the measurements (table NAME ROUND SERVER name=value...), and prints
# the table. A ratio is computed within a round, to the mean of the bare server before and after. -f median.awk -f table.awk
# -v markdown=FILE: the same for the guide. A row whose bare server differs from itself by more than a tenth is noisy: do not publish it.

function figure(which,   i, pair) {
  for (i = 5; i <= NF; ++i)
    if (split($i, pair, "=") == 2 && pair[1] == which) return pair[2] + 0
  return 0
}
function absolute(x) { return x < 0 ? -x : x }
# The median over the rounds of one server's figure.
function middle(name, who,   r, list) {
  for (r = 1; r <= rounds; ++r) list[r] = value[name, r, who]
  return median(list, rounds)
}
function limit(name, r) { return (value[name, r, "bare"] + value[name, r, "bare_again"]) / 2 }

/^row\|/ {
  split($0, part, "|")
  order[++rows] = part[2]
  label[part[2]] = part[3]
  which[part[2]] = part[4]
  goal[part[2]] = part[5]
  next
}
$1 == "table" && $2 in which {
  value[$2, $3, $4] = figure(which[$2]) / (which[$2] == "cpu_us" ? 1 : 1024)
  if ($3 > rounds) rounds = $3
  if ($4 == "other") against = 1
  if ($4 == "socket_io") beside = 1
}
END {
  if (markdown) print "| median of " rounds " rounds, min to max | bare | phx on Beast | ratio | goal |\n| --- | ---: | ---: | ---: | ---: |" > markdown
  printf "%-46s %8s %8s %18s %9s %8s %8s %9s%s\n", "server CPU per message, us; medians of " rounds " rounds", "bare", "phx", "x bare (from to)",
    "+- bare", "goal", "", "on epoll", (beside ? "  Socket.IO" : "") (against ? "   this / the other (+-)" : "")
  for (i = 1; i <= rows; ++i) {
    name = order[i]
    absolute_goal = goal[name] ~ /KiB/
    for (r = 1; r <= rounds; ++r) {
      ratio[r] = value[name, r, "phx"] / limit(name, r)
      epoll[r] = value[name, r, "epoll"] / limit(name, r)
      # The noise: the bare server against itself.
      apart[r] = absolute(value[name, r, "bare_again"] - value[name, r, "bare"]) / (absolute_goal ? 1 : limit(name, r))
      both[r] = limit(name, r)
      if (beside) theirs[r] = value[name, r, "socket_io"] / limit(name, r)
      if (against) {
        change[r] = value[name, r, "phx"] / value[name, r, "other"]
        moved[r] = change[r]
      }
    }
    times = median(ratio, rounds)
    spread = median(apart, rounds)
    held = absolute_goal ? middle(name, "phx") : times
    met = held - spread <= goal[name] + 0
    noise = spread / (absolute_goal ? median(both, rounds) : 1)
    if (noise > 0.1) noisy[++noises] = label[name] sprintf(": the bare server varies by %.0f %%", 100 * noise)
    if (markdown) {
      unit = absolute_goal ? "KiB" : "µs"
      printf "| %s | %.2f %s | %.2f %s | %s | %s |\n", label[name], median(both, rounds), unit, middle(name, "phx"), unit,
        (absolute_goal ? "" : sprintf("%.2f (%.2f to %.2f)", times, ratio[1], ratio[rounds])), goal[name] > markdown
    }
    if (!met) missed[++misses] = label[name] ": " sprintf("%.2f", held) ", goal " goal[name]
    printf "%-46s %8.2f %8.2f %6.2f (%4.2f %4.2f) %9.2f %8s %8s %9.2f", label[name], median(both, rounds), middle(name, "phx"),
      times, ratio[1], ratio[rounds], spread, goal[name], met ? "met" : "NOT MET", median(epoll, rounds)
    if (beside) printf "  %9.2f", median(theirs, rounds)
    if (against) {
      now = median(change, rounds)
      for (r = 1; r <= rounds; ++r) moved[r] = absolute(moved[r] - now)
      printf "   %14.3f (%.3f)", now, median(moved, rounds)
    }
    print ""
  }
  for (i = 1; i <= noises; ++i) print "too noisy to publish: " noisy[i]
  for (i = 1; i <= misses; ++i) print "not met: " missed[i]
  if (!misses) print "all goals are met"
}
