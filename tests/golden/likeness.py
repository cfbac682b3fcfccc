"""How alike the outputs of two experts on the same tokens are, in PyTorch, f64: CKA, contrastive losses, cosines."""

import math

import torch

SMALLEST_GAP = 1e-3  # between scores that decide a choice; of a norm that is divided by


class Unclear(Exception):
    """A choice is so near a tie that rounding could decide it: other parameters must be drawn."""


def unit(v):
    return v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)


def gram_linear(v):
    return v @ v.T


def gram_rbf(v, sigma2=0.8**2):
    return torch.exp(-squared_distances(v) / (2 * sigma2))


def gram_rbf_median(v):
    d = squared_distances(v).detach()
    return gram_rbf(v, sigma2=d[d > 0].median())  # the lower one


def squared_distances(v):
    return ((v[:, None] - v[None]) ** 2).sum(-1)


def biased(k, l):
    """<HKH, HLH>; the factor 1 / (n - 1)^2 cancels."""
    h = torch.eye(len(k), dtype=torch.float64) - 1 / len(k)
    return ((h @ k @ h) * (h @ l @ h)).sum()


def debiased(k, l):
    """HSIC1 (Song et al. 2012)."""
    n, off = len(k), 1 - torch.eye(len(k), dtype=torch.float64)
    k, l = k * off, l * off
    rest = k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
    return ((k * l).sum() + rest) / (n * (n - 3))


def cka(gram, hsic):
    def likeness(a, b):
        k, l = gram(a), gram(b)
        if min(hsic(k, k), hsic(l, l)) < SMALLEST_GAP:
            raise Unclear
        return hsic(k, l) / torch.sqrt(hsic(k, k) * hsic(l, l))

    return likeness


# Contrastive losses with the sign turned: what is minimised lowers how well y_i is told from the rest by x_i.
def infonce(a, b):
    s = unit(a) @ unit(b).T / 0.1
    return torch.log_softmax(s, -1).diag().mean()


def dcl(a, b):
    def one_way(x, y):
        off = torch.eye(len(x), dtype=torch.bool)
        xx, xy = unit(x) @ unit(x).T / 0.07, unit(x) @ unit(y).T / 0.07
        others = [torch.logsumexp(s.masked_fill(off, -math.inf), -1) for s in (xx, xy)]
        return (xy.diag() - others[0] - others[1]).mean()

    return (one_way(a, b) + one_way(b, a)) / 2


def nt_xent(a, b):
    z = unit(torch.cat([a, b]))
    s = (z @ z.T / 0.5).fill_diagonal_(-math.inf)
    partner = torch.arange(len(z)).roll(len(a))
    return torch.log_softmax(s, -1)[torch.arange(len(z)), partner].mean()


def cosine(a, b):
    return (unit(a) * unit(b)).sum(-1).mean()


def abs_cosine(a, b):
    return (unit(a) * unit(b)).sum(-1).abs().mean()


LIKENESS = {
    "linear.biased": cka(gram_linear, biased),
    "linear.debiased": cka(gram_linear, debiased),
    "rbf.biased": cka(gram_rbf, biased),
    "rbf.debiased": cka(gram_rbf, debiased),
    "rbf_median.biased": cka(gram_rbf_median, biased),
    "rbf_median.debiased": cka(gram_rbf_median, debiased),
    "cosine": cosine,
    "abs_cosine": abs_cosine,
    "infonce": infonce,
    "dcl": dcl,
    "nt_xent": nt_xent,
}
