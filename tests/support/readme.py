#!/usr/bin/env python3
"""README.md shows programs verbatim: `<!-- verbatim: FILE -->` before a code block. Checks that they are (--write makes it so)."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
readme = root / "README.md"
text = readme.read_text()
shown = re.compile(r"<!-- verbatim: (\S+) -->\n```cpp\n(.*?)```", re.S)
found = shown.findall(text)
if not found:
    sys.exit("FAIL README.md shows no program")
if "--write" in sys.argv:
    readme.write_text(shown.sub(lambda m: f"<!-- verbatim: {m[1]} -->\n```cpp\n{(root / m[1]).read_text()}```", text))
    sys.exit()
wrong = [file for file, code in found if code != (root / file).read_text()]
for file in wrong:
    print(f"FAIL README.md does not show {file} as it is: tests/support/readme.py --write")
print(f"{len(found) - len(wrong)} passed, {len(wrong)} failed")
sys.exit(bool(wrong))
