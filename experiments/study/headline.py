"""What a study says first: which kernel holds trained weights best, and whether it is more than it holds of noise."""

from typing import Any

import pandas as pd

from ..lab.reporting.units import counted
from .summary import best_of, groups
from .tables import KINDS, fraction_name, label

LITTLE = 0.05  # of the norm: less between trained and random weights is hardly worth a kernel
NAMES = {  # of kernels: not everyone knows the letters
    "dct": "the cosine transform",
    "dst": "the sine transform",
    "dft": "the Fourier transform",
    "dht": "the Hartley transform",
    "dwt": "the wavelet transform",
    "shannon": "Shannon's wavelet transform",
    "svd": "the SVD",
    "tucker": "Tucker",
    "cp": "CP",
    "ht": "hierarchical Tucker",
    "none": "keeping the largest weights",
}
TITLES = {"transform": "best transform", "decomposition": "best decomposition", "none": "no kernel"}
AXES = {"all": "all axes", "channels": "the channels", "spatial": "height and width"}


def in_words(kernel: str, axes: str, keep: str) -> str:
    """Name a kernel and how it was used.

    >>> in_words("dct", "all", "largest"), in_words("svd", "channel", "rank"), in_words("none", "", "largest")
    ('dct along all axes, largest coefficients', 'svd (channel)', 'the largest weights')
    """
    if kernel == "none":
        return "the largest weights"
    return label(kernel, axes) if keep == "rank" else f"{kernel} along {AXES[axes]}, {keep} coefficients"


def judged(
    errors: pd.DataFrame, at: float, kind: str, facts: dict[str, Any]
) -> tuple[str, list[str], list[tuple[str, str]]]:
    """Return the headline, two sentences and the large figures, of the weights of one kind at one fraction stored."""
    there = errors[errors.fraction == at]
    trained = groups(there[there.condition == "trained"])
    named = {name: (best_of(group), float(group.error.min())) for name, group in trained.items() if len(group)}
    ((kernel, *how), least), *others = sorted(named.values(), key=lambda found: found[1])
    stored, weights = fraction_name(at), counted(sum(layer["kind"] == kind for layer in facts["layers"]), "weight")
    headline = f"At {stored} of the numbers, {NAMES[kernel]} keeps trained {KINDS[kind]} best: error {least:.2f}."
    rest = "; ".join(f"{in_words(*key)} {error:.2f}" for key, error in others)
    sentences = [
        f"Relative errors, 0 is exact and 1 is nothing kept, means over {weights}: "
        f"{in_words(kernel, *how)} {least:.2f}; {rest}."
    ]
    noise = there[(there.condition == "random") & (there.kernel == kernel)]
    if len(noise):
        much = "much" if float(noise.error.min()) - least > LITTLE else "little"
        sentences.append(
            f"Of random weights of the same shapes {kernel} loses {noise.error.min():.2f}, "
            f"so training left {much} that it can use."
        )
    return (
        headline,
        sentences,
        [(f"{error:.2f}", f"{TITLES[name]}: {in_words(*key)}") for name, (key, error) in named.items()],
    )
