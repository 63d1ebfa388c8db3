#!/usr/bin/env python3
"""Checks the layering: which headers may include which, and that programs use the public API only.

usage: layering.py [ROOT]        prints every breach; fails if there is one
       layering.py --self-test   checks trees with one breach each, and one without
"""
import pathlib
import re
import sys
import tempfile

# A header includes only its own room and those to its left; rooms of one rank do not include each other.
RANK = {"core": 0, "message": 1, "serializer": 2, "http": 3, "websocket": 4, "pubsub": 5, "connect": 6, "loop": 7, "socket": 8, "channel": 9,
        "presence": 10, "longpoll": 10, "metrics": 10, "erlang": 11, "adapter": 12, "testing": 12}
STANDARD = set(
    "algorithm any array atomic barrier bit bitset cassert cctype cerrno charconv chrono cinttypes climits cmath compare "
    "concepts condition_variable coroutine cstddef cstdint cstdio cstdlib cstring ctime deque exception execution filesystem "
    "format forward_list fstream functional future initializer_list iomanip ios iosfwd iostream istream iterator latch limits "
    "list locale map memory memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex "
    "scoped_allocator semaphore set shared_mutex source_location span sstream stack stdexcept stop_token streambuf string "
    "string_view strstream syncstream system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set "
    "utility valarray variant vector version".split())
SLOW_TO_INCLUDE = {"functional", "iostream", "regex"}
# Headers outside adapter/ that need more than the standard library, each with its reason.
EXCEPTIONS = {
    # SSE2 to scan strings with, where the compiler has it.
    "core/text/byte_block.hpp": {"emmintrin.h"},
    # Phoenix.Token and Plug's cookies are signed and encrypted. A header of the target phx::token, which links OpenSSL.
    "erlang/detail/crypto.hpp": {"openssl/crypto.h", "openssl/evp.h", "openssl/hmac.h", "openssl/rand.h"},
    # Only with PHX_ZLIB, which the targets define that link zlib.
    "erlang/compressed_term.hpp": {"zlib.h"},
    # RFC 7692, in the room of RFC 6455. A header of the target phx::deflate, which links zlib.
    "websocket/detail/zlib_stream.hpp": {"zlib.h"},
    # strtod_l: libc++ has no from_chars for double before LLVM 20, and strtod depends on the locale.
    "erlang/etf_writer.hpp": {"locale.h"},
}
# Headers that need another library, and which headers outside adapter/ may include them: phx.hpp and the rest of its room may not.
NOT_FOR_EVERYBODY = {"phx/websocket/detail/zlib_stream.hpp": {"websocket/deflate.hpp"}, "phx/websocket/deflate.hpp": set(),
                     "phx/erlang/detail/crypto.hpp": {"erlang/token.hpp", "erlang/session_cookie.hpp"},
                     "phx/erlang/token.hpp": set(), "phx/erlang/session_cookie.hpp": set()}

