#!/usr/bin/env python3
"""Trains the tiny Brainformer with experts that begin alike, with and without similarity learning, for some seeds, and
prints the table of docs/similarity-learning.md and the expert CKA of every layer. With --cost: what a comparison of two
experts costs, from the steps of one training of the quickstart with 16 experts, one thread.

Usage: docs/measure_similarity.py [--app BINARY] [--seeds N | --cost]
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
STRONG = ["--similarity.enabled=true", "--similarity.frequency=1", "--similarity.beta=0.2"]
SETTINGS = {
    "without": [],
    "with, beta = 0.01, f* = 16 (the defaults)": ["--similarity.enabled=true"],
    "with, beta = 0.2, f* = 1": STRONG,
    "the same with the published kernel (`rbf`, sigma = 0.8) and estimator (`biased`)":
        STRONG + ["--similarity.kernel=rbf", "--similarity.estimator=biased"],
}


def train(arguments, config, folder, options):
    """The lines of the metrics of a run on one thread."""
    command = [arguments.app, "train", str(HERE.parent / "apps/configs" / config), "--out", str(folder),
               "--threads", "1", "--data.valid_fraction=0.005", "--train.sample_every=0", "--train.sample_tokens=0",
               *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))


def last_validation(arguments, seed, options, folder):
    lines = train(arguments, "tiny-brainformer.toml", folder, [f"--train.seed={seed}", *options])
    return [line for line in lines if "valid/expert_cka" in line][-1]


def cost(arguments):
    """The slope of a step's time over its comparisons: free of the drift that separates one run from another."""
    frequency, around = 4, 10
    with tempfile.TemporaryDirectory() as scratch:
        lines = train(arguments, "quickstart.toml", pathlib.Path(scratch) / "run",
                      ["--train.steps=500", "--train.log_every=1", "--train.eval_every=0", "--train.save_every=0",
                       "--moe.experts=16", f"--similarity.frequency={frequency}"])
    lines = [line for line in lines if "tokens_per_s" in line]
    counters = [key for key in lines[-1] if key.endswith("/similarity_checks")]
    total = [sum(line.get(key, 0) for key in counters) for line in lines]
    checks = [after - before for before, after in zip([0, *total], total)]
    tokens = lines[0]["tokens"]
    ms = [1000 * tokens / line["tokens_per_s"] for line in lines]
    local = [statistics.median(ms[max(0, i - around) : i + around + 1]) for i in range(len(ms))]
    rest = [a - b for a, b in zip(ms, local)]
    bound = statistics.quantiles(map(abs, rest), n=20)[-1]  # hiccups of the machine are left out
    kept = [(c, r) for c, r in zip(checks, rest) if abs(r) <= bound]
    slope, offset = statistics.linear_regression(*zip(*kept))
    mean = statistics.mean(c for c, _ in kept)
    error = (sum((r - offset - slope * c) ** 2 for c, r in kept) / (len(kept) - 2)
             / sum((c - mean) ** 2 for c, _ in kept)) ** 0.5
    per_step, step = len(counters) / 16, statistics.median(ms)
    print(f"{slope:.2f} ± {error:.2f} ms per comparison, of which there were {sum(checks):.0f} in {len(ms)} steps of "
          f"{step:.0f} ms\nat f* = 16 {per_step:.2f} comparisons per step: {100 * slope * per_step / step:.2f} ± "
          f"{100 * error * per_step / step:.2f} % of its time")


def spread(values):
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", default=str(HERE.parent / "build/release/simsmoe_app"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    if arguments.cost:
        return cost(arguments)
    layers = {}
    print("| similarity learning | expert CKA | per seed | bits per byte |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for i, (setting, options) in enumerate(SETTINGS.items()):
            runs = [last_validation(arguments, seed, options, pathlib.Path(scratch) / f"{i}-{seed}")
                    for seed in range(1, arguments.seeds + 1)]
            cka = [run["valid/expert_cka"] for run in runs]
            bpb = [run["valid/bpb"] for run in runs]
            print(f"| {setting} | {spread(cka)} | {', '.join(f'{v:.3f}' for v in cka)} | {spread(bpb)} |", flush=True)
            layers[setting] = {key: statistics.mean(run[key] for run in runs)
                               for key in runs[0] if key.endswith("/expert_cka") and key != "valid/expert_cka"}
    print("\nexpert CKA by layer, mean over the seeds")
    for setting, values in layers.items():
        print(f"{setting}: " + ", ".join(f"{value:.3f}" for _, value in sorted(values.items())))


if __name__ == "__main__":
    main()
