"""The routers in PyTorch, f64, one short function each, from the equations and not from our code. Each takes the layer
of make_router_golden.py and the tokens x [N, D], adds its losses to the layer and returns experts and weights, [N, K]."""

import math

import torch
from torch.nn.functional import relu, silu, softplus

from likeness import SMALLEST_GAP, Unclear, unit
from philox import Draws

SEQUENCES, LENGTH, DIM, EXPERTS, HIDDEN, VOCAB = 2, 6, 6, 5, 7, 9
TOKENS = SEQUENCES * LENGTH
DRAWS = Draws(seed=11, stream="moe.router.draw", step=3)
BALANCE_WEIGHT, Z_WEIGHT = 0.01, 0.001


def share_of_choices(p, experts):
    return EXPERTS * (counts(experts) / experts.numel() * p.mean(0)).sum()


def mean_over_sequences(balance):
    return lambda p, experts: sum(map(balance, p.split(LENGTH), experts.split(LENGTH))) / SEQUENCES


BALANCES = {
    "switch": share_of_choices,
    "first_choice": lambda p, experts: share_of_choices(p, experts[:, :1]),
    "sequence": mean_over_sequences(share_of_choices),
    "sequence_first_choice": mean_over_sequences(lambda p, experts: share_of_choices(p, experts[:, :1])),
    "reference": lambda p, experts: share_of_choices(p, experts) / experts.shape[1],
}


def counts(experts):
    return torch.bincount(experts.flatten(), minlength=EXPERTS).double()


def pick(matrix, experts):
    """matrix[t, experts[t, j]]"""
    return torch.gather(matrix, -1, experts)


def rows(outputs, experts):
    """outputs[t, experts[t, j], :]"""
    return outputs[torch.arange(len(outputs))[:, None], experts]


def largest(scores, k):
    """The places of the k largest of each row, the largest first."""
    ranked = torch.sort(scores.detach(), -1, descending=True)
    gaps = -ranked.values.diff(dim=-1)[:, :k]  # among the chosen and to the first refused
    if gaps.min() < SMALLEST_GAP:
        raise Unclear
    return ranked.indices[:, :k]


def select(layer, g, order=None):
    """topk_softmax: softmax over the kept scores. softmax_topk: softmax over all, then keep; so does k = 1, but in
    the published code, where it weighs 1."""
    experts = largest(g, layer.k)
    if (layer.k == 1 and not layer.reference) or (order or layer.o.order) == "softmax_topk":
        return experts, pick(torch.softmax(g, -1), experts)
    return experts, torch.softmax(pick(g, experts), -1)


# ---- the routers: (layer, x [N, D]) -> experts [N, K], weights [N, K] ----
def smoe(layer, x):
    g = layer.linear(x)
    experts, weights = select(layer, g)
    layer.balance_and_z(g, experts)
    return experts, weights


def noisy_topk(layer, x):
    """Load: the probability that e is chosen when its noise alone is drawn anew (Shazeer et al. 2017)."""
    k, clean = layer.k, x @ layer.parameter("router.weight", EXPERTS, DIM).T
    if not layer.training:
        return select(layer, clean)
    sigma = softplus(x @ layer.parameter("router.noise", EXPERTS, DIM).T) + (0.01 if layer.reference else 0)
    g = clean + sigma * DRAWS.normal(TOKENS, EXPERTS)
    experts, weights = select(layer, g)

    def cv2(v):
        return v.var(unbiased=layer.reference) / (v.mean() ** 2 + 1e-10)

    gates = torch.zeros_like(g).scatter(1, experts, weights)
    layer.loss("importance", 0.1, cv2(gates.sum(0)))
    if k < EXPERTS:
        ranked = torch.sort(g, -1, descending=True).values
        threshold = torch.where(gates > 0, ranked[:, k : k + 1], ranked[:, k - 1 : k])
        layer.loss("load", 0.1, cv2(torch.special.ndtr((clean - threshold) / sigma).sum(0)))
    return experts, weights


def switch(layer, x):
    """The paper jitters the router's input, the code its scores (by a number around 1; the 1 changes nothing)."""

    def jitter(width):
        return 0.2 * DRAWS.uniform(TOKENS, width) - 0.1 if layer.training else 0

    g = layer.linear(x) + jitter(EXPERTS) if layer.reference else layer.linear(x * (1 + jitter(DIM)))
    experts, weights = select(layer, g, "softmax_topk")
    layer.balance_and_z(g, experts)
    return experts, weights


