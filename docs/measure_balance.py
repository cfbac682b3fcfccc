#!/usr/bin/env python3
"""How far a step of 4 micro-batches of 2 sequences is from one of 8 sequences, under moe.balance = switch and = global:
the tiny model, the same sequences in the same order. Prints the table of docs/routers.md.

Usage: docs/measure_balance.py [--app BINARY] [--seeds N]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SETTINGS = {
    "switch, 8 x 1": ["--train.batch=8", "--train.accumulate=1", "--moe.balance=switch"],
    "switch, 2 x 4": ["--train.batch=2", "--train.accumulate=4", "--moe.balance=switch"],
    "global, 2 x 4": ["--train.batch=2", "--train.accumulate=4", "--moe.balance=global"],
}


def run(app, seed, options, folder):
    """The lines of the metrics of a run on one thread."""
    command = [app, "train", str(HERE.parent / "apps/configs/tiny.toml"), "--out", str(folder), "--threads", "1",
               "--data.valid_fraction=0.005", "--train.sample_every=0", "--train.sample_tokens=0",
               "--train.log_every=1", "--train.eval_every=0", "--train.eval_batches=0", "--moe.balance_weight=0.1", f"--train.seed={seed}", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", default=str(HERE.parent / "build/release/simsmoe_app"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = {setting: [run(arguments.app, seed, options, pathlib.Path(scratch) / f"{i}-{seed}")
                          for seed in range(1, arguments.seeds + 1)]
                for i, (setting, options) in enumerate(SETTINGS.items())}
    whole = runs["switch, 8 x 1"]
    print("| balance | balance loss of the first step | task loss, mean distance in steps 2 to 50 | bits per byte at the end |"
          "\n|---|---|---|---|")
    for setting, seeds in runs.items():
        first = statistics.mean(lines[0]["train/balance"] for lines in seeds)
        apart = statistics.mean(abs(a["train/task"] - b["train/task"])
                                for lines, others in zip(seeds, whole) for a, b in zip(lines[1:50], others[1:50]))
        end = [lines[-1]["valid/bpb"] for lines in seeds]
        print(f"| {setting} | {first:.5f} | {apart:.5f} | {statistics.mean(end):.4f} ± {statistics.stdev(end):.4f} |")


if __name__ == "__main__":
    main()
