"""A weight and its controls: random numbers, channels in random order, channels sorted for smoothness."""

import torch
from torch import Tensor

from layers.coded import smooth_order

CONDITIONS = ("trained", "shuffled", "sorted", "random", "random, sorted")


def in_smooth_order(w: Tensor) -> Tensor:
    """Sort both channel axes of w (o, i, ...); the distances along one do not depend on the order of the other.

    Points in order along a line are put back into it, or into its reverse.
    """
    for axis in (0, 1):
        w = w.index_select(axis, smooth_order(w, axis, starts="all"))
    return w


def versions(w: Tensor, repeats: int, seed: int) -> tuple[list[str], Tensor]:
    """Return (the condition of each version, the versions (v, o, i, ...)) of a weight w (o, i, ...).

    random: Gaussian with the mean and standard deviation of w; shuffled: w with both channel axes permuted;
    sorted: `in_smooth_order`, for one of the random weights too, since sorting finds neighbours in noise as well.
    """
    generator = torch.Generator().manual_seed(seed)
    made = [("trained", w)]
    for _ in range(repeats):
        noise = w.mean() + w.std() * torch.randn(w.shape, generator=generator, dtype=w.dtype)
        rows, columns = (torch.randperm(n, generator=generator) for n in w.shape[:2])
        made += [("random", noise), ("shuffled", w[rows][:, columns])]
    made += [("sorted", in_smooth_order(w)), ("random, sorted", in_smooth_order(noise))]
    return [name for name, _ in made], torch.stack([x for _, x in made])
