"""load(folder, model): a fresh dense network in, the compressed one out, with torch and safetensors alone."""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils._pytree import tree_map_only


def load(folder: str | Path, model: nn.Module) -> nn.Module:
    """Runs only these pure operations; ValueError where files are missing, corrupt or of another network."""
    ops = """_fft_c2c _fft_c2r _fft_r2c _to_copy _unsafe_view add argsort bitwise_and cat clone complex cos cumsum
  expand index_select mm mul ne new_zeros ones_like permute roll scatter select sin slice stack sub view view_as_real"""
    try:
        told = json.loads(Path(folder, "plan.json").read_text(encoding="utf-8"))["modules"]
        tensors, box = load_file(Path(folder, "model.safetensors")), nn.ModuleList([copy.deepcopy(model)])
        for at, parts in told["layers"].items():  # plain layers in a row
            old = dict(box.named_modules(remove_duplicate=False))[f"0.{at}".rstrip(".")]
            row = nn.Sequential(*({"Conv2d": nn.Conv2d, "Linear": nn.Linear}[c](**o, device="meta") for c, o in parts))
            row.load_state_dict({key: tensors[at + key] for key in row.state_dict()}, assign=True)  # refuses sizes
            row.to(old.weight.device).train(old.training).requires_grad_(old.weight.requires_grad)
            for m in list(box.modules()):
                m._modules.update({key: row for key, child in m._modules.items() if child is old})
        state, calls = box[0].state_dict(), {name: getattr(torch.ops.aten, name) for name in ops.split()}
        for name, (names, lists, steps) in told["recipes"].items():  # how a weight is decoded
            for device, take in (("meta", tensors.__getitem__), ("cpu", tensors.pop)):  # sizes first: they may be lies
                got = {i: torch.tensor(told["tables"][t], dtype=torch.float64, device=device) for i, t in lists.items()}
                got |= {i: take(v).to(device) for i, v in names.items()}
                for place, call, arguments in told["steps"][steps]:
                    got[place] = calls[call](**tree_map_only(str, got.__getitem__, arguments))
                    range(9 * state[name].numel() + 9999)[got[place].numel()]  # IndexError if it is far too large
            tensors[name] = got[place]
        stored = {state[key].data_ptr(): tensor for key, tensor in tensors.items()}  # of tied tensors one is stored
        box[0].load_state_dict({key: stored[t.data_ptr()] for key, t in state.items() if t.data_ptr() in stored})
        return box[0]
    except Exception as error:
        raise ValueError(f"{folder} must hold what `save` wrote of this network, got {error!r}") from None
