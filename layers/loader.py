"""load(folder, model): a fresh dense network in, the compressed one out, with torch and safetensors alone.

`save` copies this file beside every network; one that it compressed needs the package brotli as well.  Weights under a
transform are decoded here, and what is stored small unpacked, and in `layers` by this same code, so that their bits are
equal.  Files are data: they choose among the classes and formulas below, and no more.
"""

import copy
import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from math import pi, prod, sqrt
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load as tensors_of
from torch import Tensor, nn

SHORT = 8  # samples up to which a stored matrix is shorter than its formula
BROTLI, PACKED = ".brotli", ".packed"  # keys of metadata; no tensor's name begins with a dot
DTYPES = {str(kind).removeprefix("torch."): kind for kind in (torch.float16, torch.bfloat16, torch.float32)}
DTYPES |= {"float64": torch.float64, "uint8": torch.uint8}  # of what may be packed
KINDS = {kind.__name__: kind for kind in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)}
Tables = tuple[Tensor, ...]  # what the transform of one axis is looked up in


def load(folder: str | Path, model: nn.Module) -> nn.Module:
    """Read what `save` wrote into a copy of the fresh dense network; it is in the mode of `model`.

    ValueError where files are missing, corrupt or of another network.
    """
    try:
        modules = json.loads(Path(folder, "plan.json").read_text(encoding="utf-8"))["modules"]
        tensors, box = read(Path(folder, "model.safetensors"), room(model)), nn.ModuleList([copy.deepcopy(model)])
        materialise(box[0])
        tables = [torch.tensor(table, dtype=torch.float64) for table in modules["tables"]]
        for name, code in modules["codes"].items():
            if prod(code["shape"]) > model.get_parameter(name).numel() or min(code["shape"]) < 1:
                raise ValueError(f"{name} cannot have the shape {code['shape']}")
            tensors[name] = _decoded(code, tensors, tables)
        for prefix, parts in modules["layers"].items():  # plain layers in a row, or one with fewer channels
            old = dict(box.named_modules(remove_duplicate=False))[f"0.{prefix}".rstrip(".")]
            row = [KINDS[kind](**arguments, device="meta") for kind, arguments in parts]
            new = nn.Sequential(*row) if row[1:] else row[0]
            own = {key: tensors[prefix + key].clone() for key in new.state_dict()}
            new.load_state_dict(own, assign=True)  # refuses other sizes
            new.to(old.weight).train(old.training).requires_grad_(old.weight.requires_grad)
            for module in list(box.modules()):
                module._modules.update({key: new for key, child in module._modules.items() if child is old})
        fill(box[0], tensors)
        return box[0]
    except Exception as error:
        raise ValueError(f"{folder} must hold what `save` wrote of this network, got {error!r}") from None


