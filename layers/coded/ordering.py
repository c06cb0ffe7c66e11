"""Choose an order of the channels, which have none of their own, in which a transform has less to do."""

import torch
from torch import Tensor


def smooth_order(weight: Tensor, axis: int, starts: str = "farthest") -> Tensor:
    """A permutation of the axis under which neighbouring slices are alike: a greedy chain of nearest neighbours.

    It starts at the slice farthest from the mean and goes on to the nearest one not visited: the nearest-neighbour
    heuristic for the shortest path through all slices (Rosenkrantz, Stearns & Lewis 1977, section 3).  With starts
    "all" it is the shortest of the chains from every slice, in O(n^3) time.  Builds an (n, n) matrix of distances.
    """
    rows = weight.detach().movedim(axis, 0).flatten(1)
    rows = rows.float() if rows.element_size() < 4 else rows  # half precision has no distances
    distances = torch.cdist(rows, rows)
    if starts == "all":
        place = torch.arange(len(rows), device=rows.device)
    else:
        place = (rows - rows.mean(0)).square().sum(1).argmax().reshape(1)
    chain, length = torch.arange(len(place), device=rows.device), torch.zeros(len(place), device=rows.device)
    visited = torch.zeros(len(place), len(rows), dtype=torch.bool, device=rows.device)
    chains = [place]
    for _ in range(len(rows) - 1):
        visited[chain, place] = True
        step, place = distances[place].masked_fill(visited, torch.inf).min(dim=1)
        length = length + step
        chains.append(place)
    return torch.stack(chains, 1)[length.argmin()]


def place_type(n: int) -> torch.dtype:
    """The smallest signed type that holds the places 0, ..., n - 1."""
    return torch.int16 if n <= 2**15 else torch.int32


def narrow(order: Tensor) -> Tensor:
    """The same permutation in the smallest signed type that holds it: it is stored with the coefficients."""
    return order.to(place_type(len(order)))
