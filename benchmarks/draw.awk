# Lines of `SERIES X MEDIAN LEAST MOST` as an SVG, both axes logarithmic: a line through the medians, and a band and whiskers from
# the minimum to the maximum of the rounds. -v title= -v xname= -v yname= -v note=; an underscore in a series is a space.

function log10(v) { return log(v) / log(10) }
function floor(v) { return int(v) > v ? int(v) - 1 : int(v) }
function px(v) { return left + (log10(v) - x0) / (x1 - x0) * (right - left) }
function py(v) { return bottom - (log10(v) - y0) / (y1 - y0) * (bottom - top) }
function short(v) { return v >= 1000000 ? v / 1000000 "M" : v >= 1000 ? v / 1000 "k" : v "" }
function text(x, y, anchor, label) { printf "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, label }

NF == 5 && $2 > 0 && $4 > 0 {
  if (!($1 in count)) names[++series] = $1
  n = ++count[$1]
  xs[$1, n] = $2
  ys[$1, n] = $3
  low[$1, n] = $4
  high[$1, n] = $5
  if (!seen++) { xl = xh = $2; yl = $4; yh = $5 }
  if ($2 < xl) xl = $2
  if ($2 > xh) xh = $2
  if ($4 < yl) yl = $4
  if ($5 > yh) yh = $5
}
END {
  if (!seen) { print "draw: no points" > "/dev/stderr"; exit 1 }
  left = 56; right = 590; top = 44; bottom = 300
  x0 = log10(xl); x1 = log10(xh); y0 = floor(log10(yl)); y1 = floor(log10(yh)) + 1
  if (x1 - x0 < 0.01) x1 = x0 + 1
  split("#8a8f98 #c2410c #b8bcc4 #f59e0b #2563eb #7c3aed", colour, " ")
  if (series == 1) colour[1] = "#c2410c"
  if (series == 4) { colour[2] = "#b8bcc4"; colour[3] = "#c2410c" }  # two servers with two lines each
  print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 350\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">"
  print "<rect width=\"640\" height=\"350\" fill=\"#fff\"/>"
  printf "<text x=\"%d\" y=\"20\" font-size=\"14\" font-weight=\"bold\">%s</text>\n", left, title
  for (d = y0; d <= y1; ++d)
    for (k = 1; k <= 5; k += k < 2 ? 1 : 3) {
      v = k * 10 ^ d
      if (log10(v) > y1 + 0.001) break
      printf "<path d=\"M%d %.1fH%d\" stroke=\"%s\"/>\n", left, py(v), right, k == 1 ? "#ccc" : "#eee"
      if (k == 1 || y1 - y0 < 3) text(left - 6, py(v) + 4, "end", short(v))
    }
  for (d = floor(x0); d <= x1 + 0.001; ++d)
    if (d >= x0 - 0.001) {
      printf "<path d=\"M%.1f %dV%d\" stroke=\"#ccc\"/>\n", px(10 ^ d), top, bottom
      text(px(10 ^ d), bottom + 16, "middle", short(10 ^ d))
    }
  text((left + right) / 2, bottom + 36, "middle", xname (note == "" ? "" : "; " note))
  text(left - 6, top - 8, "start", yname)
  for (i = 1; i <= series; ++i) {
    s = names[i]
    line = band = ""
    for (n = 1; n <= count[s]; ++n) band = band sprintf("%s%.1f %.1f", n == 1 ? "M" : "L", px(xs[s, n]), py(high[s, n]))
    for (n = count[s]; n >= 1; --n) band = band sprintf("L%.1f %.1f", px(xs[s, n]), py(low[s, n]))
    printf "<path d=\"%sZ\" fill=\"%s\" fill-opacity=\"0.15\"/>\n", band, colour[i]
    for (n = 1; n <= count[s]; ++n)
      printf "<path d=\"M%.1f %.1fV%.1f\" stroke=\"%s\"/>\n", px(xs[s, n]), py(low[s, n]), py(high[s, n]), colour[i]
    for (n = 1; n <= count[s]; ++n) line = line sprintf("%s%.1f %.1f", n == 1 ? "M" : "L", px(xs[s, n]), py(ys[s, n]))
    printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", line, colour[i]
    for (n = 1; n <= count[s]; ++n) printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px(xs[s, n]), py(ys[s, n]), colour[i]
    label = s
    gsub(/_/, " ", label)
    printf "<rect x=\"%.0f\" y=\"%d\" width=\"12\" height=\"3\" fill=\"%s\"/>\n", 226 + (i - 1) % 4 * 96, 34, colour[i]
    text(242 + (i - 1) % 4 * 96, 39, "start", label)
  }
  print "</svg>"
}
