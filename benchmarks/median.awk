# What several rounds say together: used with -f before the script that asks.

function sorted(list, n,   i, j, x) {
  for (i = 2; i <= n; ++i) {
    x = list[i]
    for (j = i - 1; j > 0 && list[j] > x; --j) list[j + 1] = list[j]
    list[j + 1] = x
  }
}
# Sorts the list as well: list[1] is then the least, list[n] the most.
function median(list, n) {
  sorted(list, n)
  return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
# How far the middle half of a sorted list reaches, as a part of its median.
function middle_half(list, n,   m) {
  m = median(list, n)
  return m > 0 ? (list[n - int((n - 1) / 4)] - list[1 + int((n - 1) / 4)]) / m : 0
}
