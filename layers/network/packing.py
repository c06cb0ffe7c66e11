"""The smallest exact form of a tensor: whole numbers of few bits, places and values, a grid, or as it is.

`layers.loader` puts every form together again; one is taken only if that gives the tensor bit for bit.  Parts of a form
are packed as well: weights on a grid of which many are zero become places and whole numbers of few bits.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import brotli
import torch
from torch import Tensor

from ..loader import DTYPES, UNPACK
from .grids import grids_of

ENTRY = 80  # bytes of a tensor's entry in the header of the file
MANY = 0.95  # of the numbers elsewhere: no places are kept
QUICK = {"quality": 5, "lgwin": 16}  # by which forms are compared
SMALLEST = 64  # bytes of a tensor of which there is nothing to save

MAY = {  # part of a form -> the forms that it may take itself
    "levels": ("bits", "gaps"),
    "gaps": ("bits",),
    "values": ("bits", "planes"),
    "scale": ("planes",),
    "bits": (),
    "planes": (),
}
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

Price = Callable[[Tensor], float]  # bytes that a tensor's numbers take in the file
Parts = dict[str, Tensor]


class Packed(NamedTuple):
    """A tensor taken apart: `form` is plain values for JSON, None for a tensor as it is; its parts by their endings.

    Example:
        >>> packed = pack(torch.tensor([[0.5, -0.5] * 40, [2.0, 2.0] * 40]))
        >>> packed.form["form"], {name: tensor.nbytes for name, tensor in packed.tensors.items()}
        ('grid', {'.levels.bits': 20, '.scale': 8})
    """

    form: dict[str, Any] | None
    tensors: Parts
    price: float


def size_of(tensor: Tensor) -> float:
    """Bytes of the numbers as they are."""
    return tensor.nbytes


def compressed_size_of(tensor: Tensor) -> float:
    """Bytes of the numbers once they are compressed, nearly: by a quick brotli."""
    return len(brotli.compress(bytes(tensor.flatten().view(torch.uint8).numpy()), **QUICK))


def pack(tensor: Tensor, price: Price = size_of, may: Sequence[str] = ("gaps", "grid", "planes")) -> Packed:
    """Take a tensor apart, exactly, into what is smallest in the file.

    Args:
        tensor: of any shape, dtype and device.
        price: of each part in the file: `size_of`, or `compressed_size_of` for a file that will be compressed.
        may: the forms among which is chosen.

    Returns:
        The form, its parts, on the CPU, and their price.
    """
    tensor = tensor.detach().cpu().contiguous()
    best = Packed(None, {"": tensor}, price(tensor) + ENTRY)
    if tensor.nbytes < SMALLEST or str(tensor.dtype).removeprefix("torch.") not in DTYPES:
        return best
    for form, parts in _forms(tensor, may, price is compressed_size_of):
        made = {name: pack(part, price, MAY[name]) for name, part in parts.items()}
        whole = Packed(
            {**form, "parts": {name: part.form for name, part in made.items() if part.form is not None}},
            {f".{name}{end}": t for name, part in made.items() for end, t in part.tensors.items()},
            sum(part.price for part in made.values()),
        )
        if whole.price < best.price and _same(UNPACK[form["form"]](*parts.values(), form, tensor.dtype), tensor):
            best = whole
    return best


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one dtype are equal bit for bit, signs of zeros and NaN included."""
    return torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))


def _forms(tensor: Tensor, may: Sequence[str], compressed: bool) -> Iterator[tuple[dict[str, Any], Parts]]:
    """What the tensor may be taken apart into: a form and its parts, in the order of PARTS."""
    facts = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    whole = tensor.dtype == torch.uint8
    if "bits" in may and whole and (width := max(1, int(tensor.max()).bit_length())) < 8:
        # nothing that lies across bytes compresses
        width = next(w for w in (1, 2, 4, 8) if w >= width) if compressed else width
        if width < 8:
            yield {"form": "bits", **facts, "width": width}, {"bits": _bits(tensor.flatten(), width)}
    if "gaps" in may:
        yield from _gaps(tensor, facts, int(tensor.flatten().bincount().argmax()) if whole else 0, compressed)
    for grid in grids_of(tensor) if "grid" in may and tensor.ndim > 1 and not whole else ():
        form = {"form": "grid", **facts, "low": grid.low, "stride": grid.stride}
        yield form, {"levels": grid.levels, "scale": grid.scale}
    if "planes" in may and compressed and not whole:
        yield {"form": "planes", **facts}, {"planes": _planes(tensor)}


def _bits(numbers: Tensor, width: int) -> Tensor:
    """The numbers, of so many bits each, one after the other, the first in the lowest bits of the first byte."""
    bits = (numbers[:, None] >> torch.arange(width, dtype=torch.uint8) & 1).flatten()
    bits = torch.nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
    packed = bits[:, 0].clone()
    for place in range(1, 8):
        packed |= bits[:, place] << place
    return packed


def _gaps(tensor: Tensor, facts: dict[str, Any], fill: int, compressed: bool) -> Iterator[tuple[dict[str, Any], Parts]]:
    """The places of what is not the most usual number, as gaps between them, and the numbers there.

    A gap of at most `longest`, which stands for that many and no end: with 1, one bit for each number, which is a mask.
    """
    flat = tensor.flatten()
    bits = flat if flat.dtype == torch.uint8 else flat.view(INTEGERS[flat.element_size()])
    elsewhere = bits != fill  # of floats the fill is +0, all of whose bits are zero
    if int(elsewhere.sum()) > MANY * len(flat):
        return  # before their places take two to eight times as much memory
    places = elsewhere.nonzero()[:, 0]
    between = places.diff(prepend=places.new_tensor([-1])) - 1
    counts = {width: len(between) + int((between // (2**width - 1)).sum()) for width in range(1, 9)}
    least = min(counts, key=lambda width: counts[width] * width)
    for width in (1, 4, 8) if compressed else (least,):
        longest = 2**width - 1
        many = between // longest
        gaps = torch.full((counts[width],), longest, dtype=torch.uint8)
        gaps[(many + 1).cumsum(0) - 1] = (between - many * longest).to(torch.uint8)
        yield {"form": "gaps", **facts, "fill": fill, "longest": longest}, {"gaps": gaps, "values": flat[places]}


def _planes(tensor: Tensor) -> Tensor:
    """(bytes of a number, numbers): all first bytes, all second ones, and so on."""
    return tensor.flatten().view(torch.uint8).view(-1, tensor.element_size()).T.contiguous()
