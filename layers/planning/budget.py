"""How much of the dense network may be kept."""

from dataclasses import asdict, dataclass

from checks import require


@dataclass(frozen=True)
class Budget:
    """The fraction of one cost of the dense network to keep.

    Args:
        macs: Of the multiply-accumulates of one input.
        params: Of the trained numbers.
        bytes: Of the checkpoint's bytes.
        latency: Of the seconds of a forward pass of the example, measured on this machine.

    Raises:
        ValueError: Unless exactly one is given, above 0 and at most 1.

    Example:
        >>> from layers import Budget
        >>> Budget(macs=0.5).fraction
        0.5
        >>> str(Budget.parse("latency=0.8"))
        'latency=0.8'
    """

    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        require(len(given) == 1, "budget", given, "exactly one of macs=, params=, bytes=, latency=")
        for name, value in given.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            require(number and 0 < value <= 1, f"budget {name}", value, "a fraction above 0 and at most 1")

    @property
    def metric(self) -> str:
        """Name what is limited: a field of Cost, or the measured latency."""
        return next(name for name, value in asdict(self).items() if value is not None)

    @property
    def fraction(self) -> float:
        """Return how much of it may be kept."""
        return float(getattr(self, self.metric))

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Parse "macs=0.5"; ValueError shows the accepted forms."""
        name, _, value = text.partition("=")
        try:
            return cls(**{name.strip(): float(value)})
        except (TypeError, ValueError) as error:
            if "must be" in str(error):
                raise
            message = f"budget must be macs=, params=, bytes= or latency= and a fraction, as macs=0.5, got {text!r}"
            raise ValueError(message) from None

    def __str__(self) -> str:
        return f"{self.metric}={self.fraction:g}"
