#!/usr/bin/env python3
"""Each near miss must not compile, and the compiler must name the mistake.

usage: near_miss.py --cxx g++ [--cxx clang++-14] FOLDER

Every .cpp in FOLDER begins with `// error: TEXT`; TEXT must be in the compiler's output. A file with a second line
`// clang: TEXT` expects that text from Clang instead. A file that fails for another reason is a failure.
"""
import argparse
import concurrent.futures
import pathlib
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parents[2]


def expected(source, compiler):
    lines = source.read_text().splitlines()[:2]
    if not lines or not lines[0].startswith("// error: "):
        return None
    if "clang" in compiler and len(lines) > 1 and lines[1].startswith("// clang: "):
        return lines[1].removeprefix("// clang: ").strip()
    return lines[0].removeprefix("// error: ").strip()


def check(compiler, source):
    text = expected(source, compiler)
    if text is None:
        return "its first line must be `// error: TEXT`"
    result = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-I", root / "include", "-I", root / "tests", source],
        capture_output=True, text=True, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"})
    if result.returncode == 0:
        return "it compiles"
    if text not in result.stderr:
        errors = [line for line in result.stderr.splitlines() if "error" in line][:3]
        return f"the compiler does not print {text!r} but\n    " + "\n    ".join(errors)
    return None


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cxx", action="append", required=True)
    options.add_argument("folder", type=pathlib.Path)
    given = options.parse_args()
    jobs = [(compiler, source) for compiler in given.cxx for source in sorted(given.folder.glob("*.cpp"))]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (compiler, source), wrong in zip(jobs, pool.map(lambda job: check(*job), jobs)):
            if wrong:
                failed += 1
                print(f"FAIL {compiler}: {source.name}: {wrong}")
    print(f"near misses: {len(jobs) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
