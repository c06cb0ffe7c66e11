"""load(folder, model): a fresh dense network in, the compressed one out, with torch and safetensors alone."""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


def load(folder: str | Path, model: nn.Module) -> nn.Module:
    """Executes nothing that it reads; ValueError where the files are missing, corrupt or of another network."""
    try:
        modules = json.loads(Path(folder, "plan.json").read_text(encoding="utf-8"))["modules"]
        tensors, model = load_file(Path(folder, "model.safetensors")), copy.deepcopy(model)
        for name, (kind, parts, keys) in modules.items():
            old, at = dict(model.named_modules(remove_duplicate=False))[name], f"{name}." if name else ""
            if {"bases": True, "layers": False}[kind]:  # a coded weight: what was kept, and one bit a weight for where
                kept, mask = (tensors.pop(at + key) for key in keys)
                y = torch.zeros(old.weight.shape, dtype=torch.float64)
                y.view(-1)[(mask[:, None] >> torch.arange(8) & 1).flatten()[: y.numel()].bool()] = kept.double()
                for axis, basis in parts:  # the rows of an orthonormal matrix, or four numbers that say which cosines
                    b, k = y.new_tensor(basis), torch.arange(y.shape[axis], dtype=y.dtype)
                    b = b if b.ndim == 2 else torch.cos(b[2] * (k[:, None] + b[0]) * (k + b[1]) + b[3])
                    y = (y.movedim(axis, -1) @ nn.functional.normalize(b)).movedim(-1, axis)
                tensors[at + "weight"] = y.to(kept.dtype)
                continue
            row = nn.Sequential(*({"Conv2d": nn.Conv2d, "Linear": nn.Linear}[c](**o, device="meta") for c, o in parts))
            row.load_state_dict({key: tensors[at + key] for key in row.state_dict()}, assign=True)  # refuses sizes
            row.to(old.weight.device).train(old.training).requires_grad_(old.weight.requires_grad)
            for parent in list(model.modules()):
                parent._modules.update({key: row for key, child in parent._modules.items() if child is old})
            model = row if model is old else model
        state = model.state_dict()
        stored = {state[key].data_ptr(): tensor for key, tensor in tensors.items()}  # of tied tensors one is stored
        model.load_state_dict({key: stored[t.data_ptr()] for key, t in state.items() if t.data_ptr() in stored})
        return model
    except Exception as error:
        raise ValueError(f"{folder} must hold what `save` wrote of this network, got {error!r}") from None