def gshard(layer, x):
    """The second choice is dropped with probability 1 - 2 w_2. Balance: first choices, or (the code) both."""
    g = layer.linear(x)
    experts, weights = select(layer, g)
    f = counts(experts if layer.reference else experts[:, 0]) / TOKENS
    layer.loss("balance", BALANCE_WEIGHT, EXPERTS * (f * torch.softmax(g, -1).mean(0)).sum())
    layer.loss("z", Z_WEIGHT, (torch.logsumexp(g, -1) ** 2).mean())
    if layer.training:
        surplus = 2 * weights[:, 1].detach() - DRAWS.uniform(TOKENS)
        if surplus.abs().min() < SMALLEST_GAP or (surplus < 0).all() or (surplus > 0).all():
            raise Unclear
        experts = torch.stack([experts[:, 0], torch.where(surplus < 0, -1, experts[:, 1])], 1)
    return experts, weights


def sigmoid_weights(s, experts):
    kept = pick(s, experts)
    return kept / kept.sum(-1, keepdim=True) if kept.shape[1] > 1 else kept


def sigmoid(layer, x):
    g = layer.linear(x)
    s = torch.sigmoid(g)
    experts = largest(s, layer.k)
    layer.balance_and_z(g, experts, p=s / s.sum(-1, keepdim=True))
    return experts, sigmoid_weights(s, experts)


def loss_free(layer, x):
    """The bias takes part in the choice only, and follows the load, with mean 0."""
    b = layer.buffer("router.selection_bias", torch.linspace(-0.2, 0.2, EXPERTS, dtype=torch.float64))
    s = torch.sigmoid(layer.linear(x))
    experts = largest(s + b, layer.k)
    if layer.training:
        n = counts(experts)
        b += 0.001 * torch.sign(n.mean() - n)
        b -= b.mean()
    return experts, sigmoid_weights(s, experts)


def frozen(layer, x):
    """random; smoe_dropout at a fixed k. The balance loss, which only SimSMoE's code has, teaches the tokens."""
    g = layer.linear(x, frozen=True)
    experts, weights = select(layer, g)
    layer.balance_and_z(g, experts, balance=layer.reference)
    return experts, weights


def hashed(layer, x):
    draws = [torch.randperm(EXPERTS, generator=layer.generator)[: layer.k] for _ in range(VOCAB)]
    table = layer.buffer("router.table", torch.stack(draws).int())
    experts = table[layer.token_ids].long()
    return experts, torch.full(experts.shape, 1 / layer.k, dtype=torch.float64)


def expert_choice(layer, x):
    p = torch.softmax(layer.linear(x), -1)
    taken = largest(p.T, min(TOKENS, math.ceil(TOKENS * layer.k / EXPERTS)))  # [E, C]: tokens
    chosen = torch.zeros(EXPERTS, TOKENS, dtype=torch.bool).scatter(1, taken, True).T
    return torch.where(chosen, torch.arange(EXPERTS), -1), p


def xmoe(layer, x):
    """Paper: cosines over a learned temperature. Code: only e is normalised, and rescaled in place before."""
    z = x @ layer.parameter("router.down", layer.o.router_dim, DIM).T
    e = layer.parameter("router.embedding", EXPERTS, layer.o.router_dim)
    if layer.reference:
        if layer.training:
            e.data = 1.5 * unit(e.data)
        g = z @ unit(e).T
        experts, weights = select(layer, g)
        layer.balance_and_z(g, experts, p=torch.softmax(g / 0.3, -1))
    else:
        g = unit(z) @ unit(e).T / layer.parameter("router.temperature", 1, mean=0.3, std=0).clamp(min=1e-4)
        experts, weights = select(layer, g)
        layer.balance_and_z(g, experts)
    return experts, weights


def stablemoe(layer, x):
    """Stage 1 routes by s and distils the choice into d; stage 2 and evaluation route by d."""
    first = layer.o.stage == 1
    s = x @ layer.parameter("router.centroids", EXPERTS, DIM).T
    word = layer.parameter("router.word_embedding", VOCAB, 4, frozen=not first)
    d = word[layer.token_ids] @ layer.parameter("router.distilled", EXPERTS, 4, frozen=not first).T
    experts = largest(s if first and layer.training else d, layer.k)
    if first:
        surplus = counts(experts) / (TOKENS * layer.k / EXPERTS) - 1  # (n_i - nbar) / nbar
        layer.loss("balance", 0.3, pick(surplus * torch.sigmoid(s), experts).sum() / TOKENS)
        layer.loss("distill", 0.3, -pick(torch.log_softmax(d, -1), experts).mean())
    kept = pick(s, experts)
    return experts, torch.sigmoid(kept) if layer.k == 1 else torch.softmax(kept, -1)


