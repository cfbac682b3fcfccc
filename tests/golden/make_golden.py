#!/usr/bin/env python3
"""Writes the golden files: tiny decoders in PyTorch, f64, from the equations and not from our code.

Each file holds the initial parameters under our names ("initial/..."), tokens, targets, the logits, every
loss term, the gradient of the total ("gradient/..."), the total of each of ten Adam steps and the parameters
after them ("final/..."). golden_test.cpp builds the same models and compares.

Usage: make_golden.py [FOLDER]
"""

import json
import math
import pathlib
import struct
import sys

import numpy as np
import torch

BATCH, TIME, VOCAB, DIM, HEADS, HIDDEN = 2, 6, 11, 8, 2, 12
EXPERTS, TOP_K = 4, 2
BALANCE_WEIGHT, Z_WEIGHT = 0.01, 0.001
LEARNING_RATE, STEPS = 3e-3, 10
SEED = 1  # one for which the assertions of golden() hold
SMALLEST_GAP = 1e-3  # between the last chosen and the first refused logit: f32 must choose the same experts

# What distinguishes the three models; everything else is the same.
MODELS = {
    "dense": dict(pattern="sf", place="pre", norm="layer_norm", positions="learned", tied=False,
                  gated=False),
    "moe": dict(pattern="sg", place="pre", norm="layer_norm", positions="learned", tied=False,
                order="topk_softmax"),
    "variant": dict(pattern="sfg", place="post", norm="rms_norm", positions="rotary", tied=True,
                    gated=True, order="softmax_topk"),
}
SUBLAYERS = {"s": "attention", "f": "dense", "g": "feed_forward"}  # the decoder's names


