#!/usr/bin/env python3
"""Plants single mistakes in the sources, one at a time, and looks whether the tests notice.

A seeded sample of swapped operators and comparisons, changed constants and deleted statements. Each is compiled in
a copy of the tree below build/mutate, so the sources themselves are never touched; a mistake that leaves the object
files as they were, or is listed with its reason in equivalent.txt, is equivalent. Tests that take too long have
noticed. Prints killed / equivalent / survived per folder, and the survivors.

Usage: mutate.py [--seed N] [--count N] [--folder NAME ...] [--jobs N]
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import queue
import random
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Who may notice: the tests of the folder first, then those of the folders above it.
TESTS = {
    "engine": ["engine", "ops", "nn", "moe", "golden", "apps", "cli"],
    "ops": ["ops", "nn", "moe", "golden", "apps"],
    "nn": ["nn", "golden", "moe", "apps"],
    "moe": ["moe", "golden", "apps"],
    "apps": ["apps", "cli"],
}
SWAPS = [
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "), (r" % ", " / "),
    (r" \+= ", " -= "), (r" -= ", " += "), (r" \*= ", " /= "),
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" < ", " > "), (r" > ", " < "),
    (r" == ", " != "), (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "),
    (r"\+\+(?=\w)", "--"), (r"--(?=\w)", "++"), (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"(?<=[( ])!(?=\w)", ""), (r"\bstd::max\b", "std::min"), (r"\bstd::min\b", "std::max"),
]
NUMBER = r"(?<![\w.])(\d[\d']*\.\d+(?:e-?\d+)?|\d[\d']*)(?![\w.])"
# A statement whose loss can compile: an assignment to something that exists, a call, a throw.
STATEMENT = r"(?:\+\+|--|\*)?[A-Za-z_][\w:.]*(?:(?:->|\.)\w+|\[[^;\]]*\]|\([^;()]*\))*\s*(?:[-+*/|&]?=[^=]|\(|\+\+|--)|throw\b"
NO_STATEMENT = r"(?:return|using|case|default|else|if|for|while|switch|do|static_assert|namespace|template)\b"


@dataclasses.dataclass
class Mutant:
    path: str
    line: int
    begin: int
    end: int
    text: str  # in place of [begin, end)
    before: str = ""
    after: str = ""

    def key(self):
        return f"{self.path}: {self.before} -> {self.after}"


def masked(source):
    """The source with comments, texts and preprocessor lines blanked, every character in its place."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<!\w)'(?:\\.|[^'\\\n])+'|^\s*#(?:[^\n\\]|\\.|\\\n)*"
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())
    return re.sub(pattern, blank, source, flags=re.DOTALL | re.MULTILINE)


def statements(code):
    """[begin, end) of what stands between the ; { and } of the code, parentheses closed."""
    begin, depth = 0, 0
    for at, character in enumerate(code):
        depth += (character in "([") - (character in ")]")
        if character in "{}" or (character == ";" and depth == 0):
            if character == ";":
                start = begin + len(code[begin:at]) - len(code[begin:at].lstrip())
                yield start, at + 1
            begin, depth = at + 1, 0


def other_number(text):
    if "." in text:
        return {"0.0": "1.0", "1.0": "2.0"}.get(text, f"2.0 * {text}")
    return str(int(text.replace("'", "")) + 1)


def mutants_of(path):
    source = (ROOT / path).read_text()
    code = masked(source)
    found = []

    def add(begin, end, text):
        line_begin, line_end = source.rfind("\n", 0, begin) + 1, source.find("\n", begin)
        line = source.count("\n", 0, begin) + 1
        before = source[line_begin:line_end].strip()
        after = (source[line_begin:begin] + text + source[end:max(line_end, end)]).strip()
        found.append(Mutant(path, line, begin, end, text, before, after))

    for pattern, text in SWAPS:
        for match in re.finditer(pattern, code):
            add(match.start(), match.end(), text)
    for match in re.finditer(NUMBER, code):
        add(match.start(), match.end(), other_number(match.group()))
        if match.group() not in ("0", "0.0"):
            add(match.start(), match.end(), "0" if "." not in match.group() else "0.0")
    for begin, end in statements(code):
        text = code[begin:end]
        if re.match(STATEMENT, text) and not re.match(NO_STATEMENT, text):
            add(begin, end, ";" + "\n" * text.count("\n"))  # errors name lines: those behind keep theirs
    return found


def run(command, cwd, timeout=None):
    """The exit status; None after the timeout. Whatever the command started ends with it."""
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


