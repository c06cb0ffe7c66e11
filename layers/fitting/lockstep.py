"""Many forward passes of one network side by side, all stopped before the same layer.

A layer can then be changed with every image's input at hand, and no part of the network runs twice.  Each batch has a
thread of its own, of which one runs at a time: that works for any `forward`, which needs not be traced, and what a
network sets for its thread (autocast, gradients) stays in its own pass, which coroutines of one thread would share.
What waits is what a forward pass keeps alive at that point, for all batches together.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ..network import input_of


class _Left(BaseException):
    """Unwinds an abandoned forward pass; a BaseException, so that the network's own handlers let it through."""


class _Pass(threading.Thread):
    """One forward pass that stops where `pause` is called and goes on with `advance`."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__(daemon=True)
        self.network, self.images = network, images
        self.resumed, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.place: tuple[str, Tensor] | None = None
        self.error: BaseException | None = None
        self.leave = False
        self.start()

    def run(self) -> None:
        self.resumed.acquire()
        try:
            if not self.leave:
                with torch.no_grad():
                    self.network(self.images.clone())  # which it may work on in place
        except _Left:
            pass  # that is what it was told
        except BaseException as error:
            self.error = error  # raised again where the caller waits
        self.place = None
        self.stopped.release()

    def pause(self, name: str, x: Tensor) -> None:
        """Stop here, within the forward pass, until the caller goes on."""
        self.place = name, x
        self.stopped.release()
        self.resumed.acquire()
        if self.leave:
            raise _Left

    def give_up(self) -> None:
        """End a pass that is still waiting."""
        if self.is_alive():
            self.leave = True
            self.resumed.release()
            self.join()

    def advance(self) -> tuple[str, Tensor] | None:
        """Go on to the next layer: its name and input, or None at the end."""
        self.resumed.release()
        self.stopped.acquire()
        if self.error is not None:
            raise self.error
        return self.place


def in_lockstep(
    network: nn.Module, stops: Mapping[str, nn.Module], batches: Sequence[Tensor]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield (name, the input of every batch) before each call of a stop; the network goes on when asked for the next.

    Raises ValueError for a network that does not call the same layers for every batch.
    """
    with ExitStack() as cleaning:
        for name, module in stops.items():
            pause = lambda _, args, kwargs, name=name: _pause(name, input_of(args, kwargs))  # noqa: E731  # a hook
            cleaning.callback(module.register_forward_pre_hook(pause, with_kwargs=True).remove)
        passes = [_Pass(network, images) for images in batches]
        for forward in passes:
            cleaning.callback(forward.give_up)
        while True:
            places = [forward.advance() for forward in passes]
            names = {None if place is None else place[0] for place in places}
            if len(names) > 1:
                raise ValueError(
                    f"the network must call the same layers for every batch, got {sorted(map(str, names))}"
                )
            if names == {None}:
                return
            yield names.pop() or "", [place[1] for place in places if place is not None]


def _pause(name: str, x: Tensor) -> None:
    forward = threading.current_thread()
    if isinstance(forward, _Pass):
        forward.pause(name, x)
