"""Run a network on images and sum what its layers take in and what the loss's gradients at their outputs are."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from checks import require

from ..network import Layer, answer, class_scores, input_of, with_batch
from .eigenvalues import Basis
from .followers import Followers
from .moments import draw, inputs_at, outputs_at, own_moments, second_moment
from .stats import blocks

Sums = dict[tuple[str, str], Any]  # (layer's name, quantity) -> a tensor or a number
IMAGES = ("", "images")
DRAWS = 2  # of an image's label where eigenvalues are summed: of few images every one has to say more


class Observer:
    """Sums over the images of the batches that `run` is given, for these layers of a network.

    With `bases` also the squares of per-image gradients of the weight, in them.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, Any],
        loss_aware: bool,
        generator: torch.Generator,
        bases: Mapping[str, Basis] | None = None,
    ) -> None:
        self.model, self.layers, self.loss_aware, self.generator = model, layers, loss_aware, generator
        self.bases, self.draws = bases or {}, 1 if bases is None else DRAWS
        self.sums: Sums = defaultdict(float)
        self.images = 0  # of the batch
        self.last: tuple[str, Tensor, Tensor] | None = None  # the Linear layer called last: name, rows and output
        self.scores = ""  # the layer whose output the network's is
        self.waiting = ExitStack()  # what takes a batch's gradients off its outputs
        self.norms: dict[str, str] | None = None  # layer -> the BatchNorm after it, once a batch has shown it

    def run(self, batches: Iterable[Tensor]) -> Sums:
        """Pass all images through the network, and gradients back where the loss is of interest."""
        with ExitStack() as hooks:
            for name, layer in self.layers.items():
                hooks.callback(layer.register_forward_hook(self._adder(name, layer), with_kwargs=True).remove)
            for x in batches:
                # an output holds what waits for its gradient, which holds this batch: no collector sees that circle
                with self.waiting:
                    self._add(x)
                self.last = None
        return self.sums

    def _add(self, x: Tensor) -> None:
        self.images, self.last, self.scores = len(x), None, ""
        self.sums[IMAGES] += len(x)
        if self.loss_aware and self.norms is None:
            scores, self.norms = self._first_pass(x)
        else:
            scores = answer(self.model, x, gradients=self.loss_aware)
        if self.loss_aware:
            self._add_gradients(scores)

    def _first_pass(self, x: Tensor) -> tuple[Any, dict[str, str]]:
        """Return the network's answer, and which BatchNorms follow which layers in it."""
        with ExitStack() as hooks:
            calls = Followers(self.model, hooks)
            scores = answer(self.model, x, gradients=True)
        traced = isinstance(scores, Tensor) and scores.grad_fn is not None
        return scores, calls.found(scores) if traced else {}

    def _adder(self, name: str, layer: Layer) -> Callable[[nn.Module, tuple, dict[str, Any], Tensor], None]:
        size, b = layer.weight[0].numel(), blocks(layer)

        def add(_: nn.Module, args: tuple, kwargs: dict[str, Any], y: Tensor) -> None:
            x, sums = input_of(args, kwargs).detach(), self.sums
            rows = inputs_at(layer, x, draw(layer, y, max(8, size // 16), self.generator))
            second, total = own_moments(rows.unflatten(2, (b, -1)).transpose(1, 2))
            finite = bool(total.isfinite().all())  # as is every one of the numbers that it sums
            require(finite, f"input of layer {name!r}", "NaN or infinity", "finite for every image")
            sums[name, "inputs"] += second
            sums[name, "mean"] += total.flatten(1)
            sums[name, "rows"] += rows.shape[1]
            images, positions = len(with_batch(layer, y)), y.numel() // len(layer.weight)
            if not self.loss_aware:
                sums[name, "power"] += y.square().mean(dtype=torch.float64) * images
                return
            differentiable = "differentiable, or pass loss_aware=False"
            require(y.requires_grad, f"output of layer {name!r}", "no gradient", differentiable)
            where = draw(layer, y, max(64, len(layer.weight) // 8), self.generator)
            scale = (1 if where is None else positions / images / len(where.rows)) / self.draws
            squares = self.bases[name].squares(layer, x, self.images) if name in self.bases else None
            drawn: list[Tensor] = []  # gradients, one for each label
            if isinstance(layer, nn.Linear):
                self.last = name, rows, y

            def back(gradient: Tensor) -> None:
                if name == self.scores:
                    return
                sums[name, "outputs"] += scale * second_moment(outputs_at(layer, gradient, where))
                if squares is not None:
                    drawn.append(gradient)
                if squares is not None and len(drawn) == self.draws:
                    sums[name, "squares"] += squares(*drawn) / self.draws

            self.waiting.callback(y.register_hook(back).remove)

        return add

    def _add_gradients(self, scores: Any) -> None:
        """Take the gradients of the sum over images of -log p(label), the labels drawn from p."""
        if not isinstance(scores, Tensor) and (found := class_scores(scores)) is not None:
            scores = found
        log_p = _log_probabilities(scores, self.images)
        p = log_p.detach().exp()
        if self.last is not None and self.last[2] is scores:
            self._add_scores(p)
        for number in range(self.draws):
            labels = torch.multinomial(p.cpu(), 1, generator=self.generator).to(p.device)
            _backward(-log_p.gather(1, labels).sum(), keep=number < self.draws - 1)

    def _add_scores(self, p: Tensor) -> None:
        """Add what the gradients p - e_y at the scores give on average over the label y, of probability p_y."""
        assert self.last is not None
        self.scores, rows, _ = self.last
        moment = torch.diag(p.sum(0, dtype=torch.float64)) - second_moment(p)
        self.sums[self.scores, "outputs"] += moment[None]
        if self.scores in self.bases:
            self.sums[self.scores, "squares"] += self.bases[self.scores].expected(rows, p)


def _log_probabilities(scores: Any, images: int) -> Tensor:
    """Log-softmax (n, classes) of what a network returned; ValueError for what are no scores of the images."""
    if isinstance(scores, Tensor) and scores.ndim == 1 and images == 1:
        scores = scores[None]  # squeeze() has taken the axis of a batch of one image
    shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    classes = isinstance(scores, Tensor) and scores.ndim == 2
    require(classes, "the network's output", shape, "scores (n, classes); without a classifier pass loss_aware=False")
    log_p = scores.log_softmax(1)
    require(bool(log_p.isfinite().all()), "the network's output", "NaN or infinity", "finite for every image")
    return log_p


def _backward(loss: Tensor, keep: bool) -> None:
    """Go back from the loss, and keep the graph to do so again; ValueError where the network does not allow it."""
    try:
        torch.autograd.backward(loss, retain_graph=keep)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # it overwrites what the gradient needs, or detaches its output
        words = str(error).partition(": [")[0].splitlines()[0]
        allowed = "differentiable, or pass loss_aware=False, as selector energy without refit does"
        raise ValueError(f"the network must be {allowed}, got {words}") from error