class Worker:
    """A copy of the tree with a build of its own."""

    def __init__(self, number, targets):
        self.tree = ROOT / "build" / "mutate" / str(number)
        self.build = self.tree / "build"
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                               text=True, check=True).stdout.split("\n")
        kept = {name for name in files if name and (ROOT / name).is_file()}
        for name in kept:
            copy, content = self.tree / name, (ROOT / name).read_bytes()
            if not copy.exists() or copy.read_bytes() != content:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
                copy.chmod((ROOT / name).stat().st_mode)
        for top in self.tree.iterdir():
            for left in [] if top == self.build else [top, *top.rglob("*")]:  # of an earlier state of the tree
                if left.is_file() and str(left.relative_to(self.tree)) not in kept:
                    left.unlink()
        subprocess.run(["cmake", "-S", str(self.tree), "-B", str(self.build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Mutate",
                        "-DCMAKE_CXX_FLAGS_MUTATE=-O1", "-DSIMSMOE_WERROR=OFF", "-DSIMSMOE_CUDA=OFF"],
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-j1", *targets], cwd=self.build, check=True, stdout=subprocess.DEVNULL)
        self.seconds = {}
        self.unchanged = {folder: self.objects_of(folder) for folder in TESTS}

    def objects_of(self, folder):
        """One number for all object files of a folder."""
        digest = hashlib.sha1()
        for path in sorted((self.build / folder / "CMakeFiles" / f"simsmoe_{folder}.dir").rglob("*.o")):
            digest.update(path.read_bytes())
        return digest.digest()

    def make(self, target):
        return run(["ninja", "-j1", target], self.build) == 0

    def passes(self, suite):
        folder = "apps" if suite == "cli" else suite
        start = time.monotonic()
        limit = 600 if suite not in self.seconds else 20 + 4 * self.seconds[suite]
        status = run([self.build / "tests" / folder / f"{suite}_tests", "--abort-after=1"], self.build, limit)
        self.seconds.setdefault(suite, time.monotonic() - start)
        return status == 0

    def judge(self, mutant):
        """killed by SUITE, equivalent, survived; or invalid: it does not compile."""
        file = self.tree / mutant.path
        source = file.read_text()
        folder = mutant.path.split("/")[0]
        try:
            file.write_text(source[:mutant.begin] + mutant.text + source[mutant.end:])
            if not self.make(f"simsmoe_{folder}"):
                return "invalid"
            if self.objects_of(folder) == self.unchanged[folder]:
                return "equivalent"
            for suite in TESTS[folder]:
                if not self.make(f"{suite}_tests") or not self.passes(suite):
                    return f"killed by {suite}"
            return "survived"
        finally:
            file.write_text(source)
            self.make(f"simsmoe_{folder}")


def known_equivalents():
    lines = (pathlib.Path(__file__).parent / "equivalent.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#") and not line.startswith("  ")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="mutants that compile, over all folders and each the same")
    parser.add_argument("--folder", nargs="*", default=list(TESTS), choices=list(TESTS))
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    # In the background these are ignored, and so they would be by the programs that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    chance = random.Random(arguments.seed)
    suites = sorted({suite for folder in arguments.folder for suite in TESTS[folder]})
    workers = queue.Queue()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for worker in pool.map(lambda i: Worker(i, [f"{suite}_tests" for suite in suites]), range(arguments.jobs)):
            workers.put(worker)
        for worker in list(workers.queue):
            for suite in suites:
                if not worker.passes(suite):
                    sys.exit(f"the {suite} tests fail before anything is changed")

        known, results = known_equivalents(), collections.defaultdict(list)

        def judge(mutant):
            if mutant.key() in known:
                return mutant, "equivalent"
            worker = workers.get()
            try:
                return mutant, worker.judge(mutant)
            finally:
                workers.put(worker)

        for folder in arguments.folder:
            wanted = -(-arguments.count // len(arguments.folder))
            files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.cpp")
                           if "examples" not in path.parts)
            pool_of_mutants = [mutant for path in files for mutant in mutants_of(path)]
            chance.shuffle(pool_of_mutants)
            while len(results[folder]) < wanted and pool_of_mutants:
                batch = [pool_of_mutants.pop() for _ in range(min(wanted - len(results[folder]), len(pool_of_mutants)))]
                for mutant, verdict in pool.map(judge, batch):
                    if verdict == "invalid":
                        continue
                    results[folder].append((mutant, verdict))
                    print(f"{verdict:<18} {mutant.path}:{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)

    print(f"\nseed {arguments.seed}\n{'folder':<8} {'killed':>7} {'equivalent':>11} {'survived':>9}")
    for folder, judged in results.items():
        count = collections.Counter(verdict.split()[0] for _, verdict in judged)
        share = count["killed"] / max(1, count["killed"] + count["survived"])
        print(f"{folder:<8} {count['killed']:>7} {count['equivalent']:>11} {count['survived']:>9}   {100 * share:.0f} %")
    survivors = [mutant for judged in results.values() for mutant, verdict in judged if verdict == "survived"]
    for mutant in survivors:
        print(f"survived  {mutant.path}:{mutant.line}\n    {mutant.before}\n    {mutant.after}")


if __name__ == "__main__":
    main()
