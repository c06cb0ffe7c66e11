"""How training images are varied: small ones in memory are moved and mirrored, those on disk cropped at random."""

import torch
from torch import Tensor
from torchvision.transforms import v2

from .preprocessing import MODES, Preprocessing


def draw_moves(n: int, most: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Draw (n, 3) int64: rows and columns, -most to most, by which each image is moved, and whether it is mirrored."""
    moves = torch.randint(-most, most + 1, (n, 2), generator=generator)
    mirrored = torch.rand(n, generator=generator) < (0.5 if flip else 0)
    return torch.cat([moves, mirrored[:, None].long()], 1)


def move(images: Tensor, shift: Tensor, mirrored: Tensor) -> Tensor:
    """Read image i from shift[i] = (rows, columns) on, edges filled with zeros, then mirror it if mirrored[i].

    images (n, c, h, w), shift (n, 2) int64, mirrored (n,) bool: RandomCrop with padding and RandomHorizontalFlip with
    a draw for each image, where torchvision's v2 would treat the whole batch alike.
    """
    n, _, h, w = images.shape
    rows = shift[:, :1] + torch.arange(h, device=images.device)
    columns = shift[:, 1:] + torch.arange(w, device=images.device)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    picked = images[
        torch.arange(n, device=images.device)[:, None, None],
        :,
        rows.clamp(0, h - 1)[:, :, None],
        columns.clamp(0, w - 1)[:, None, :],
    ]
    return picked.movedim(-1, 1) * inside[:, None]


def random_crop(preprocessing: Preprocessing, flip: bool) -> list[torch.nn.Module]:
    """Return the steps of torchvision's training on ImageNet: a crop of random size and shape, every second mirrored.

    Szegedy et al. 2015, section 6; none where images stay as they are stored.
    """
    if preprocessing.size is None:
        return []
    if preprocessing.interpolation == "none":
        crop: torch.nn.Module = v2.RandomCrop(preprocessing.size, pad_if_needed=True)
    else:
        mode = MODES[preprocessing.interpolation]
        crop = v2.RandomResizedCrop(preprocessing.size, interpolation=mode)
    return [crop, v2.RandomHorizontalFlip()] if flip else [crop]