def stablemoe_lite(layer, x):
    g = x @ unit(layer.parameter("router.centroids", EXPERTS, DIM)).T
    experts, weights = select(layer, g)
    layer.balance_and_z(g, experts, p=torch.softmax(g / 0.3, -1))
    return experts, weights


def hyper(layer, x):
    """The router's weight and bias are the output of a network on a learned embedding."""
    fixed, size, out = not layer.o.trainable, 8, EXPERTS * (DIM + 1)
    v = layer.parameter("router.embedding", 1, DIM, std=1.0)
    up = layer.parameter("router.up.weight", size, DIM, frozen=fixed)
    down = layer.parameter("router.down.weight", out, size, frozen=fixed)
    h = relu(v @ up.T + layer.parameter("router.up.bias", size, frozen=fixed))
    made = (h @ down.T + layer.parameter("router.down.bias", out, frozen=fixed)).view(EXPERTS, DIM + 1)
    return select(layer, x @ made[:, :DIM].T + made[:, DIM])


def remoe(layer, x):
    """Every expert with a score above 0; lambda follows the number of choices (Wang et al. 2024)."""
    g = x @ layer.parameter("router.weight", EXPERTS, DIM).T
    best = largest(g, layer.o.cap or EXPERTS)
    if g.abs().min() < SMALLEST_GAP:
        raise Unclear
    weights = relu(pick(g, best))
    experts = torch.where(weights > 0, best, -1)
    n = counts(experts[experts >= 0])
    wanted = layer.k * TOKENS
    lam = layer.buffer("router.lambda", torch.tensor([0.3], dtype=torch.float64))
    sums = torch.zeros_like(g).scatter(1, best, weights).sum(0)
    layer.loss("sparsity", 1.0, (lam.clone() * EXPERTS / (layer.k * TOKENS**2) * (n * sums).sum())[0])
    if layer.training:
        if n.sum() > wanted:
            lam *= 1.2
        elif n.sum() < wanted or layer.reference:
            lam /= 1.2
    return experts, weights


RESPONSES = {
    "softplus": lambda h: softplus(h).mean(-1),
    "relu": lambda h: relu(h).mean(-1),
    "silu": lambda h: silu(h).mean(-1),
    "sigmoid": lambda h: torch.sigmoid(h).mean(-1),
    "norm": lambda h: torch.sqrt((h**2).sum(-1) + 1e-12),
}


def compete(layer, x):
    """Version 2: all experts answer, the strongest responses win, the router learns who won."""
    if not (layer.training and layer.o.competes):
        return smoe(layer, x)
    h, p = layer.outputs(x), torch.softmax(layer.linear(x), -1)
    a = RESPONSES[layer.o.response](h)
    experts = largest(a, layer.k)
    error = (p - torch.softmax(a, -1).detach()) ** 2
    layer.loss("router", 0.01, error.mean() + layer.o.hybrid * pick(error, experts).mean())
    winners = unit(rows(h, experts))
    if layer.k > 1:
        cosines = (winners @ winners.mT).masked_fill(torch.eye(layer.k, dtype=torch.bool), 0)
        layer.loss("diversity", 0.01, cosines.sum((1, 2)).mean() / layer.k**2)
    layer.balance_and_z(a, experts, z=False)
    kept = pick(a, experts)
    return experts, kept / kept.sum(-1, keepdim=True)


def compete_1(layer, x):
    """Version 1: the response is a norm, the weights a softmax, the target 0 for who lost."""
    g = layer.linear(x)
    if not layer.training:
        return select(layer, g)
    s = RESPONSES["norm"](layer.outputs(x))
    s = (s + g) / 2 if layer.o.combine_router else s
    experts, weights = select(layer, s)
    kept = pick(s, experts).detach()
    q = torch.zeros_like(s).scatter(1, experts, torch.softmax(kept, -1))
    if layer.o.distillation == "mse":
        distance = ((torch.softmax(g, -1) - q) ** 2).mean()
    else:
        distance = (torch.special.xlogy(q, q) - q * torch.log_softmax(g, -1)).sum(-1).mean()
    layer.loss("router", 0.01, 5 * distance)
    if layer.o.balance_responses:
        layer.loss("balance", BALANCE_WEIGHT, 5 * BALANCES[layer.o.balance](torch.softmax(s, -1), experts))
    return experts, weights