def materialise(model: nn.Module) -> None:
    """Give the tensors on the meta device memory, in place and set to zero; what was tied or a view remains so.

    ValueError for a buffer that no file brings, whose numbers nobody knows.
    """
    kept = model.state_dict(keep_vars=True)
    unknown = [name for name, buffer in model.named_buffers() if buffer.is_meta and name not in kept]
    if unknown:
        raise ValueError(f"buffers that are not saved must not be on the meta device, got {', '.join(unknown)}")
    storages: dict[int, torch.UntypedStorage] = {}
    made: dict[int, Tensor] = {}
    for module in model.modules():
        groups: tuple[dict, ...] = module._parameters, module._buffers
        for tensors in groups:
            for key, old in tensors.items():
                if old is None or not old.is_meta:
                    continue
                if (memory := _memory(old)) not in storages:
                    size = old.untyped_storage().nbytes()
                    storages[memory] = torch.zeros(size, dtype=torch.uint8).untyped_storage()
                if id(old) not in made:
                    new = torch.empty(0, dtype=old.dtype)
                    new.set_(storages[memory], old.storage_offset(), old.shape, old.stride())
                    made[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
                tensors[key] = made[id(old)]


def fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy the tensors into the model, in place; ValueError names those that do not fit, and nothing has changed.

    Of tensors that share memory, tied or views of each other, one may stand for all; several must agree.
    """
    materialise(model)
    state = model.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    shared: dict[int, list[str]] = defaultdict(list)
    for name, tensor in wanted.items():
        shared[_memory(tensor)].append(name)
    absent = [(name, shared[_memory(tensor)]) for name, tensor in wanted.items() if name not in tensors]
    wrong = [
        f"{name} is missing"
        for name, others in absent
        if not any(other in tensors and _covers(wanted[other], wanted[name]) for other in others)
    ]
    wrong += [f"{name} is not in the model" for name in tensors if name not in wanted]
    for name in filter(tensors.__contains__, wanted):
        wrong += _misfits(name, tensors[name], wanted[name])
    for names in shared.values():
        present = [name for name in names if name in tensors]
        if len(present) > 1 and not wrong:
            copies = copy.deepcopy({name: wanted[name] for name in present})  # they share memory as well
            for name in present:
                copies[name].copy_(tensors[name])
            wrong += [
                f"{name} differs from what shares its memory in the model ({', '.join(sorted({*present} - {name}))})"
                for name in present
                if not _same(copies[name], tensors[name].to(copies[name]))
            ]
    if wrong:
        rest = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{'; '.join(wrong[:5])}{rest}")
    filled: OrderedDict[str, Tensor] = OrderedDict(tensors)
    filled._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]  # the versions of its modules
    model.load_state_dict(filled, strict=False)


def _memory(tensor: Tensor) -> int:
    """The number of its memory, by which tied tensors and views are known; on the meta device as well."""
    return tensor.untyped_storage()._cdata


def _misfits(name: str, given: Tensor, wanted: Tensor) -> list[str]:
    """Say why one tensor cannot be copied into the other; counts may have become floats on their way."""
    same = given.is_complex() == wanted.is_complex() and given.is_floating_point() == wanted.is_floating_point()
    counts = given.is_floating_point() and not wanted.is_complex() and not wanted.is_floating_point()
    if given.layout != wanted.layout or not (same or (counts and torch.equal(given, given.round()))):
        return [f"{name} is {given.layout} of {given.dtype} instead of {wanted.layout} of {wanted.dtype}"]
    shapes = f"{name} has shape {tuple(given.shape)} instead of {tuple(wanted.shape)}"
    return [] if given.shape == wanted.shape else [shapes]


def _covers(whole: Tensor, part: Tensor) -> bool:
    """Whether of two tensors in the same memory the first has all numbers of the second."""
    same = whole.storage_offset() == part.storage_offset() and whole.stride() == part.stride()
    return (same and whole.shape == part.shape) or whole.nbytes == whole.untyped_storage().nbytes()


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether all numbers are equal, NaN to NaN."""
    return bool(((a == b) | ((a != a) & (b != b))).all())


def room(model: nn.Module) -> int:
    """Bytes that the tensors of a file may take which a network of these sizes, or a smaller one, was written to."""
    return 2**20 + sum(16 * tensor.numel() for tensor in model.state_dict().values() if isinstance(tensor, Tensor))


def read(path: str | Path, most: int) -> dict[str, Tensor]:
    """Read the tensors of a file, uncompressed and unpacked; ValueError before more than `most` bytes are made."""
    with safe_open(path, "pt") as file:
        facts, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if BROTLI in facts:
        whole = _uncompressed(tensors, int(facts[BROTLI]), most)
        facts = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")]).get("__metadata__", {})
        tensors = tensors_of(whole)
    forms = json.loads(facts.get(PACKED, "{}"))
    size = sum(tensor.nbytes for tensor in tensors.values()) + sum(map(_size, forms.values()))
    if forms and size > most:
        raise ValueError(f"the tensors must fit the network, {most} bytes at most, got {size}")
    unpacked = {name: _unpacked(name, form, tensors) for name, form in forms.items()}
    return tensors | unpacked


def _uncompressed(tensors: dict[str, Tensor], size: int, most: int) -> bytes:
    """The file that is compressed in the one tensor."""
    try:
        import brotli
    except ImportError:
        raise ValueError("the file is compressed: pip install brotli") from None
    if not 0 <= size <= most:
        raise ValueError(f"the file must fit the network, {most} bytes at most, got {size}")
    (data,) = tensors.values()
    engine, parts, made, given = brotli.Decompressor(), [], 0, data.numpy().tobytes()
    while made <= size and not engine.is_finished():
        parts.append(engine.process(given, output_buffer_limit=2**20))
        made, given = made + len(parts[-1]), b""
        if not parts[-1] and engine.can_accept_more_data() and not engine.is_finished():
            break
    if made != size or not engine.is_finished():
        raise ValueError(f"the file must be whole, {size} bytes, got {made} or more")
    return b"".join(parts)


def _size(form: dict) -> int:
    """Bytes of an unpacked tensor and of all that it is made of."""
    sizes, parts = form["shape"], form.get("parts", {})
    if not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError(f"a shape must be of counts, got {sizes}")
    return prod(sizes) * DTYPES[form["dtype"]].itemsize + sum(map(_size, parts.values()))


def _unpacked(name: str, form: dict, tensors: dict[str, Tensor]) -> Tensor:
    """Take the parts of a tensor, NAME.PART, out of the tensors and put them together; a part may be packed as well."""
    kind, inside = form["form"], form.get("parts", {})
    parts = [
        _unpacked(f"{name}.{part}", inside[part], tensors) if part in inside else tensors.pop(f"{name}.{part}")
        for part in PARTS[kind]
    ]
    return UNPACK[kind](*parts, form, DTYPES[form["dtype"]]).reshape(form["shape"])


def _from_bits(packed: Tensor, form: dict, dtype: torch.dtype) -> Tensor:
    """Whole numbers of so many bits each, one after the other, the first in the lowest bits of the first byte."""
    n, width = prod(form["shape"]), form["width"]
    if not 1 <= width <= 8 or packed.dtype != torch.uint8 or len(packed) != -(-n * width // 8):
        raise ValueError(f"{n} numbers of {width} bits must be in as many bytes, got {len(packed)}")
    bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten()[: n * width].view(n, width)
    numbers = torch.zeros(n, dtype=torch.uint8)
    for place in range(width):
        numbers |= bits[:, place] << place
    return numbers


def _from_gaps(gaps: Tensor, values: Tensor, form: dict, dtype: torch.dtype) -> Tensor:
    """One number everywhere but at these places: each gap skips so many, the largest gap that many and no more."""
    n, longest = prod(form["shape"]), form["longest"]
    places = (torch.where(gaps == longest, longest, gaps.long() + 1).cumsum(0) - 1)[gaps < longest]
    if values.dtype != dtype or values.shape != places.shape or not 1 <= longest <= 255:
        raise ValueError(f"there must be a place for each of {len(values)} values, got {len(places)}")
    if len(places) and int(places[-1]) >= n:
        raise ValueError(f"places must be below {n}, got {int(places[-1])}")
    return torch.full((n,), form["fill"], dtype=dtype).scatter_(0, places, values)


def _from_grid(levels: Tensor, scale: Tensor, form: dict, dtype: torch.dtype) -> Tensor:
    """scale (low + stride levels), a scale for each row or for all of them, rounded once."""
    rows = form["shape"][0]
    if levels.shape != (prod(form["shape"]),) or scale.dtype != dtype or len(scale) not in (1, rows):
        raise ValueError(f"a grid of {form['shape']} must have a scale for each row, got {len(scale)}")
    numbers = levels.double().reshape(rows, -1) * form["stride"] + form["low"]
    return (numbers * scale.double()[:, None]).to(dtype)


def _from_planes(planes: Tensor, form: dict, dtype: torch.dtype) -> Tensor:
    """Numbers of which all first bytes come first, then all second ones, and so on."""
    return planes.T.contiguous().view(dtype)


PARTS = {"bits": ("bits",), "gaps": ("gaps", "values"), "grid": ("levels", "scale"), "planes": ("planes",)}
UNPACK: dict[str, Callable[..., Tensor]] = {
    "bits": _from_bits,
    "gaps": _from_gaps,
    "grid": _from_grid,
    "planes": _from_planes,
}


def _decoded(code: dict, tensors: dict[str, Tensor], tables: list[Tensor]) -> Tensor:
    """Take a code out of the tensors and return its weight."""
    stored = {part: tensors.pop(name) for part, name in code["tensors"].items()}
    values, shape, axes = stored["values"], torch.Size(code["shape"]), code["axes"]
    if code["transform"] not in (*FORMULAS, "dwt") or not isinstance(code["levels"], int | None):
        raise ValueError(f"there is no transform {code['transform']} of {code['levels']} levels")
    if len({axis % len(shape) for axis in axes}) < len(axes):
        raise ValueError(f"axes {axes} must be different ones")
    places = (
        positions(stored["mask"], shape.numel())
        if "mask" in stored
        else lowest(code["transform"], shape, axes, len(values), code["levels"])
    )
    if len(places) != len(values):
        raise ValueError(f"there must be a place for each of {len(values)} values, got {len(places)}")
    known = [tuple(tables[number] for number in numbers) for numbers in code["tables"]]
    orders = stored.get("order_0"), stored.get("order_1")
    return decode(values, places, shape, code["transform"], axes, known, code["levels"], orders)


def decode(
    values: Tensor,
    places: Tensor,
    shape: torch.Size,
    transform: str,
    axes: tuple[int, ...],
    known: list[Tables],
    levels: int | None,
    orders: tuple[Tensor | None, Tensor | None],
) -> Tensor:
    """The weight whose sorted channels have these coefficients at these flat places, in float64 and rounded once."""
    y = values.new_zeros(shape.numel()).scatter_(0, places, values).reshape(shape).double()
    for axis, tables in [*zip(axes, known)][::-1]:
        y = synthesis(y, transform, axis, tables, levels)
    return sorted_back(y, *orders).to(values.dtype).contiguous()


def positions(mask: Tensor, n: int) -> Tensor:
    """The places of the ones among n bits, the first in the lowest bit of the first byte."""
    bits = mask[:, None] >> torch.arange(8, device=mask.device, dtype=torch.uint8) & 1
    return bits.reshape(-1)[:n].nonzero()[:, 0]


def lowest(transform: str, shape: torch.Size, axes: tuple[int, ...], keep: int, levels: int | None = None) -> Tensor:
    """The flat places of the `keep` lowest frequencies, in ascending order; of equal frequencies the first.

    The frequency of a coefficient is the root of the sum over `axes` of squares, as in an ellipse around zero.
    """
    total = torch.zeros(shape, dtype=torch.float64)
    for axis in axes:
        line = [-1 if other == axis % len(shape) else 1 for other in range(len(shape))]
        total += row_frequencies(transform, shape[axis], levels).square().reshape(line)
    return total.flatten().argsort(stable=True)[:keep].sort().values


def row_frequencies(transform: str, n: int, levels: int | None = None) -> Tensor:
    """(n,) the frequency of each row of T as a fraction of the Nyquist frequency; a band counts as its lowest one."""
    k = torch.arange(n, dtype=torch.float64)
    if transform == "dst":
        return (k + 1) / n
    if transform == "dht":  # row n - k is row k with another phase
        return torch.minimum(k, n - k) * 2 / n
    if transform == "dwt":
        sizes = bands(n, levels)
        edges = [0.0, *(2.0**-level for level in range(len(sizes) - 1, 0, -1))]
        return torch.repeat_interleave(torch.tensor(edges, dtype=torch.float64), torch.tensor(sizes))
    if transform == "shannon":  # the mean, octaves [a, 2a) of two phases each, for even n the Nyquist frequency
        pairs = ((k + 1) / 2).floor().clamp(min=1)
        octaves = torch.where(k == 0, 0, torch.exp2(pairs.log2().floor())) * 2 / n
        return torch.where((k == n - 1) & (n % 2 == 0), 1.0, octaves)
    return k / n


def bands(n: int, levels: int | None) -> list[int]:
    """Lengths of (approximation, coarsest detail, ..., finest), with as many levels as asked for and possible.

    A level takes n to ceil(n / 2) and floor(n / 2).
    """
    most = (n - 1).bit_length()
    details: list[int] = []
    for _ in range(most if levels is None else min(levels, most)):
        n, detail = n - n // 2, n // 2
        details.insert(0, detail)
    return [n, *details]


def long_levels(n: int, levels: int | None) -> tuple[int, list[int], int]:
    """(samples left, details of the levels above, coarsest first, levels left) once the signal is short."""
    details = bands(n, levels)[1:]
    above: list[int] = []
    while n > SHORT and len(above) < len(details):
        above.insert(0, n // 2)
        n -= n // 2
    return n, above, len(details) - len(above)


def sorted_back(y: Tensor, *orders: Tensor | None) -> Tensor:
    """The channels, output and input, in the order that they had before they were sorted."""
    for axis, order in enumerate(orders):
        if order is not None:
            y = y.index_select(axis, order.long().argsort())
    return y


def synthesis(y: Tensor, transform: str, axis: int, known: Tables, levels: int | None = None) -> Tensor:
    """T^T y along `axis`, T orthonormal, y float64; `known` are the tables that `layers.coded.tables` makes."""
    lines = y.movedim(axis, -1)
    flat, known = lines.reshape(-1, lines.shape[-1]), tuple(table.to(y.device) for table in known)
    if lines.shape[-1] <= SHORT:
        x = flat @ known[0]
    elif transform == "dwt":
        x = _wavelet(flat, levels, *known)
    else:
        x = FORMULAS[transform](flat)
    return x.reshape(lines.shape).movedim(-1, axis)


def _waves(y: Tensor, first: int, phase: float) -> tuple[Tensor, Tensor]:
    """(bins k = first, ... of a real FFT of 2n samples t for y_k cos(pi k (2t + 1) / 2n + phase) sqrt(2/n), no bin)."""
    n = y.shape[1]
    k = torch.arange(first, first + n, dtype=y.dtype, device=y.device)
    angle, scale = k * (pi / (2 * n)) + phase, sqrt(0.5 / n)  # the FFT counts all bins but the first and last twice
    z = torch.complex(y * (scale * angle.cos()), y * (scale * angle.sin()))
    return z, 0 * z[:, :1]


def _dct(y: Tensor) -> Tensor:
    z, empty = _waves(torch.cat([sqrt(2) * y[:, :1], y[:, 1:]], 1), 0, 0.0)
    return torch.fft.irfft(torch.cat([z, empty], 1), norm="forward")[:, : y.shape[1]]


def _dst(y: Tensor) -> Tensor:
    z, empty = _waves(torch.cat([y[:, :-1], sqrt(2) * y[:, -1:]], 1), 1, -pi / 2)
    return torch.fft.irfft(torch.cat([empty, z], 1), norm="forward")[:, : y.shape[1]]


def _hartley(y: Tensor) -> Tensor:
    z = torch.fft.fft(y, norm="ortho")
    return z.real - z.imag


def _shannon(y: Tensor) -> Tensor:
    """From the translates of each octave [a, a + m) to its frequencies by a DFT of m, then from all of them to x."""
    n = y.shape[1]
    parts, a = [torch.complex(y[:, :1], 0 * y[:, :1])], 1
    while 2 * a < n:
        m = min(a, (n + 1) // 2 - a)
        cosine, sine = (y[:, start : start + m] for start in (2 * a - 1, 2 * a - 1 + m))
        parts.append(
            torch.fft.fft(torch.complex(sqrt(0.5) * cosine, -sqrt(0.5) * sine), norm="ortho").roll(-(a % m), 1)
        )
        a *= 2
    parts += [] if n % 2 else [torch.complex(y[:, -1:], 0 * y[:, -1:])]
    return torch.fft.irfft(torch.cat(parts, 1), n, norm="ortho")


def _wavelet(y: Tensor, levels: int | None, taps: Tensor, matrix: Tensor | None = None) -> Tensor:
    """The short levels at once, then one by one: circular convolutions of q pairs, a last odd sample passing."""
    m, details, _ = long_levels(y.shape[1], levels)
    if matrix is not None:
        y = torch.cat([y[:, :m] @ matrix, y[:, m:]], 1)
    reach = len(taps) // 2
    for q in details:
        pairs = torch.stack([y[:, :q], y[:, m : m + q]], 2)
        x = (pairs.roll(-reach, 1) if reach else pairs).reshape(-1, 2) @ taps[0]
        for s in range(1 - reach, reach + 1):
            x = x + (pairs.roll(s, 1) if s else pairs).reshape(-1, 2) @ taps[reach + s]
        y, m = torch.cat([x.reshape(-1, 2 * q), y[:, q:m], y[:, m + q :]], 1), m + q
    return y


FORMULAS = {"dct": _dct, "dst": _dst, "dht": _hartley, "shannon": _shannon}  # of long axes; the dwt has levels as well
