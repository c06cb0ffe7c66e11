"""Why a training cannot go on: errors of one sentence."""


class Stopped(ValueError):
    """A training that cannot go on; one sentence."""


class Diverged(Stopped):
    """A loss that is no number: raised in every process at the same step, whichever of them saw it."""


class NoRoom(Stopped):
    """A first batch that the device has no memory for."""
