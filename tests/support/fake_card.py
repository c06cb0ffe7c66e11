"""Run stage 3 and the layers on a card that is not there: fake tensors know shapes, dtypes and devices, no numbers.

`python tests/support/fake_card.py` prints {case: outcome} as JSON.  An operation on tensors of two devices fails as on
a GPU.  The device is a backend of its own name, for autograd's engine asks for a driver before it runs backward on
"cuda"; a process of its own, since torch takes one such backend for good.  What reads a number back to the host, which
a GPU would wait for, is answered with 1 and counted by the function of ours that asked.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import stage3_torch
from contract import KERNELS, leaves
from layers import FrequencyConv2d, FrequencyLinear, calibrate, code
from layers.calibration import LayerStats
from layers.coded import Coded
from layers.fitting.refit import _refit_factors
from layers.planning import METHODS
from layers.thinning import binarise, mask, masks
from stage3_torch import tables

CARD = "card"
ROOT = Path(__file__).parents[2]
OURS = [str(ROOT / folder) for folder in ("stage3_torch", "layers")]
SPECS = {
    "dwt": {"wavelet": "db2", "levels": 2},
    "svd": {"rank": 3},
    "ht": {"rank": 3},
    "tucker": {"ranks": (3, 3), "sweeps": 2},  # what one sweep reads back, another reads again
    "cp": {"rank": 3, "sweeps": 2},
}
real_table = tables._made
READS = {
    torch.ops.aten._local_scalar_dense.default: "a number",
    torch.ops.aten.nonzero.default: "positions",
    torch.ops.aten.equal.default: "equality",
}


class HostReads(TorchDispatchMode):
    """Answer what reads a tensor's number back, and count it by the innermost function of ours.

    The answer is that all is well: true of all, false of any, and one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        on_card = any(isinstance(a, Tensor) and a.device.type == CARD for a in args)
        copies = func is torch.ops.aten._to_copy.default and torch.device(kwargs.get("device") or CARD).type == "cpu"
        if on_card and (func in READS or copies):
            self.counts[_asker()] += 1
        if func is torch.ops.aten._local_scalar_dense.default:
            dtype = args[0].dtype
            return not hasattr(args[0], "of_any") if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1
        result = func(*args, **kwargs)
        if func.overloadpacket is torch.ops.aten.any:
            result.of_any = True
        return result


