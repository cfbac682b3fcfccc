"""The random numbers of engine/philox.hpp, bit by bit: Philox4x32-10 (Salmon et al. 2011)."""

import math

import torch


def stream_of(name):
    """FNV-1a."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


class Draws:
    def __init__(self, seed, stream, step):
        self.seed = seed
        self.where = stream_of(stream) ^ step * 0x9E3779B97F4A7C15 % 2**64

    def lanes(self, block):
        """The four 32-bit numbers of a block."""
        c0, c1, c2, c3 = block % 2**32, block >> 32, self.where % 2**32, self.where >> 32
        k0, k1 = self.seed % 2**32, self.seed >> 32
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
            c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 % 2**32, (p0 >> 32) ^ c3 ^ k1, p0 % 2**32
            k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
        return c0, c1, c2, c3

    def uniform(self, *shape):
        """In [0, 1), 24 bits; element i is lane i % 4 of block i / 4."""
        lanes = [self.lanes(i // 4)[i % 4] for i in range(math.prod(shape))]
        return torch.tensor([(lane >> 8) * 2.0**-24 for lane in lanes], dtype=torch.float64).view(shape)

    def normal(self, *shape):
        """Box-Muller; block j gives the elements 2j and 2j + 1."""
        values = []
        for j in range((math.prod(shape) + 1) // 2):
            a, b, c, d = self.lanes(j)
            u1 = ((a << 32 | b) >> 11) * 2.0**-53 + 2.0**-53  # (0, 1]
            u2 = ((c << 32 | d) >> 11) * 2.0**-53
            radius, angle = math.sqrt(-2 * math.log(u1)), 2 * math.pi * u2
            values += [radius * math.cos(angle), radius * math.sin(angle)]
        return torch.tensor(values[: math.prod(shape)], dtype=torch.float64).view(shape)
