# Lines of `SERIES X VALUE`, one for each round, become `SERIES X MEDIAN LEAST MOST`, for draw.awk. -f median.awk -f spread.awk
# Status 3, and a sentence on standard error, when the machine was too noisy to draw: at the point in the middle of all, half of
# the rounds lie further apart than -v most= (0.5) of their median. What others do on the machine would then be in the picture.

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
    printf "too noisy to draw: at the typical point the middle half of %d rounds is %.0f %% of the median apart, at most %.0f %% may be\n",
      n, 100 * noise, 100 * most > "/dev/stderr"
    exit 3
  }
}
