"""A clock that networks move: how long a forward pass takes is what a test says, not what the machine does."""

from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class Rest(nn.Module):
    """All of a network that no plan changes: 100 microseconds."""

    def forward(self, x):
        return x


class Whole(nn.Sequential):
    """A network whose time is set by `ModuleClock.truth`."""


class ModuleClock:
    """Moves a microsecond for every weight of a convolution or Linear layer that runs.

    truth: what part of the time of the dense network a `Whole` takes of which that part of the weights is left.
    ran: every module that was called, in order of return.
    """

    def __init__(self, truth=None):
        self.now, self.ran, self.truth, self.dense = 0.0, [], truth, None

    def __call__(self):
        return self.now

    @contextmanager
    def running(self):
        before = register_module_forward_pre_hook(self._begin)
        after = register_module_forward_hook(self._end)
        try:
            yield self
        finally:
            before.remove()
            after.remove()

    def _begin(self, module, args):
        if isinstance(module, Whole):
            self.began = self.now

    def _end(self, module, args, output):
        self.ran.append(module)
        if isinstance(module, nn.Conv2d | nn.Linear):
            self.now += weight_seconds(module)
        if isinstance(module, Rest):
            self.now += 1e-4
        if isinstance(module, Whole) and self.truth:
            own = weight_seconds(module)
            self.dense = self.dense or own  # the first that runs
            self.now = self.began + (1e-4 + self.dense) * (1.0 if own == self.dense else self.truth(own / self.dense))


def weight_seconds(module):
    return 1e-6 * sum(parameter.numel() for parameter in module.parameters())
