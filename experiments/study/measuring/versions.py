"""A weight and its controls: random numbers, channels in random order, channels sorted for smoothness."""

import torch
from torch import Tensor

REPEATED = ("random", "shuffled")  # conditions with several draws
CONDITIONS = ("trained", "shuffled", "sorted", "random", "random, sorted")


def smooth_order(rows: Tensor) -> Tensor:
    """The shortest path through the rows (n, d) that a nearest-neighbour walk finds from any start: n row numbers.

    Nearest neighbour rule for the travelling salesman, all n starts (Rosenkrantz, Stearns & Lewis 1977, section 3).
    Points in order along a line are put back into it, or into its reverse.  O(n^3) time.
    """
    n = len(rows)
    distance = torch.cdist(rows, rows)
    walker, here = torch.arange(n), torch.arange(n)
    length, free = torch.zeros(n, dtype=rows.dtype), ~torch.eye(n, dtype=torch.bool)
    paths = [here]
    for _ in range(n - 1):
        step, here = distance[here].masked_fill(~free, torch.inf).min(dim=1)
        length, free[walker, here] = length + step, False
        paths.append(here)
    return torch.stack(paths, 1)[length.argmin()]


def in_smooth_order(w: Tensor) -> Tensor:
    """w (o, i, ...) with both channel axes sorted; the distances along one do not depend on the order of the other."""
    w = w[smooth_order(w.flatten(1))]
    return w[:, smooth_order(w.transpose(0, 1).flatten(1))]


def versions(w: Tensor, repeats: int, seed: int) -> tuple[list[str], Tensor]:
    """(the condition of each version, the versions (v, o, i, ...)) of a weight w (o, i, ...).

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
