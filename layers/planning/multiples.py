"""Time a layer in a few forms of each kernel, and measure which ranks near them are fast where the network will run."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..costs import Call
from ..factored import Form, Spec
from ..network import Layer
from .errors import evenly
from .methods import method
from .prices import Price

MEASURED = 8  # forms of a kernel whose latency is measured, evenly spaced
MULTIPLES = (8, 16, 32, 64)  # of which ranks near the best of those are measured as well: widths of vectors and tiles
NEAR = 0.25  # how far off, of the rank
WORTH = 1.25  # of the dense layer's seconds: what takes more is of no use, nor are its neighbours

Costed = Callable[[Form], Form]  # gives a form what it costs


def timed_forms(price: Price, layer: Layer, forms: Sequence[Form], calls: Sequence[Call], costed: Costed) -> list[Form]:
    """Return forms with their seconds: a few of each kernel, and ranks near those that a plan may choose.

    Which ranks are fast is measured, not known: around each form that no other one beats, multiples of powers of two
    are timed beside it.  Their errors are interpolated between the kernel's own forms.

    Args:
        price: of a layer's forms, in seconds.
        layer: to be timed.
        forms: all that are judged, with costs; the dense one last.
        calls: of the layer.
        costed: see `Costed`.
    """
    *others, dense = forms
    own = {kernel: [f for f in others if f.kernel == kernel] for kernel in dict.fromkeys(f.kernel for f in others)}
    few = [form for of_kernel in own.values() for form in evenly(of_kernel, MEASURED)]
    timed = _priced(price, layer, [*few, dense], calls)
    near: dict[tuple[str | None, str], Form] = {}
    for form in timed[:-1]:
        if form.price < WORTH * timed[-1].price and not _beaten(form, timed):
            for other in _neighbours(layer, form, own, costed):
                near.setdefault((other.kernel, str(other.spec)), other)
    for form in few:
        near.pop((form.kernel, str(form.spec)), None)
    return _priced(price, layer, [*few, *near.values(), dense], calls)


def _priced(price: Price, layer: Layer, forms: Sequence[Form], calls: Sequence[Call]) -> list[Form]:
    return [form._replace(price=seconds) for form, seconds in zip(forms, price(layer, forms, calls))]


def _beaten(form: Form, others: Sequence[Form]) -> bool:
    """Whether another form takes less time and errs less or, where levels choose, reaches a higher one."""
    if math.isnan(form.error):
        return any(other.price < form.price and other.level > form.level for other in others)
    return any(other.price < form.price and other.error < form.error for other in others)


def _neighbours(layer: Layer, form: Form, own: Mapping[str | None, Sequence[Form]], costed: Costed) -> Iterator[Form]:
    """Yield the forms of the same kernel with ranks at multiples near this one's.

    Where levels choose, ranks that are higher reach the same level, and lower ones none.
    """
    row = method(form.kernel or "")
    for spec, above in _multiples(form.spec):
        try:
            row.check(layer, spec)
        except ValueError:  # more than the layer has
            continue
        made = costed(form._replace(spec=spec))
        if not math.isnan(form.error):
            yield made._replace(error=_error(made.cost.macs, own[form.kernel]))
        elif above:
            yield made


def _multiples(spec: Spec) -> Iterator[tuple[Spec, bool]]:
    """Yield the spec with its ranks at multiples near them, and whether these are the next above."""
    key = "rank" if "rank" in spec else "ranks"
    ranks = [spec[key]] if key == "rank" else [*spec[key]]
    for multiple in MULTIPLES:
        for above in (False, True):
            moved = [rank + (-rank % multiple if above else -(rank % multiple)) for rank in ranks]
            moved = [new if 0 < abs(new - rank) <= NEAR * rank else rank for new, rank in zip(moved, ranks)]
            if moved != ranks:
                yield {**spec, key: moved[0] if key == "rank" else moved}, above


def _error(macs: int, forms: Sequence[Form]) -> float:
    """Interpolate the error at a cost between the forms around it: its logarithm linearly where both err."""
    ordered = sorted(forms, key=lambda form: form.cost.macs)
    below = [form for form in ordered if form.cost.macs <= macs]
    above = [form for form in ordered if form.cost.macs >= macs]
    if not below or not above:
        return (above or below[-1:])[0].error
    low, high = below[-1], above[0]
    if high.cost.macs == low.cost.macs:
        return low.error
    part = (macs - low.cost.macs) / (high.cost.macs - low.cost.macs)
    if min(low.error, high.error) > 0:
        return math.exp((1 - part) * math.log(low.error) + part * math.log(high.error))
    return (1 - part) * low.error + part * high.error
