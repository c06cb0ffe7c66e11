"""One scale for every network: what it has, computes and takes on the disk; and one number of all of it."""

from typing import NamedTuple

from torch import Tensor, nn

from ..network import compress_bytes, network_bytes, pack
from .cost import cost
from .file import file_cost

WEIGHTS, OPERATIONS, WORD = 5.6e6, 2.8e8, 32  # what a score of 1 is of each, in numbers of 32 bits


class Scale(NamedTuple):
    """What one counter says of a network of any kind: in floating point, on a grid, binary, pruned, an .onnx file.

    Example:
        >>> Scale(params=100, nonzeros=50, macs=1000, bits=17.0, bytes=600, compressed=500).nonzeros
        50
    """

    params: int
    nonzeros: int  # among them
    macs: int  # multiply-accumulates of one input
    bits: float  # per parameter, as they are stored
    bytes: int  # of the file that `save` writes
    compressed: int  # of the same, compressed by brotli


def scale(
    model: nn.Module,
    x: Tensor,
    kept: nn.Module | None = None,
    *,
    size: int | None = None,
    compressed: int | None = None,
) -> Scale:
    """Count what a network has, computes and takes on the disk.

    An .onnx file's network, which has its `content`, is counted in the file.

    Args:
        model: any network; it runs once, on a copy of x.
        x: one input batch (n, ...).
        kept: the network that is saved, where that is another: of float16, where the model takes float32.
        size: bytes of its file, where that is written already; else they are found by making it.
        compressed: the same of the file that brotli compressed, which takes longest.

    Returns:
        The counts; `peak_memory` and `latency` measure the rest.

    Raises:
        ValueError: as `cost`, and for numbers that no file holds.

    Example:
        >>> import torch
        >>> scale(nn.Linear(8, 4), torch.ones(1, 8)).nonzeros
        36
    """
    content = getattr(model, "content", None)
    if isinstance(content, bytes):
        file = file_cost(content)
        small = len(compress_bytes(content)) if compressed is None else compressed
        return Scale(file.params, file.nonzeros, file.macs, file.bits, file.bytes, small)
    counted, saved = cost(model, x), model if kept is None else kept
    numbers = list(saved.parameters())
    held = sum(part.nbytes for p in numbers for part in pack(p).tensors.values())
    nonzeros = sum(int(p.count_nonzero()) for p in numbers)
    size = len(network_bytes(saved)) if size is None else size
    compressed = len(network_bytes(saved, compressed=True)) if compressed is None else compressed
    return Scale(counted.params, nonzeros, counted.macs, 8 * held / max(1, counted.params), size, compressed)


class Score(NamedTuple):
    """A score, and what its formula gives where it takes shares off what has lost them already."""

    score: float
    doubled: float


def score(small: Scale, dense: Scale, weight_bits: float, activation_bits: float) -> Score:
    """nonzeros q_w / 32 / 5.6e6 + macs max(q_w, q_a) / 32 / 2.8e8: numbers and operations in 32-bit words, added up.

    The formula that scripts of ResNet-18 on CIFAR-10 used (a playground of 2025; the form is that of the MicroNet
    challenge, Gale et al. 2019) is (1 - (p_s + p_u)) q_w / 32 w / 5.6e6 + (1 - p_s) max(q_w, q_a) / 32 f / 2.8e8 with
    the shares p_s of what is taken out whole and p_u of weights set to zero, of w numbers and f operations.  Where w
    and f are counted in the thinner network, p_s is taken off twice: `doubled` is that value, p_s being the numbers
    that the network has less than the dense one.  Counting what is there needs no shares.

    Args:
        small: of the network.
        dense: of the network that it was made of.
        weight_bits: q_w, of a weight.
        activation_bits: q_a, of what layers pass on.

    Returns:
        Both values, lower is better; the dense ResNet-18 for CIFAR-10 has 3.98.

    Example:
        >>> dense = Scale(11_173_962, 11_173_962, 555_422_720, 32.0, 0, 0)
        >>> [round(score(dense, dense, bits, bits).score, 2) for bits in (32, 16)]
        [3.98, 1.99]
    """
    out, zero = 1 - small.params / dense.params, 1 - small.nonzeros / small.params
    words, operations = weight_bits / WORD / WEIGHTS, max(weight_bits, activation_bits) / WORD / OPERATIONS
    right = small.nonzeros * words + small.macs * operations
    twice = (1 - (out + zero)) * small.params * words + (1 - out) * small.macs * operations
    return Score(right, twice)