def _asker() -> str:
    """file:function of ours nearest to the operation."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if any(path.startswith(folder) for folder in OURS):
            return f"{Path(path).relative_to(ROOT)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "torch"


def fake_table(make, arguments, dtype, device):
    """Do what `tables._made` does, the table on a card that cannot hold its numbers."""
    if torch.utils._python_dispatch._get_current_dispatch_mode() is None:  # what `_real` builds needs the numbers
        return real_table(make, arguments, dtype, device)
    made = torch.as_tensor(make(*arguments))
    return torch.empty(made.shape, dtype=dtype, device=device)


def on_card(module: nn.Module) -> nn.Module:
    """Give all tensors of a module, its buffers too, places on the card."""
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    moved = torch.empty(tensor.shape, dtype=tensor.dtype, device=CARD)
                    store[name] = nn.Parameter(moved, tensor.requires_grad) if store is part._parameters else moved
        for name, value in vars(part).items():
            if isinstance(value, Tensor):  # what is kept on the CPU, as the tables of Shannon's basis are, and sent
                setattr(part, name, torch.empty(value.shape, dtype=value.dtype))
    return module


def check(*tensors: Tensor) -> None:
    """Every one of them is on the card."""
    off = [str(t.device) for t in tensors if t.device.type != CARD]
    if off:
        raise AssertionError(f"results on {off}")


def kernel(name: str, n: int) -> None:
    """Encode and decode, forward and backward."""
    row, spec = KERNELS[name], SPECS.get(name, {})
    x = torch.empty(6, n, device=CARD, requires_grad=True)
    c = getattr(stage3_torch, row.encode)(x, **spec)
    y = getattr(stage3_torch, row.decode)(c, **row.decoding(spec))
    check(*leaves(c), y)
    y.abs().sum().backward()
    check(x.grad)


def forward_backward(module: Callable[[], nn.Module], *shape: int) -> None:
    """Run a layer and its backward pass, in training and then in eval mode."""
    with _real():
        made = module()
    on_card(made)
    x = torch.empty(*shape, device=CARD, requires_grad=True)
    made.train()(x).abs().sum().backward()
    check(x.grad, *(p.grad for p in made.parameters() if p.requires_grad))
    with torch.no_grad():
        check(made.eval()(x))


@contextmanager
def _real() -> Iterator[None]:
    """Make real tensors on the CPU: what is built before it moves to a card."""
    with torch.utils._python_dispatch._disable_current_modes():
        yield


def factored(method: str) -> nn.Module:
    """Make the form in the middle of what a kernel offers for a convolution."""
    layer = nn.Conv2d(8, 12, 3, padding=1)
    forms = METHODS[method].candidates(layer, 1)
    return METHODS[method].build(layer, forms[len(forms) // 2].spec, None)


def masked() -> nn.Module:
    layer = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1))
    return mask(layer, masks(layer, 0.5))


def calibrated() -> None:
    """Sum the moments of a small network."""
    with _real():
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    stats = calibrate(on_card(net).eval(), [torch.empty(4, 3, 8, 8, device=CARD) for _ in range(2)])
    for moments in stats.layers.values():
        check(moments.inputs, moments.mean, moments.outputs)


def refitted() -> None:
    """Fit factors to a target in the metric of the inputs, as refit does once the images are summed."""
    with _real():
        layer = nn.Conv2d(8, 12, 3, padding=1)
        parts = factored("spatial")
    on_card(layer), on_card(parts)
    double = {"dtype": torch.float64, "device": CARD}
    sums = {
        "xx": torch.empty(1, 72, 72, **double),
        "yx": torch.empty(1, 12, 72, **double),
        "x": torch.empty(1, 72, **double),
        "y": torch.empty(1, 12, **double),
        "rows": 100,
    }
    outputs = torch.empty(1, 12, 12, **double)
    _refit_factors(layer, parts, sums, LayerStats(sums["xx"][None], sums["x"], outputs, 100), "")
    check(*parts.parameters())


CASES: dict[str, Callable[[], None]] = {
    **{f"kernel {name}, {n} samples": (lambda name=name, n=n: kernel(name, n)) for name in KERNELS for n in (8, 4096)},
    **{f"layer {name}": (lambda name=name: forward_backward(lambda: factored(name), 2, 8, 6, 6)) for name in METHODS},
    **{
        f"frequency {k}": (
            lambda k=k: (
                forward_backward(lambda: FrequencyConv2d(8, 12, 3, kernel=k), 2, 8, 6, 6),
                forward_backward(lambda: FrequencyLinear(8, 12, kernel=k), 2, 8),
            )
        )
        for k in ("dct", "dst", "dht", "shannon", "dft", "complex_shannon")
    },
    **{
        f"coded {k}": (lambda k=k: forward_backward(lambda: code(nn.Linear(8, 12), Coded(k, **SPECS.get(k, {}))), 2, 8))
        for k in KERNELS
        if k != "dft"  # its code is complex, and so no weight
    },
    "masked": lambda: forward_backward(masked, 2, 8, 6, 6),
    "binary": lambda: forward_backward(lambda: binarise(nn.Sequential(nn.Conv2d(8, 12, 3))), 2, 8, 6, 6),
    "calibrate": calibrated,
    "refit": refitted,
}
PLANTED: dict[str, tuple[AbstractContextManager, Callable[[], None]]] = {  # one tensor of each is on the CPU
    "table": (
        patch.object(tables, "_made", lambda m, a, dtype, device: fake_table(m, a, dtype, torch.device("cpu"))),
        lambda: kernel("dct", 8),
    ),
    "sums": (
        patch("layers.fitting.least_squares.grouped_weight", lambda _: torch.empty(1, 12, 8, 3, 3).double()),
        refitted,
    ),
}


def run(case: Callable[[], None]) -> dict[str, object]:
    """Return what a case read back, or how it failed."""
    reads = HostReads()
    try:
        with FakeTensorMode(), reads:
            case()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"reads": dict(sorted(reads.counts.items()))}


def begin() -> None:
    """Make the card known to this process, and the kernels' tables fake."""
    _setup_privateuseone_for_python_backend(CARD)
    torch.card.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    tables._made = fake_table
    torch.use_deterministic_algorithms(True)  # memory that nobody filled is NaN: who reads it fails every time


if __name__ == "__main__":
    begin()
    outcomes = {name: run(case) for name, case in CASES.items()}
    for name, (fault, case) in PLANTED.items():
        with fault:
            outcomes[f"planted: {name}"] = run(case)
    sys.stdout.write(json.dumps(outcomes, indent=1) + "\n")
