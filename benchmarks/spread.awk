# Lines of `SERIES X VALUE`, one for each round, become `SERIES X MEDIAN LEAST MOST`, for draw.awk. -f median.awk -f spread.awk
# Status 3, and a message on standard error, if the machine was too noisy to draw: at the median point, the middle half of
# the rounds spreads over more than -v most= (0.5) of their median. The chart would then show the load of other processes.

NF == 3 {
  point = $1 " " $2
  if (!(point in count)) points[++all] = point
  value[point, ++count[point]] = $3
}
END {
  if (!all) { print "no rounds" > "/dev/stderr"; exit 1 }
  if (most == "") most = 0.5
  for (i = 1; i <= all; ++i) {
    n = count[points[i]]
    for (r = 1; r <= n; ++r) list[r] = value[points[i], r]
    apart[i] = middle_half(list, n)
    printf "%s %.6g %.6g %.6g\n", points[i], median(list, n), list[1], list[n]
  }
  noise = median(apart, all)
  if (noise > most) {
    printf "too noisy to draw: at the typical point the middle half of %d rounds spreads over %.0f %% of the median; the limit is %.0f %%\n",
      n, 100 * noise, 100 * most > "/dev/stderr"
    exit 3
  }
}
