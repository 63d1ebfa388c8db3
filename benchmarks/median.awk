# Statistics of several rounds: used with -f before the script that needs them.

function sorted(list, n,   i, j, x) {
  for (i = 2; i <= n; ++i) {
    x = list[i]
    for (j = i - 1; j > 0 && list[j] > x; --j) list[j + 1] = list[j]
    list[j + 1] = x
  }
}
# Sorts the list as well: list[1] is then the minimum, list[n] the maximum.
function median(list, n) {
  sorted(list, n)
  return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
# The interquartile range of a sorted list, divided by its median.
function middle_half(list, n,   m) {
  m = median(list, n)
  return m > 0 ? (list[n - int((n - 1) / 4)] - list[1 + int((n - 1) / 4)]) / m : 0
}
