"""What the dense network's layers put out, and the sums over it that a refit solves for.

A layer's target is what the same dense layer put out.  Where that is only read to be added to something else, as at the
end of a residual block, the target is what the sum lacks: the errors of all blocks before it stand in the other
summand, and what of them the layer's own input tells the layer takes away, without another multiplication.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..calibration import Positions, draw, inputs_at, joint_moments, outputs_at
from ..network import Layer, answer, input_of
from .additions import Additions
from .spool import Put

DAMPING = 1e-3  # of the mean square of a BatchNorm's gains

Sums = dict[str, Any]  # of x x^T, y x^T, x, y and rows


class Rows(NamedTuple):
    """Of a batch: where, what reads the outputs there, and what reads what they are added to, if anything."""

    where: Positions | None
    outputs: Callable[[], Tensor]
    others: Callable[[], Tensor] | None = None


class Targets:
    """The outputs of the first calls of these layers, at positions drawn, of some only the outputs that are left.

    `summed` are those that are called once and whose output, or that of the BatchNorm after them, is only read to be
    added to something else; none where outputs are left out.
    """

    def __init__(
        self, model: nn.Module, names: Sequence[str], left: Mapping[str, Tensor], norms: Mapping[str, str], put: Put
    ) -> None:
        self.model, self.left, self.put = model, left, put
        self.layers: dict[str, Any] = {name: model.get_submodule(name) for name in names}
        self.ends = {name: model.get_submodule(norms.get(name, name)) for name in ([] if left else names)}
        self.rows: dict[str, list[Rows]] = {name: [] for name in names}
        self.summed = set(self.ends)
        self.inputs: dict[str, tuple[Tensor, int]] = {}  # of a batch, and how often they have been written to

    def collect(self, images: Sequence[Tensor], seed: int) -> None:
        """Run the dense network on all batches."""
        generator = torch.Generator().manual_seed(seed)
        for number, batch in enumerate(images):
            with ExitStack() as hooks, Additions(self._add) as additions:
                for name, layer in self.layers.items():
                    keep = partial(self._keep, name, number, generator)
                    hooks.callback(layer.register_forward_hook(keep, with_kwargs=True).remove)
                for name, end in self.ends.items():
                    note = partial(additions.note, name)
                    hooks.callback(end.register_forward_hook(lambda m, _, y, note=note: note(y)).remove)
                answer(self.model, batch)
            self.inputs.clear()
            self.summed -= additions.elsewhere
            self.summed = {name for name in self.summed if self.rows[name] and self.rows[name][-1].others is not None}

    def _keep(
        self, name: str, number: int, generator: torch.Generator, layer: Any, args: Any, kwargs: Any, y: Tensor
    ) -> None:
        if len(self.rows[name]) > number:
            self.summed.discard(name)  # called again
            return
        where = draw(layer, y, max(8, layer.weight[0].numel() // 16), generator)
        at = outputs_at(layer, y, where)
        if name in self.left:  # one group here; `sums_of` splits them as the thinner layer does
            at = at.transpose(0, 1).flatten(1)[None, :, self.left[name].to(at.device)]
        self.rows[name].append(Rows(where, self.put(at)))
        x = input_of(args, kwargs)
        self.inputs[name] = x, x._version

    def _add(self, name: str, _: Tensor, other: Tensor) -> None:
        last, (x, version) = self.rows[name][-1], self.inputs.pop(name)
        if x._version != version:
            return  # overwritten: the output could not be computed anew
        at = outputs_at(self.layers[name], other, last.where)
        self.rows[name][-1] = last._replace(others=self.put(at))


def sums_of(
    layer: Layer, inputs: Sequence[Tensor], rows: Sequence[Rows], others: Sequence[Tensor] | None, norm: Any
) -> Sums:
    """Sum x x^T, y x^T, x and y over all batches and positions, and count them.

    Where y is added to something, which the compressed network has as `others`, y is also what these lack, divided by
    what the `norm` in between multiplies its channels by, if there is one.
    """
    sums: Sums = defaultdict(float)
    for number, (x, seen) in enumerate(zip(inputs, rows)):
        at, y = inputs_at(layer, x, seen.where), seen.outputs()
        if len(y) != len(at):  # the dense layer's groups, or one, and those of what is left of it
            y = y[0].unflatten(1, (len(at), -1)).transpose(0, 1)
        if others is not None and seen.others is not None:
            lacking = seen.others() - outputs_at(layer, others[number], seen.where)
            y = y + (lacking if norm is None else lacking * _inverse(norm).unflatten(0, (len(at), 1, -1)))
        for key, moment in joint_moments(at, y)._asdict().items():
            sums[key] += moment
        sums["rows"] += at.shape[1]
    return sums


def _inverse(norm: Any) -> Tensor:
    """Return 1 / gain, and next to nothing where that is next to nothing: such a channel cannot mend the sum."""
    gain = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.detach())
    squares = gain.square()
    return gain / (squares + DAMPING * squares.mean()).clamp_min(torch.finfo(gain.dtype).tiny)
