"""How much of the dense network may be kept."""

from dataclasses import asdict, dataclass

from checks import require


@dataclass(frozen=True)
class Budget:
    """The fraction of one cost of the dense network to keep, e.g. Budget(macs=0.5), Budget(latency=0.5)."""

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
        """What is limited: a field of Cost, or the measured latency."""
        return next(name for name, value in asdict(self).items() if value is not None)

    @property
    def fraction(self) -> float:
        """How much of it may be kept."""
        return float(getattr(self, self.metric))

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """From "macs=0.5"."""
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
