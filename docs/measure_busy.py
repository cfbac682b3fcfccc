#!/usr/bin/env python3
"""How much slower a training and an evaluation become when every core has another program to run, one busy loop each.
Prints wall and processor time of both, and the multiples that engine/README.md quotes.

Usage: docs/measure_busy.py [--app BINARY]... [--rounds N]     nothing else should run; several binaries are compared
"""

import argparse
import contextlib
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
STEPS = {"tiny": 1000, "quickstart": 150}
BATCHES = {"tiny": 2000, "quickstart": 200}
BUSY = [sys.executable, "-c", "while True: pass"]


@contextlib.contextmanager
def busy_cores():
    loops = [subprocess.Popen(BUSY) for _ in range(os.cpu_count())]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds(command):
    """Wall and processor time of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(app, name, scratch, rounds):
    """The medians of (wall, processor) seconds of training and of evaluating."""
    times = {"train": [], "evaluate": []}
    for number in range(rounds):
        folder = str(scratch / f"{name}-{len(list(scratch.iterdir()))}")
        times["train"].append(seconds([
            app, "train", str(HERE.parent / f"apps/configs/{name}.toml"), "--out", folder, f"--train.steps={STEPS[name]}",
            "--data.valid_fraction=0.005", "--train.eval_every=0", "--train.eval_batches=1", "--train.save_every=0",
            "--train.sample_every=0", "--train.sample_tokens=0"]))
        times["evaluate"].append(seconds([app, "evaluate", folder, "--batches", str(BATCHES[name])]))
    return {task: [statistics.median(column) for column in zip(*values)] for task, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", action="append")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| | quiet: wall, processor | busy: wall, processor | wall | processor |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for app in arguments.app or [str(HERE.parent / "build/release/simsmoe_app")]:
            label = f" ({app})" if len(arguments.app or []) > 1 else ""
            for name in STEPS:
                quiet = measure(app, name, pathlib.Path(scratch), arguments.rounds)
                with busy_cores():
                    busy = measure(app, name, pathlib.Path(scratch), arguments.rounds)
                for task in quiet:
                    (wall, cpu), (busy_wall, busy_cpu) = quiet[task], busy[task]
                    print(f"| {task} {name}{label} | {wall:.2f} s, {cpu:.2f} s | {busy_wall:.2f} s, {busy_cpu:.2f} s "
                          f"| {busy_wall / wall:.2f} | {busy_cpu / cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
