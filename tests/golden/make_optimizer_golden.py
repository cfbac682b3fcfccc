#!/usr/bin/env python3
"""Writes optimizer.safetensors: fifty steps of PyTorch's Adam, AdamW and SGD, f64, with parameters that miss steps.

"initial/NAME" of three parameters; "present/NAME" i32 [50], 1 where a step has a gradient for it; "gradient/NAME"
[50, ...]; "lr" [50]; and per optimizer "CASE/NAME" [50, ...], the parameter after each step. "rare" has a gradient
in every 16th step, as a competing router has; "bias" does not decay.

Usage: make_optimizer_golden.py [FOLDER]
"""

import pathlib
import sys

import torch

from make_golden import write_safetensors

STEPS, DECAY, MOMENTUM = 50, 0.1, 0.9
SHAPES = {"weight": (2, 3), "bias": (4,), "rare": (3,)}
CASES = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99), eps=1e-8),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), eps=1e-8),
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.0),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM),
}


def train(make, tensors):
    parameters = {name: tensors["initial/" + name].clone().requires_grad_() for name in SHAPES}
    optimizer = make([{"params": [p], "weight_decay": 0.0 if name == "bias" else DECAY}
                      for name, p in parameters.items()])
    after = {name: [] for name in SHAPES}
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = tensors["lr"][step].item()
        for name, p in parameters.items():
            p.grad = tensors["gradient/" + name][step].clone() if tensors["present/" + name][step] else None
        optimizer.step()
        for name, p in parameters.items():
            after[name].append(p.detach().clone())
    return {name: torch.stack(values) for name, values in after.items()}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    tensors = {"lr": 0.01 + 0.02 * torch.rand(STEPS, generator=generator, dtype=torch.float64)}
    for name, shape in SHAPES.items():
        tensors["initial/" + name] = draw(*shape)
        tensors["gradient/" + name] = draw(STEPS, *shape)
        tensors["present/" + name] = (torch.rand(STEPS, generator=generator) < 0.5).int()
    tensors["present/rare"] = torch.tensor([int(step % 16 == 15) for step in range(STEPS)], dtype=torch.int32)
    for case, make in CASES.items():
        tensors |= {f"{case}/{name}": values for name, values in train(make, tensors).items()}
    write_safetensors(folder / "optimizer.safetensors", tensors)


if __name__ == "__main__":
    main()
