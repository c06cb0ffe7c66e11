"""Channels have no natural order, so one may be chosen in which a transform along them has less to do."""

import torch
from torch import Tensor


def smooth_order(weight: Tensor, axis: int) -> Tensor:
    """A permutation of the axis under which neighbouring slices are alike: a greedy chain of nearest neighbours.

    It starts at the slice farthest from the mean and goes on to the nearest one not visited: the nearest-neighbour
    heuristic for the shortest path through all slices (Rosenkrantz et al. 1977).  Builds an (n, n) matrix of distances.
    """
    rows = weight.detach().movedim(axis, 0).flatten(1)
    rows = rows.float() if rows.element_size() < 4 else rows  # half precision has no distances
    distances = torch.cdist(rows, rows)
    place = int((rows - rows.mean(0)).square().sum(1).argmax())
    order = []
    for _ in range(len(rows)):
        order.append(place)
        distances[:, place] = torch.inf  # visited
        place = int(distances[place].argmin())
    return torch.tensor(order, device=weight.device)


def place_type(n: int) -> torch.dtype:
    """The smallest signed type that holds the places 0, ..., n - 1."""
    return torch.int16 if n <= 2**15 else torch.int32


def narrow(order: Tensor) -> Tensor:
    """The same permutation in the smallest signed type that holds it: it is stored with the coefficients."""
    return order.to(place_type(len(order)))