class Decoder:
    def __init__(self, options):
        self.o = options
        self.p = {}
        self.generator = torch.Generator().manual_seed(SEED)
        self.layers = 2
        self.gap = math.inf
        self._create()

    # ---- parameters ----
    def _new(self, name, *shape, std=None, mean=0.0):
        std = 1.0 / math.sqrt(shape[-1]) if std is None else std
        value = mean + std * torch.randn(*shape, generator=self.generator, dtype=torch.float64)
        self.p["decoder." + name] = value.requires_grad_()

    def _norm_parameters(self, name):
        self._new(name + ".weight", DIM, std=0.2, mean=1.0)
        if self.o["norm"] == "layer_norm":
            self._new(name + ".bias", DIM, std=0.2)

    def _create(self):
        o = self.o
        self._new("token.weight", VOCAB, DIM, std=1.0 if not o["tied"] else 0.5)
        if o["positions"] == "learned":
            self._new("position.weight", TIME, DIM, std=0.3)
        for layer in range(self.layers):
            for letter in o["pattern"]:
                here = f"layers.{layer}.{SUBLAYERS[letter]}"
                self._norm_parameters(here + "_norm")
                if letter == "s":
                    self._new(here + ".qkv.weight", 3 * DIM, DIM)
                    self._new(here + ".out.weight", DIM, DIM)
                elif letter == "f":
                    for name in ["up", "gate"] if o["gated"] else ["up"]:
                        self._new(f"{here}.{name}.weight", HIDDEN, DIM)
                        self._new(f"{here}.{name}.bias", HIDDEN, std=0.2)
                    self._new(here + ".down.weight", DIM, HIDDEN)
                    self._new(here + ".down.bias", DIM, std=0.2)
                else:
                    self._new(here + ".router.weight", EXPERTS, DIM)
                    self._new(here + ".router.bias", EXPERTS, std=0.2)
                    self._new(here + ".experts.up", EXPERTS, HIDDEN, DIM)
                    self._new(here + ".experts.up_bias", EXPERTS, HIDDEN, std=0.2)
                    self._new(here + ".experts.down", EXPERTS, DIM, HIDDEN)
                    self._new(here + ".experts.down_bias", EXPERTS, DIM, std=0.2)
        if o["place"] == "pre":
            self._norm_parameters("norm")
        if not o["tied"]:
            self._new("head.weight", VOCAB, DIM)
        self._new("head.bias", VOCAB, std=0.2)

    def __getitem__(self, name):
        return self.p["decoder." + name]

    # ---- the equations ----
    def norm(self, x, name):
        if self.o["norm"] == "layer_norm":
            mean = x.mean(-1, keepdim=True)
            variance = ((x - mean) ** 2).mean(-1, keepdim=True)
            return (x - mean) / torch.sqrt(variance + 1e-5) * self[name + ".weight"] + self[name + ".bias"]
        return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6) * self[name + ".weight"]

    @staticmethod
    def gelu(x):
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2

    @staticmethod
    def rotate(x):
        """x: [B, T, H, C]; the pair (c, c + C/2) at position t turns by t * 10000^(-2c/C)."""
        half = x.shape[-1] // 2
        speed = 10000.0 ** (-2.0 * torch.arange(half, dtype=torch.float64) / x.shape[-1])
        angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * speed
        cos, sin = torch.cos(angle)[:, None, :], torch.sin(angle)[:, None, :]
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def attention(self, x, here):
        b, t, _ = x.shape
        q, k, v = (x @ self[here + ".qkv.weight"].T).view(b, t, 3, HEADS, DIM // HEADS).unbind(2)
        if self.o["positions"] == "rotary":
            q, k = self.rotate(q), self.rotate(k)
        scores = torch.einsum("bthc,bshc->bhts", q, k) / math.sqrt(DIM // HEADS)
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        y = torch.einsum("bhts,bshc->bthc", torch.softmax(scores.masked_fill(future, -math.inf), -1), v)
        return y.reshape(b, t, DIM) @ self[here + ".out.weight"].T

    def dense(self, x, here):
        def linear(v, name):
            return v @ self[f"{here}.{name}.weight"].T + self[f"{here}.{name}.bias"]

        if self.o["gated"]:
            gate = linear(x, "gate")
            return linear(gate * torch.sigmoid(gate) * linear(x, "up"), "down")
        return linear(self.gelu(linear(x, "up")), "down")

    def mixture(self, x, here):
        tokens = x.reshape(-1, DIM)
        logits = tokens @ self[here + ".router.weight"].T + self[here + ".router.bias"]
        probability = torch.softmax(logits, -1)
        ranked = torch.sort(logits.detach(), -1, descending=True)
        self.gap = min(self.gap, (ranked.values[:, TOP_K - 1] - ranked.values[:, TOP_K]).min().item())
        chosen = torch.zeros_like(logits).scatter(1, ranked.indices[:, :TOP_K], 1.0)  # [N, E] of 0 and 1
        weights = chosen * probability
        if self.o["order"] == "topk_softmax":
            weights = weights / weights.sum(-1, keepdim=True)
        y = torch.zeros_like(tokens)
        for e in range(EXPERTS):  # every expert on every token; the weight 0 removes what was not chosen
            h = self.gelu(tokens @ self[here + ".experts.up"][e].T + self[here + ".experts.up_bias"][e])
            out = h @ self[here + ".experts.down"][e].T + self[here + ".experts.down_bias"][e]
            y = y + weights[:, e : e + 1] * out
        share = chosen.sum(0) / (tokens.shape[0] * TOP_K)
        balance = BALANCE_WEIGHT * EXPERTS * (share * probability.mean(0)).sum()
        z = Z_WEIGHT * (torch.logsumexp(logits, -1) ** 2).mean()
        return y.view(x.shape), balance, z

    def forward(self, tokens, targets):
        """The logits and the loss terms (weighted)."""
        balance = z = torch.zeros((), dtype=torch.float64)
        x = self["token.weight"][tokens]
        if self.o["positions"] == "learned":
            x = x + self["position.weight"]
        for layer in range(self.layers):
            for letter in self.o["pattern"]:
                here = f"layers.{layer}.{SUBLAYERS[letter]}"
                inner = self.norm(x, here + "_norm") if self.o["place"] == "pre" else x
                if letter == "s":
                    y = self.attention(inner, here)
                elif letter == "f":
                    y = self.dense(inner, here)
                else:
                    y, b, c = self.mixture(inner, here)
                    balance, z = balance + b, z + c
                x = x + y
                if self.o["place"] == "post":
                    x = self.norm(x, here + "_norm")
        if self.o["place"] == "pre":
            x = self.norm(x, "norm")
        head = self["token.weight"] if self.o["tied"] else self["head.weight"]
        logits = x @ head.T + self["head.bias"]
        picked = torch.gather(logits, -1, targets[..., None])[..., 0]
        task = (torch.logsumexp(logits, -1) - picked).mean()
        return logits, {"task": task, "balance": balance, "z": z}


def golden(name):
    model = Decoder(MODELS[name])
    generator = torch.Generator().manual_seed(SEED)
    stream = torch.randint(VOCAB, (BATCH, TIME + 1), generator=generator)
    tokens, targets = stream[:, :-1], stream[:, 1:]
    tensors = {"tokens": tokens.int(), "targets": targets.int()}
    tensors |= {"initial/" + n: p.detach().clone() for n, p in model.p.items()}

    optimizer = torch.optim.Adam(model.p.values(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8)
    totals = []
    for step in range(STEPS):
        optimizer.zero_grad()
        logits, losses = model.forward(tokens, targets)
        total = sum(losses.values())
        total.backward()
        totals.append(total.detach())
        if step == 0:
            tensors["logits"] = logits.detach()
            tensors |= {"loss/" + n: value.detach() for n, value in losses.items()}
            tensors |= {"gradient/" + n: p.grad.clone() for n, p in model.p.items()}
        optimizer.step()
    tensors["totals"] = torch.stack(totals)
    tensors |= {"final/" + n: p.detach() for n, p in model.p.items()}

    assert model.gap > SMALLEST_GAP, f"{name}: a choice is within {model.gap:.1e} of a tie: take another seed"
    for n in model.p:
        assert tensors["gradient/" + n].norm() > 0, f"{name}: {n} has no gradient: take another seed"
    return tensors


def write_safetensors(path, tensors):
    """8 bytes of header length, a JSON header, the data."""
    header, data = {}, bytearray()
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor.numpy())
        begin = len(data)
        data += array.tobytes()
        dtype = {"float64": "F64", "int32": "I32"}[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    torch.set_num_threads(1)
    for name in MODELS:
        write_safetensors(folder / f"{name}.safetensors", golden(name))


if __name__ == "__main__":
    main()