MACROS = {"core/detail/build.hpp": "PHX_BUILD", "version.hpp": r"PHX_VERSION\w*"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def without_comments(text):
    """Blanks out comments; keeps strings and line numbers."""
    token = re.compile(r'R"([^()\\\s]{0,16})\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0][:2] in ("//", "/*") else m[0], text)


def without_strings(text):
    token = re.compile(r'R"([^()\\\s]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S)
    return token.sub(lambda m: '""' + "\n" * m[0].count("\n"), text)


def strings_of(text):
    token = re.compile(r'R"([^()\\\s]{0,16})\((.*?)\)\1"|"((?:\\.|[^"\\\n])*)"', re.S)
    for m in token.finditer(text):
        yield m.start(), m[2] if m[2] is not None else m[3].replace('\\"', '"')


def namespace_scope(text):
    """Blanks out every body that is not a namespace's."""
    out, outer, head = [], [], ""
    for c in text:
        if c == "{":
            outer.append(all(outer) and bool(re.search(r'(\bnamespace\b[^;{}()]*|extern\s*"")\s*$', head)))
            out.append(c if all(outer) else " ")
            head = ""
        elif c == "}":
            out.append(c if all(outer) else " ")
            if outer:
                outer.pop()
            head = ""
        else:
            out.append(c if all(outer) or c == "\n" else " ")
            head = "" if c == ";" else head + c
    return "".join(out)


class Tree:
    def __init__(self, root):
        self.root = root
        self.breaches = []
        self.files = 0
        fwd = root / "include/phx/fwd.hpp"
        self.forward = without_comments(fwd.read_text()) if fwd.exists() else ""

    def breach(self, path, text, at, why):
        line = text.count("\n", 0, at) + 1
        self.breaches.append(f"{path.relative_to(self.root)}:{line}: {why}")

    def header(self, path):
        self.files += 1
        inside = path.relative_to(self.root / "include/phx")
        room = inside.parts[0] if len(inside.parts) > 1 else None  # phx.hpp and fwd.hpp belong to no room
        raw = path.read_text()
        text = without_comments(raw)
        if room is not None and room not in RANK:
            self.breach(path, text, 0, f"'{room}' is not a room")
            return

        for m in INCLUDE.finditer(text):
            self.include(path, inside, room, text, m)
        code = without_strings(text)
        for word in re.finditer(r"\bthread_local\b", code):
            self.breach(path, code, word.start(), "thread_local: a loop is not a thread")
        for m in re.finditer(r"\b__COUNTER__\b|\bnamespace\s*\{", code):
            self.breach(path, code, m.start(), "no unnamed namespace and no __COUNTER__ in a header")
        for m in re.finditer(r"^[ \t]*static\b(?!_)", namespace_scope(re.sub(r"(?m)^[ \t]*#.*$", "", code)), re.M):
            self.breach(path, code, m.start(), "no static at namespace scope: each unit would have its own")
        self.macros(path, inside, code)
        if room is not None and RANK[room] < RANK["adapter"] and "detail" not in inside.parts:
            self.named(path, code)

    def named(self, path, code):
        """Every public type of the rooms up to longpoll/ can be named by a header that includes fwd.hpp alone."""
        outer = namespace_scope(code)
        public = re.sub(r"namespace detail \{.*?\n\}", lambda m: re.sub(r"[^\n]", " ", m[0]), outer, flags=re.S)
        for m in re.finditer(r"^(?:struct|class|enum class)\s+(?:\[\[\w+\]\]\s*)?(\w+)", public, re.M):
            if re.search(r"template <[^>]*\bv1_wire\b[^>]*>\s*$", code[:m.start()]):
                continue  # its parameter has a class type, which must be complete
            if re.match(r"[^;{<]*\{", code[m.end():]) and not re.search(rf"\b(?:struct|class)\s+{m[1]}\b", self.forward):
                self.breach(path, public, m.start(), f"{m[1]} is not declared in fwd.hpp")

    def include(self, path, inside, room, text, m):
        what = m[2]
        if room not in ("adapter", "testing") and str(inside) not in NOT_FOR_EVERYBODY.get(what, {str(inside)}):
            self.breach(path, text, m.start(), f"{what}: needs another library; programs and adapters include it")
        elif what.startswith("phx/"):
            parts = what.split("/")[1:]
            if len(parts) == 1:
                if parts[0] == "phx.hpp" and room is None:
                    self.breach(path, text, m.start(), "no header includes phx.hpp")
                elif parts[0] == "phx.hpp" and RANK[room] < RANK["adapter"]:
                    self.breach(path, text, m.start(), f"{what}: {room} must include only the headers it needs")
                elif parts[0] not in ("phx.hpp", "fwd.hpp", "version.hpp"):
                    self.breach(path, text, m.start(), f"{what}: no such header")
                return
            there = parts[0]
            if inside.name == "fwd.hpp" and room is None:
                if what != "phx/core/detail/build.hpp":
                    self.breach(path, text, m.start(), f"{what}: fwd.hpp has no bodies")
            elif "detail" in parts[1:-1] and there != room:
                self.breach(path, text, m.start(), f"{what}: detail/ is private to its room")
            elif there not in RANK:
                self.breach(path, text, m.start(), f"{what}: no such room")
            elif room is None:
                if RANK[there] > RANK["longpoll"]:
                    self.breach(path, text, m.start(), f"{what}: not for {inside.name}")
            elif there != room and RANK[there] >= RANK[room]:
                self.breach(path, text, m.start(), f"{what}: {room} may not include {there}")
        elif m[1] == '"':
            self.breach(path, text, m.start(), f"\"{what}\": headers are included as <phx/...>")
        elif room != "adapter":
            if what not in STANDARD | EXCEPTIONS.get(str(inside), set()):
                self.breach(path, text, m.start(), f"<{what}>: only adapter/ includes headers outside the standard library")
            elif what in SLOW_TO_INCLUDE:
                self.breach(path, text, m.start(), f"<{what}>: slow to include, keep it out of public headers")

    def macros(self, path, inside, code):
        guard = "PHX_" + re.sub(r"[^A-Z0-9]", "_", str(inside).upper())
        if not re.search(rf"^#ifndef {guard}\n#define {guard}$", code, re.M):
            self.breach(path, code, 0, f"the include guard must be {guard}")
        for m in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", code, re.M):
            if m[1] != guard and not re.fullmatch(MACROS.get(str(inside), ""), m[1]):
                self.breach(path, code, m.start(), f"macro {m[1]}: only the include guard is allowed")

    def program(self, path):
        self.files += 1
        text = without_comments(path.read_text())
        for m in INCLUDE.finditer(text):
            if m[2].startswith("phx/") and "/detail/" in m[2]:
                self.breach(path, text, m.start(), f"{m[2]}: programs use the public API")
        code = without_strings(text)
        for m in re.finditer(r"\bdetail\s*::", code):
            self.breach(path, code, m.start(), "detail:: : programs use the public API")
        for at, value in strings_of(text):
            if re.match(r"phx_(?!tests)", value) or '"phx_' in value:
                self.breach(path, text, at, f"the event {value[:40]!r}: programs do not write the protocol")
            elif re.search(r'\[\s*(null|"[^"]*")\s*,\s*(null|"[^"]*")\s*,\s*"[^"]*"\s*,\s*"[^"]*"\s*,', value) or re.search(
                    r'"topic"\s*:.*"event"\s*:|"event"\s*:.*"topic"\s*:', value, re.S):
                self.breach(path, text, at, "a frame's JSON: programs do not write the protocol")

    def check(self):
        for path in sorted((self.root / "include/phx").rglob("*.hpp")):
            self.header(path)
        for kind in ("*.cpp", "*.hpp"):
            for path in sorted((self.root / "examples").rglob(kind)):
                if "node_modules" not in path.parts:
                    self.program(path)
        return self.breaches


def guarded(inside, body):
    guard = "PHX_" + re.sub(r"[^A-Z0-9]", "_", inside.upper())
    return f"#ifndef {guard}\n#define {guard}\n{body}\n#endif\n"


GOOD = {
    "include/phx/core/detail/build.hpp": "#define PHX_BUILD with_exceptions",
    "include/phx/core/frame.hpp": "#include <phx/core/detail/build.hpp>\n#include <vector>\n"
                                  "// static, thread_local, #include <regex> and namespace {} in a comment are nothing\n"
                                  "namespace phx::inline PHX_BUILD {\nstruct frame { static int count(); };\n"
                                  "inline int f() {\n  static constexpr int seven = 7;\n  return seven;\n}\n}",
    "include/phx/loop/topics.hpp": "#include <phx/core/frame.hpp>\n#include <phx/fwd.hpp>",
    "include/phx/fwd.hpp": "#include <phx/core/detail/build.hpp>\nnamespace phx { struct frame; }",
    "include/phx/phx.hpp": "#include <phx/loop/topics.hpp>",
    "include/phx/adapter/beast.hpp": "#include <boost/asio.hpp>\n#include <functional>\n#include <phx/phx.hpp>",
    "examples/01_echo.cpp": '#include <phx/phx.hpp>\n#include <iostream>\nint main() { auto a = R"({"tick":1})"; }',
}
BAD = {
    "a room to the right": ("include/phx/core/a.hpp", "#include <phx/loop/topics.hpp>"),
    "a room of the same rank": ("include/phx/testing/a.hpp", "#include <phx/adapter/beast.hpp>"),
    "no such room": ("include/phx/client/a.hpp", ""),
    "another room's detail": ("include/phx/pubsub/a.hpp", "#include <phx/core/detail/build.hpp>"),
    "everything": ("include/phx/socket/a.hpp", "#include <phx/phx.hpp>"),
    "an adapter in phx.hpp": ("include/phx/phx.hpp", "#include <phx/adapter/beast.hpp>"),
    "a room in fwd.hpp": ("include/phx/fwd.hpp", "#include <phx/loop/topics.hpp>\nstruct frame;"),
    "a type that fwd.hpp does not name": ("include/phx/core/a.hpp", "namespace phx {\nstruct stranger {\n  int x;\n};\n}"),
    "a third party": ("include/phx/core/a.hpp", "#include <nlohmann/json.hpp>"),
    "zlib for everybody": ("include/phx/socket/a.hpp", "#include <phx/websocket/deflate.hpp>"),
    "OpenSSL for everybody": ("include/phx/erlang/a.hpp", "#include <phx/erlang/token.hpp>"),
    "zlib beside its header": ("include/phx/websocket/a.hpp", "#include <zlib.h>"),
    "an operating system": ("include/phx/core/a.hpp", "#include <sys/socket.h>"),
    "a third party in another header of the room": ("include/phx/erlang/a.hpp", "#include <openssl/evp.h>"),
    "a quoted include": ("include/phx/core/a.hpp", '#include "frame.hpp"'),
    "<iostream>": ("include/phx/core/a.hpp", "#include <iostream>"),
    "<functional>": ("include/phx/testing/a.hpp", "#  include <functional>"),
    "<regex>": ("include/phx/channel/a.hpp", "#include <regex>"),
    "thread_local": ("include/phx/core/a.hpp", "inline thread_local int x;"),
    "an unnamed namespace": ("include/phx/core/a.hpp", "namespace phx { namespace\n{ int x; } }"),
    "static at namespace scope": ("include/phx/core/a.hpp", "namespace phx {\nstruct frame { int x{}; };\nstatic int x;\n}"),
    "__COUNTER__": ("include/phx/core/a.hpp", "inline int x = __COUNTER__;"),
    "a macro": ("include/phx/core/a.hpp", "#define PHX_ASSERT(x)"),
    "a version told elsewhere": ("include/phx/core/a.hpp", "#define PHX_VERSION_MAJOR 2"),
    "PHX_BUILD made elsewhere": ("include/phx/core/a.hpp", "#define PHX_BUILD mine"),
    "a program with detail": ("examples/02.cpp", "#include <phx/core/detail/build.hpp>"),
    "a program with detail::": ("examples/02.cpp", "auto x = phx::detail::f();"),
    "a program with an event of the protocol": ("examples/lab_server/02.cpp", 'auto x = "phx_join";'),
    "a program with such an event in JSON": ("examples/02.cpp", 'auto x = "{\\"event\\":\\"phx_close\\"}";'),
    "a program with a V2 frame": ("examples/02.cpp", 'auto x = R"([null,"1","room:a","echo",{}])";'),
    "a program with a V1 frame": ("examples/02.cpp", 'auto x = R"({"topic":"room:a","event":"echo","payload":{}})";'),
}


def self_test():
    wrong = 0

    def breaches(files):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, body in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(guarded(name.removeprefix("include/phx/"), body) if name.startswith("include/") else body)
            return Tree(root).check()

    said = breaches(GOOD)
    if said:
        wrong += 1
        print("FAIL a good tree is refused:\n  " + "\n  ".join(said))
    for name, (path, body) in BAD.items():
        said = breaches(GOOD | {path: body})
        if len(said) != 1 or not said[0].startswith(path):
            wrong += 1
            print(f"FAIL {name}: expected one breach in {path}, got {said}")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "include/phx/core/a.hpp"
        path.parent.mkdir(parents=True)
        path.write_text("#pragma once\n")
        if not Tree(pathlib.Path(folder)).check():
            wrong += 1
            print("FAIL a header without a guard named by its path is not refused")
    total = len(BAD) + 2
    print(f"layering, its own test: {total - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    tree = Tree(pathlib.Path(sys.argv[1]).resolve() if sys.argv[1:] else pathlib.Path(__file__).resolve().parents[2])
    for breach in tree.check():
        print(f"FAIL {breach}")
    print(f"layering: {tree.files} files, {len(tree.breaches)} breaches")
    return 1 if tree.breaches or not tree.files else 0


sys.exit(main())
