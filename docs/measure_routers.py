#!/usr/bin/env python3
"""Trains every router for 200 steps, with and without similarity learning, and writes the table of docs/routers.md.

The model is that of the quickstart. Each run is one call of the program; all numbers are read from its run folder.
Usage: docs/measure_routers.py [--app BINARY] [--text FILE] [--steps N] [--routers NAME,NAME | --write]
  --text     a text file; default: the slice of enwik8 beside the repository when it is there, else GCIDE
  --routers  only these; default: all that the program knows
  --write    replaces the table in docs/routers.md; else it is printed
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ENWIK8 = HERE.parent.parent / "shared/data/enwik8/enwik8.first-4154399-bytes"
ONE_EXPERT = {"switch"}  # routers that take moe.k = 1
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def known_routers(arguments):
    text = subprocess.run([arguments.app, "train", "--help"], capture_output=True, text=True, check=True).stdout
    return re.search(r"--moe\.router=.*\(one of (.*)\)", text)[1].split(", ")


def train(arguments, router, similarity, folder):
    command = [arguments.app, "train", str(HERE.parent / "apps/configs/quickstart.toml"), "--out", str(folder),
               f"--moe.router={router}", f"--moe.k={1 if router in ONE_EXPERT else 2}",
               f"--similarity.enabled={str(similarity).lower()}", f"--train.steps={arguments.steps}",
               "--train.log_every=20", "--train.sample_every=0", "--train.sample_tokens=0",
               "--train.eval_batches=64"]
    if arguments.text:
        command += [f"--data.path={arguments.text}", "--data.valid_fraction=0.03"]
    else:
        command.append("--data.valid_fraction=0.003")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return json.loads((folder / "manifest.json").read_text()), lines


def measure(arguments, router, similarity, folder):
    manifest, lines = train(arguments, router, similarity, folder)
    losses = [line["train/task"] for line in lines if "train/task" in line]
    assert losses[-1] < losses[0], f"{router}: the loss did not fall: {losses}"
    tokens_per_step = lines[-1]["tokens"] / arguments.steps
    speeds = [line["tokens_per_s"] for line in lines if "tokens_per_s" in line][1:]
    frozen = manifest["parameters"] - manifest["trainable_parameters"]
    millions = lambda n: f"{n / 1e6:.3f}"
    return [router, "yes" if similarity else "no", f"{lines[-1]['valid/bpb']:.3f}",
            f"{1000 * tokens_per_step / statistics.median(speeds):.0f}", millions(manifest["trainable_parameters"]),
            millions(frozen), millions(manifest["active_parameters"]), millions(manifest["flops_per_token"])]


def table(arguments):
    text = pathlib.Path(arguments.text).name if arguments.text else "GCIDE"
    head = ["router", "similarity learning", "validation BPC", "ms per step", "trainable M", "frozen M", "active M",
            "MFLOP per token"]
    rows = [head, ["---"] * len(head)]
    with tempfile.TemporaryDirectory() as scratch:
        for router in arguments.routers or known_routers(arguments):
            for similarity in (False, True):
                row = measure(arguments, router, similarity, pathlib.Path(scratch) / f"{router}-{similarity}")
                print("  ".join(row), file=sys.stderr)
                rows.append(row)
    return f"Measured on {text}:\n\n" + "".join("| " + " | ".join(row) + " |\n" for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", default=str(HERE.parent / "build/release/simsmoe_app"))
    parser.add_argument("--text", default=str(ENWIK8) if ENWIK8.exists() else None)
    parser.add_argument("--steps", type=int, default=200)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--routers", type=lambda names: names.split(","))
    chosen.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    made = table(arguments)
    if not arguments.write:
        print(made, end="")
        return
    page = HERE / "routers.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + BEGIN + made + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
