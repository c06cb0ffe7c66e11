"""load(folder, model): a fresh dense network in, the compressed one out, with torch and safetensors alone."""

import copy
import json
from pathlib import Path

from safetensors.torch import load_file
from torch import float64, nn, ops, tensor
from torch.utils._pytree import tree_map_only


def load(folder: str | Path, model: nn.Module) -> nn.Module:
    """Runs only these pure operations; ValueError where files are missing, corrupt or of another network."""
    pure = """_fft_c2c _fft_c2r _fft_r2c _to_copy _unsafe_view add argsort bitwise_and cat clone complex cos cumsum
  expand index_select mm mul ne new_zeros ones_like permute roll scatter select sin slice stack sub view view_as_real"""
    kinds = {kind.__name__: kind for kind in (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)}
    calls = {name: getattr(ops.aten, name) for name in pure.split()}
    try:
        told = json.loads(Path(folder, "plan.json").read_text(encoding="utf-8"))["modules"]
        tensors, box = load_file(Path(folder, "model.safetensors")), nn.ModuleList([copy.deepcopy(model)])
        for name, (names, lists, steps) in told["recipes"].items():  # how a weight is decoded
            for device, take in (("meta", tensors.__getitem__), ("cpu", tensors.pop)):  # sizes first: they may be lies
                got = {i: tensor(told["tables"][t], dtype=float64, device=device) for i, t in lists.items()}
                got |= {i: take(v).to(device) for i, v in names.items()}
                for place, call, given in told["steps"][steps]:
                    got[place] = calls[call](**tree_map_only(str, got.__getitem__, given))
                    range(9 * model.get_parameter(name).numel() + 9999)[got[place].numel()]  # IndexError if far larger
            tensors[name] = got[place]
        for at, parts in told["layers"].items():  # plain layers in a row, or one with fewer channels
            old = dict(box.named_modules(remove_duplicate=False))[f"0.{at}".rstrip(".")]
            row = nn.Sequential(*new) if (new := [kinds[c](**o, device="meta") for c, o in parts])[1:] else new[0]
            row.load_state_dict({k: tensors[at + k].clone() for k in row.state_dict()}, assign=True)  # refuses sizes
            row.to(old.weight).train(old.training).requires_grad_(old.weight.requires_grad)
            for m in list(box.modules()):
                m._modules.update({key: row for key, child in m._modules.items() if child is old})
        stored = {t.data_ptr(): tensors.pop(k) for k, t in box[0].state_dict().items() if k in tensors}  # tied: one
        box[0].load_state_dict(tensors | {key: stored.get(t.data_ptr()) for key, t in box[0].state_dict().items()})
        return box[0]
    except Exception as error:
        raise ValueError(f"{folder} must hold what `save` wrote of this network, got {error!r}") from None
