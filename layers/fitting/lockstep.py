"""Many forward passes of one network side by side, all stopped before the same layer, or before the same addition.

A layer can then be changed with every image's input at hand, and no part of the network runs twice.  Each batch has a
thread of its own, of which one runs at a time: that works for any `forward`, which needs not be traced, and what a
network sets for its thread (autocast, gradients) stays in its own pass, which coroutines of one thread would share.
What waits is what a forward pass keeps alive at that point, for all batches together.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..network import input_of
from .additions import Additions


class _Left(BaseException):
    """Unwinds an abandoned forward pass; a BaseException, so that the network's own handlers let it through."""


class Place(NamedTuple):
    """Where a pass waits: before a call with this input, or, after it, before its output is added to the other."""

    name: str
    x: Tensor
    other: Tensor | None = None


class Stop(NamedTuple):
    """Where all passes wait, and what they wait with, of each batch."""

    name: str
    inputs: list[Tensor]
    others: list[Tensor] | None


class _Pass(threading.Thread):
    """One forward pass that stops where `pause` is called and goes on with `advance`."""

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        stops: Mapping[str, nn.Module],
        summed: Mapping[str, Sequence[nn.Module]],
    ) -> None:
        super().__init__(daemon=True)
        self.network, self.images, self.stops, self.summed = network, images, stops, summed
        self.additions, self.inputs = Additions(self._added), dict[str, Tensor]()
        self.again = False  # computing an output anew
        self.resumed, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.place: Place | None = None
        self.error: BaseException | None = None
        self.leave = False
        self.start()

    def run(self) -> None:
        self.resumed.acquire()
        try:
            if not self.leave:
                with torch.no_grad(), self.additions if self.summed else nullcontext():
                    self.network(self.images.clone())  # which it may work on in place
        except _Left:
            pass  # that is what it was told
        except BaseException as error:
            self.error = error  # raised again where the caller waits
        self.place = None
        self.stopped.release()

    def pause(self, name: str, x: Tensor, other: Tensor | None = None) -> None:
        """Stop here, within the forward pass, until the caller goes on."""
        self.place = Place(name, x, other)
        self.stopped.release()
        self.resumed.acquire()
        if self.leave:
            raise _Left

    def _added(self, name: str, output: Tensor, other: Tensor) -> None:
        """Stop before the addition, and let it be of what the layer then puts out."""
        x = self.inputs.pop(name)
        self.pause(name, x, other)
        self.again = True
        for module in (self.stops[name], *self.summed[name]):
            x = module(x)
        output.copy_(x)
        self.again = False

    def give_up(self) -> None:
        """End a pass that is still waiting."""
        if self.is_alive():
            self.leave = True
            self.resumed.release()
            self.join()

    def advance(self) -> Place | None:
        """Go on to the next place, or None at the end."""
        self.resumed.release()
        self.stopped.acquire()
        if self.error is not None:
            raise self.error
        return self.place


def in_lockstep(
    network: nn.Module,
    stops: Mapping[str, nn.Module],
    batches: Sequence[Tensor],
    summed: Mapping[str, Sequence[nn.Module]] | None = None,
) -> Iterator[Stop]:
    """Yield a Stop before each call of a stop; the network goes on when asked for the next.

    summed: those of the stops whose output is added to something else, with the modules that it goes through before.
    The passes go on to the addition and stop there, with the input that the stop had; when they go on the output is
    computed once more.

    Raises ValueError for a network that does not call the same layers for every batch.
    """
    summed = summed or {}
    with ExitStack() as cleaning:
        for name, module in stops.items():
            before = partial(_enter, name, name in summed)
            cleaning.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        for name, modules in summed.items():
            last = [stops[name], *modules][-1]
            cleaning.callback(last.register_forward_hook(partial(_leave, name)).remove)
        passes = [_Pass(network, images, stops, summed) for images in batches]
        for forward in passes:
            cleaning.callback(forward.give_up)
        while True:
            places = [place for forward in passes if (place := forward.advance()) is not None]
            names = {place.name for place in places} | ({None} if len(places) < len(passes) else set())
            if len(names) > 1:
                raise ValueError(
                    f"the network must call the same layers for every batch, got {sorted(map(str, names))}"
                )
            if names == {None}:
                return
            others = [place.other for place in places if place.other is not None]
            yield Stop(places[0].name, [place.x for place in places], others or None)


def _enter(name: str, summed: bool, _: nn.Module, args: tuple, kwargs: dict) -> None:
    forward = threading.current_thread()
    if not isinstance(forward, _Pass) or forward.again:
        return
    if summed:
        forward.inputs[name] = input_of(args, kwargs)
    else:
        forward.pause(name, input_of(args, kwargs))


def _leave(name: str, _: nn.Module, args: tuple, y: Tensor) -> None:
    forward = threading.current_thread()
    if isinstance(forward, _Pass) and not forward.again:
        forward.additions.note(name, y)
