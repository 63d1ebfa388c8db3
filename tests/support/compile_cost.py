#!/usr/bin/env python3
"""What the smallest program, examples/01_echo.cpp, costs to compile at -O2.

usage: compile_cost.py --cxx g++

Prints its time as a ratio to that of the standard headers that it includes, which does not depend on the machine, and its
memory. Fails above the limits below. The memory hardly varies and its limit is tight; the ratio varies with what else the
machine does, so each is the least of three runs and the limit is generous. With another compiler than GCC it only prints.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
example = "examples/01_echo.cpp"
MOST_MEGABYTES = 335
MOST_RATIO = 16.0
RUNS = 2


def standard_headers(compiler):
    """The #include lines of all headers of ours that the example includes, of headers that are not."""
    rule = subprocess.run([compiler, "-std=c++20", "-Iinclude", "-M", example], cwd=root, capture_output=True, text=True, check=True)
    ours = [f for f in rule.stdout.replace("\\\n", " ").split() if f.startswith("include/phx/")]
    lines = {m[0] for f in ours for m in re.finditer(r"^#include <(?!phx/)[^>]+>$", (root / f).read_text(), re.M)}
    return "".join(line + "\n" for line in sorted(lines))


def measure(compiler, source, out):
    """Seconds of user time and megabytes at the peak, of one compilation in a process of its own."""
    code = ("import resource, subprocess, sys; status = subprocess.run(sys.argv[1:]).returncode; "
            "u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime, u.ru_maxrss); sys.exit(status)")
    command = [compiler, "-std=c++20", "-O2", "-Iinclude", "-c", source, "-o", out]
    run = subprocess.run([sys.executable, "-c", code, *command], cwd=root, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    seconds, kilobytes = run.stdout.split()
    return float(seconds), int(kilobytes) / 1024


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cxx", default="g++")
    compiler = arguments.parse_args().cxx
    with tempfile.TemporaryDirectory() as work:
        headers = pathlib.Path(work) / "headers.cpp"
        headers.write_text(standard_headers(compiler))
        runs = [(measure(compiler, str(headers), f"{work}/o"), measure(compiler, example, f"{work}/o")) for _ in range(RUNS)]
    base = min(h[0] for h, _ in runs)
    seconds = min(e[0] for _, e in runs)
    megabytes = min(e[1] for _, e in runs)
    ratio = seconds / base
    print(f"note: {example} at -O2: {seconds:.1f} s, {ratio:.1f} times its standard headers ({base:.1f} s), {megabytes:.0f} MB")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    if "Free Software Foundation" not in version:
        print("1 passed, 0 failed")
        return 0
    failed = 0
    for name, value, most in (("megabytes", megabytes, MOST_MEGABYTES), ("times its standard headers", ratio, MOST_RATIO)):
        if value > most:
            print(f"FAIL {example} at -O2: {value:.1f} {name}, at most {most}")
            failed += 1
    print(f"{2 - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
