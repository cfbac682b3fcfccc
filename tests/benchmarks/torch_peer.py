#!/usr/bin/env python3
"""The same training step in plain PyTorch, for `simsmoe_app bench`: one JSON line with medians over the steps.

A pre-norm decoder with learned positions, packed attention, exact GELU, experts of which each token takes two (tokens
sorted by expert) and Adam. Shapes are those of apps/configs/bench-smoe.toml and bench-dense.toml.
"""

import argparse
import json
import os
import statistics
import time

options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("--model", choices=["mixture", "dense"], default="mixture")
options.add_argument("--threads", type=int, default=1)
options.add_argument("--steps", type=int, default=8)
for name, size in dict(dim=256, layers=6, heads=4, seq=256, batch=8, experts=16, topk=2, hidden=512, dense_hidden=1024,
                       vocab=256).items():
    options.add_argument("--" + name.replace("_", "-"), type=int, default=size)
cfg = options.parse_args()
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = str(cfg.threads)  # before the import: some libraries read it only then

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(cfg.dim, 3 * cfg.dim, bias=False)
        self.out = nn.Linear(cfg.dim, cfg.dim, bias=False)

    def forward(self, x):
        batch, time_steps, _ = x.shape
        q, k, v = self.qkv(x).view(batch, time_steps, 3, cfg.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class DenseFeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(cfg.dim, cfg.dense_hidden, bias=False)
        self.down = nn.Linear(cfg.dense_hidden, cfg.dim, bias=False)

    def forward(self, x):
        return self.down(functional.gelu(self.up(x))), 0.0


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(cfg.dim, cfg.experts, bias=False)
        make = lambda out, inner: nn.Parameter(torch.randn(out, inner) * inner**-0.5)
        self.up = nn.ParameterList(make(cfg.hidden, cfg.dim) for _ in range(cfg.experts))
        self.down = nn.ParameterList(make(cfg.dim, cfg.hidden) for _ in range(cfg.experts))

    def forward(self, x):
        tokens = x.reshape(-1, cfg.dim)
        logits = self.router(tokens)
        top, chosen = logits.topk(cfg.topk, dim=-1)
        order = chosen.flatten().argsort()
        counts = chosen.flatten().bincount(minlength=cfg.experts)
        rows = tokens.index_select(0, order // cfg.topk).split(counts.tolist())
        h = torch.cat([functional.gelu(r @ self.up[e].T) @ self.down[e].T for e, r in enumerate(rows)])
        h = h * top.softmax(-1).flatten().index_select(0, order).unsqueeze(1)
        y = torch.zeros_like(tokens).index_add(0, order // cfg.topk, h)
        share = counts / chosen.numel()
        return y.view_as(x), cfg.experts * (share * logits.softmax(-1).mean(0)).sum()


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        feed_forward = Experts if cfg.model == "mixture" else DenseFeedForward
        self.token = nn.Embedding(cfg.vocab, cfg.dim)
        self.position = nn.Parameter(0.02 * torch.randn(cfg.seq, cfg.dim))
        self.attention = nn.ModuleList(SelfAttention() for _ in range(cfg.layers))
        self.feed_forward = nn.ModuleList(feed_forward() for _ in range(cfg.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(cfg.dim) for _ in range(2 * cfg.layers + 1))
        self.head = nn.Linear(cfg.dim, cfg.vocab, bias=False)

    def loss(self, tokens, targets):
        x = self.token(tokens) + self.position
        balance = 0.0
        for i in range(cfg.layers):
            x = x + self.attention[i](self.norms[2 * i](x))
            y, term = self.feed_forward[i](self.norms[2 * i + 1](x))
            x = x + y
            balance = balance + term
        logits = self.head(self.norms[-1](x))
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()) + 0.01 * balance


def main():
    torch.set_num_threads(cfg.threads)
    torch.manual_seed(1)
    model = Decoder()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    text = torch.randint(cfg.vocab, (cfg.steps + 3, cfg.batch, cfg.seq + 1))
    wall, cpu = [], []
    for window in text:
        began = time.perf_counter(), time.process_time()
        loss = model.loss(window[:, :-1], window[:, 1:])
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        loss.item()
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    tokens = cfg.batch * cfg.seq
    print(json.dumps({
        "torch": torch.__version__, "model": cfg.model, "threads": cfg.threads,
        "parameters": sum(p.numel() for p in model.parameters()), "tokens_per_step": tokens,
        "tokens_per_second": round(tokens / statistics.median(wall[3:]), 1),
        "tokens_per_cpu_second": round(tokens / statistics.median(cpu[3:]), 1)}))


main()
