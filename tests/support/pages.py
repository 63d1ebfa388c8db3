#!/usr/bin/env python3
"""README and the pages in include/phx/doc name files, in pictures and in prose: each must be there. usage: pages.py [ROOT]"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2])
headers = root / "include/phx"
named, wrong = 0, []
for page in [root / "README.md", *sorted(headers.glob("doc/*.md"))]:
    if page.name == "protocol.md":
        continue
    for number, line in enumerate(page.read_text().splitlines(), 1):
        for path in re.findall(r"\b[a-z_]+(?:/[a-z0-9_]+)+\.hpp\b", line):
            path = path.removeprefix("phx/")
            named += 1
            if not (headers / path).is_file():
                now = [str(p.relative_to(headers)) for p in headers.rglob(path.rsplit("/", 1)[1])]
                wrong.append(f"FAIL {page.relative_to(root)}:{number}: there is no {path}" + (f"; is it {' or '.join(now)}?" if now else ""))
        for path in re.findall(r"\b(?:examples|tests|benchmarks)/[a-z0-9_./]+\.(?:cpp|hpp|mjs|sh|py|conf|cfg)\b", line):
            named += 1
            if not (root / path).is_file():
                wrong.append(f"FAIL {page.relative_to(root)}:{number}: there is no {path}")
print(*wrong, sep="\n", end="\n" if wrong else "")
print(f"pages: {named - len(wrong)} passed, {len(wrong)} failed")
sys.exit(bool(wrong) or named == 0)
