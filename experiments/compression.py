"""From the dense network to one row of the table: calibration images, a plan, factors; no gradient step."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from checks import need
from layers import Budget, Plan, Stats, calibrate, compress, reestimate_batchnorm, refit
from layers.choice import Survey, choose
from layers.methods import check_kernels, method
from layers.planner import survey_network
from layers.selectors import SELECTORS

from .batches import Batches
from .config import Compression
from .data import Dataset, Split, Stream
from .data.stream import SMALL
from .distributed import rank, world

AUTO = "auto"
MIXED = ("svd", "spatial", "tucker", "ht", "cp")  # what `auto` chooses from, layer by layer
KINDS = {"all": nn.Module, "conv": nn.Conv2d, "linear": nn.Linear}
USUAL, USUAL_LARGE = 2000, 512  # calibration images; a refit holds what all of them are inside the network
BATCH = 128


class Recipe(NamedTuple):
    """How one network of a comparison is made of the dense one."""

    kernels: tuple[str, ...]
    budget: Budget
    selector: str
    refit: bool
    reestimate: bool = False  # BatchNorm statistics
    layers: str = "all"

    @property
    def factors(self) -> bool:
        """Whether its kernels make factors, which alone can be refitted."""
        return all(method(name).scheme is not None for name in self.kernels)

    @property
    def calibrated(self) -> bool:
        """Whether it takes the moments of calibration images."""
        return self.refit or self.selector == "loss"

    @property
    def wants_images(self) -> bool:
        """Whether it takes calibration images at all."""
        return self.calibrated or self.reestimate

    def words(self, images: int) -> str:
        """How it was done, for a report."""
        parts = [f"selector {self.selector}"]
        if len(self.kernels) > 1:
            parts.append(f"of kernels {', '.join(self.kernels)}")
        if self.calibrated:
            parts.append(f"calibrated with {images:,} training images")
        if self.refit:
            parts.append("factors refitted on them")
        if self.reestimate:
            parts.append(f"BatchNorm statistics measured anew on {images:,} training images")
        return "; ".join(parts)

    def plan(self, model: nn.Module, example: Tensor, stats: Stats | None) -> Plan:
        """Ranks within the budget."""
        return choose(model, self.survey(model, example, stats), self.budget)

    def survey(self, model: nn.Module, example: Tensor, stats: Stats | None) -> Survey:
        """What there is to choose from; a latency is that of the whole example, other costs are those of one image."""
        batch = example if self.budget.metric == "latency" else example[:1]
        return survey_network(
            model,
            self.budget,
            self.kernels,
            self.selector,
            example=batch.to(next(model.parameters()).device),
            stats=stats if self.calibrated else None,
            where=lambda _, module: isinstance(module, KINDS[self.layers]),
        )

    def try_out(self, model: nn.Module, example: Tensor) -> None:
        """Refuse now what a plan of the trained network would refuse.

        A plan by loss takes minutes for a large network: its forms, and so what it can reach, are those of energy.
        """
        if self.selector != "loss":
            self._replace(refit=False).plan(model, example, None)
            return
        try:
            self._replace(selector="energy", refit=False).plan(model, example, None)
        except ValueError as error:
            raise ValueError(str(error).replace("within reach of energy", "within reach of loss")) from None

    def build(self, model: nn.Module, plan: Plan, images: "Calibration | None") -> nn.Module:
        """The network as planned, refitted and with new BatchNorm statistics as the recipe says."""
        if images is None or not self.wants_images:
            return compress(model, plan)
        stats = images.stats if self.calibrated else None
        small = compress(model, plan, stats=stats)
        if self.refit:
            small = refit(small, model, images.batches, stats=stats, seed=images.seed)
        return reestimate_batchnorm(small, images.batches) if self.reestimate else small


def recipe(kernel: str, compression: Compression) -> Recipe:
    """What the options mean for one --kernel; ValueError in one sentence for what cannot be combined."""
    kernels = MIXED if kernel == AUTO else (kernel,)
    rows = [method(name) for name in kernels]
    if compression.budget is not None:
        budget = Budget.parse(compression.budget)
    else:
        budget = Budget(macs=0.5) if all("macs" in row.saves for row in rows) else Budget(params=0.5)
    selector = compression.selector or ("loss" if kernel == AUTO else "energy")
    need(selector in SELECTORS, "selector", selector, f"one of {', '.join(SELECTORS)}")
    check_kernels(kernels, budget, selector)  # as make_plan does, but before any image is read
    wanted = selector == "loss" if compression.refit is None else compression.refit
    found = Recipe(kernels, budget, selector, wanted, compression.reestimate_batchnorm, compression.layers)
    allowed = "one that makes factors, not coefficients"
    need(found.factors or not compression.refit, "kernel for --refit", kernel, allowed)
    return found._replace(refit=wanted and found.factors)


def drawn(n: int, count: int, seed: int) -> np.ndarray:
    """The places, ascending, of `count` of n images."""
    return np.sort(np.random.default_rng(seed).choice(n, count, replace=False))


def image_count(asked: int | None, images: int, side: int) -> int:
    """How many of so many training images calibrate; ValueError if more are asked for than there are.

    By default 2,000, or 512 of more than 64 pixels a side, or all there are.
    """
    if asked is None:
        return min(images, USUAL if side <= SMALL else USUAL_LARGE)
    need(1 <= asked <= images, "calibration images", asked, f"1 to {images}, the number of training images")
    return asked


class Calibration:
    """Training images drawn by seed, not augmented, and what the network does with them; each made when asked for.

    With several processes each asks for `stats`, for which it runs its share of the images.
    """

    def __init__(
        self, model: nn.Module, split: Split | Stream, dataset: Dataset, seed: int, device: torch.device | str
    ) -> None:
        self.model, self.split, self.dataset, self.seed, self.device = model, split, dataset, seed, device

    @classmethod
    def draw(
        cls, model: nn.Module, dataset: Dataset, count: int, seed: int, device: torch.device | str
    ) -> "Calibration":
        """Of `count` training images."""
        train = dataset.train()
        return cls(model, train.part(drawn(len(train.labels), count, seed)), dataset, seed, device)

    def _batches(self, rank: int = 0, world: int = 1) -> list[tuple[Tensor, Tensor]]:
        share = -(-len(self.split.labels) // world)
        size = -(-share // -(-share // BATCH))  # even: BatchNorm has little to say of a last batch of one image
        return list(Batches(self.split, self.dataset, size, rank=rank, world=world, device=self.device))

    @cached_property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """All of them, normalised, on the device."""
        self.model.to(self.device)
        return self._batches()

    @cached_property
    def stats(self) -> Stats:
        """Second moments of all of them."""
        self.model.to(self.device)
        mine = self.batches if world() == 1 else self._batches(rank(), world())
        return calibrate(self.model, mine, seed=self.seed + rank())


def predicted(plan: Plan) -> float | None:
    """The rise of the loss that the plan foresees; None where its selector foresees none."""
    return sum(row.error for row in plan.layers) if plan.selector == "loss" else None
