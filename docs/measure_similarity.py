#!/usr/bin/env python3
"""Trains the tiny Brainformer with experts that begin alike, with and without similarity learning, for some seeds, and
prints the table of docs/similarity-learning.md and the expert CKA of every layer.

Usage: docs/measure_similarity.py [--app BINARY] [--seeds N]
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


def last_validation(arguments, seed, options, folder):
    command = [arguments.app, "train", str(HERE.parent / "apps/configs/tiny-brainformer.toml"), "--threads", "1",
               "--data.valid_fraction=0.005", "--train.sample_tokens=0", f"--train.seed={seed}", "--out", str(folder),
               *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "valid/expert_cka" in line][-1]


def spread(values):
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", default=str(HERE.parent / "build/release/simsmoe_app"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    layers = {}
    print("| similarity learning | expert CKA | per seed | bits per character |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for i, (setting, options) in enumerate(SETTINGS.items()):
            runs = [last_validation(arguments, seed, options, pathlib.Path(scratch) / f"{i}-{seed}")
                    for seed in range(1, arguments.seeds + 1)]
            cka = [run["valid/expert_cka"] for run in runs]
            bpc = [run["valid/bpc"] for run in runs]
            print(f"| {setting} | {spread(cka)} | {', '.join(f'{v:.3f}' for v in cka)} | {spread(bpc)} |", flush=True)
            layers[setting] = {key: statistics.mean(run[key] for run in runs)
                               for key in runs[0] if key.endswith("/expert_cka") and key != "valid/expert_cka"}
    print("\nexpert CKA by layer, mean over the seeds")
    for setting, values in layers.items():
        print(f"{setting}: " + ", ".join(f"{value:.3f}" for _, value in sorted(values.items())))


if __name__ == "__main__":
    main()
