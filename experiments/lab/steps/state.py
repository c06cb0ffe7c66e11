"""A network between two steps: its weights, its plan, what is held of them while it is trained; stored and read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from layers import Budget, Plan, code, cost, fold, load, save
from layers.checkpoint import OnnxNetwork
from layers.network import copy_of, read_tensors, weighted, whole
from layers.thinning import Binary, Half, mask

from ..evaluation.workshop import Workshop

Layers = Literal["all", "conv", "linear"]
KINDS = {"all": nn.Module, "conv": nn.Conv2d, "linear": nn.Linear}
FORMS = {"half": torch.float16, "bf16": torch.bfloat16}  # what a network may compute in at the end
HELD = "held.safetensors"
ONNX, TENSORS = "model.onnx", "model.safetensors"  # one of them holds the network in its folder


def in_onnx(folder: Path) -> bool:
    """Whether a saved network is an .onnx file; one that stands beside tensors is what --export made of these."""
    return (folder / ONNX).is_file() and not (folder / TENSORS).is_file()


def stored(folder: Path) -> int:
    """Return the bytes of the file that holds a saved network."""
    return (folder / (ONNX if in_onnx(folder) else TENSORS)).stat().st_size


class Step(Protocol):
    """A step makes a network of a network; a frozen dataclass whose fields are its options."""

    @property
    def images(self) -> int:
        """How many calibration images it takes at most; True for all that there are, False for none."""

    def said(self, images: int) -> list[str]:
        """Say what it does, in phrases for a report; images: how many calibrate."""

    def check(self, state: "State", shop: Workshop) -> "State":
        """Refuse now what would be refused after an hour; return the state that it will lead to, numbers aside."""

    def apply(self, state: "State", shop: Workshop) -> "State":
        """Do it; the state that is given stays as it is."""


Steps = tuple[Step, ...]


@dataclass(frozen=True)
class State:
    """A network and what is held of its weights.

    Args:
        model: plain layers, factors or coefficients; where weights are held, those that are trained.
        plan: what it is of the dense network, as `layers.save` writes it.
        done: the steps that led here.
        masks: by layer, what of its weight stays zero.
        binary: layers whose weights have two values per filter.
        form: of FORMS, bits where weights are whole numbers times a step, or empty: float32.
        val: validation accuracy at the end of the training that led here.
        guessed: the numbers are not those that will come, only their shapes.
        onnx: what an .onnx file holds that is the network from here on; `model` is what it was made of.
        growing: the step of weights that go in the fine-tuning which comes next.
    """

    model: nn.Module
    plan: Plan
    done: Steps = ()
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    binary: Sequence[str] = ()
    form: str = ""
    val: float | None = None
    guessed: bool = False
    onnx: bytes | None = None
    growing: Any = None

    @classmethod
    def of(cls, shop: Workshop) -> "State":
        """Begin with the trained network."""
        dense = cost(shop.dense, shop.example[:1].to(next(shop.dense.parameters()).device))
        return cls(shop.dense, Plan((), Budget(params=1.0), "energy", dense, dense), guessed=not shop.trained)

    def held(self) -> nn.Module:
        """Return a copy whose weights are held as they must be, to be trained."""
        model = copy_of(self.model)
        for name in self.binary:
            code(model.get_submodule(name), Binary())
        return mask(model, {name: kept.to(_weight(self.model, name).device) for name, kept in self.masks.items()})

    def released(self, model: nn.Module) -> "State":
        """Return this state with the weights of a network that `held` made, after its training."""
        for name in {*self.binary, *self.masks}:
            parametrize.remove_parametrizations(model.get_submodule(name), "weight", leave_parametrized=False)
        return replace(self, model=model)

    def all_masked(self, layers: Layers) -> "State":
        """Return this state with masks of its own, which may grow, for each of these layers: ones where it has none."""
        ones = {name: torch.ones_like(_weight(self.model, name)) for name in weighted(self.model, KINDS[layers])}
        own = {name: kept.clone() for name, kept in self.masks.items()}
        return replace(self, masks=dict(sorted({**ones, **own}.items())))

    def plain(self) -> nn.Module:
        """Return the network in float32, of plain layers where weights are held."""
        return fold(self.held()) if self.masks or self.binary else self.model

    def kept(self) -> nn.Module:
        """Return the network whose numbers are saved."""
        return copy_of(self.plain()).to(FORMS[self.form]) if self.form in FORMS else self.plain()

    @property
    def compact(self) -> bool:
        """Whether few values or many zeros are among its weights, so that its file is worth compressing."""
        return bool(self.masks or self.binary or self.form == "bits")

    def network(self) -> nn.Module:
        """Return the network that is measured."""
        if self.onnx is not None:
            return OnnxNetwork(self.onnx, threads=torch.get_num_threads())
        return Half(copy_of(self.plain()), FORMS[self.form]) if self.form in FORMS else self.plain()

    def save(self, folder: Path, preprocessing: Mapping[str, Any] | None = None) -> None:
        """Write the network as `layers.save` does, or its .onnx file and the plan: what a user gets."""
        if self.onnx is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.plan.save(folder / "plan.json")
            with whole(folder / ONNX) as temporary:
                temporary.write_bytes(self.onnx)
            return
        save(self.kept(), self.plan, folder, preprocessing=preprocessing, compressed=self.compact)

    def keep(self, folder: Path, preprocessing: Mapping[str, Any] | None = None) -> None:
        """Write all that the next step needs, beside what `save` writes."""
        self.save(folder, preprocessing)
        weights = {f"weight {name}": _weight(self.model, name) for name in {*self.binary, *self.masks}}
        masks = {f"mask {name}": kept.bool() for name, kept in self.masks.items()}
        if weights:
            told = {"binary": json.dumps(list(self.binary))}
            with whole(folder / HELD) as temporary:
                safetensors.torch.save_file({**weights, **masks}, str(temporary), told)

    @classmethod
    def read(cls, folder: Path, dense: nn.Module, done: Steps, form: str, binary: Sequence[str]) -> "State":
        """Read what `keep` wrote, bit for bit; `dense` is untouched."""
        plan = Plan.load(folder / "plan.json")
        if in_onnx(folder):
            return cls(dense, plan, done, onnx=(folder / ONNX).read_bytes())
        growing = done[-1] if done and getattr(done[-1], "gradual", False) else None
        state = cls(load(folder, dense), plan, done, {}, tuple(binary), form, growing=growing)
        if not (folder / HELD).is_file():
            return state
        tensors, masks = read_tensors(folder / HELD), {}
        for key, tensor in tensors.items():
            what, name = key.split(" ", 1)
            weight = _weight(state.model, name)
            if what == "weight":
                weight.copy_(tensor)
            else:
                masks[name] = tensor.to(weight.dtype)
        return replace(state, masks=dict(sorted(masks.items())))


def masks_of(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return the masks that these layers, held by nothing else, have now."""
    return {name: model.get_submodule(name).parametrizations.weight[0].mask.clone() for name in names}  # type: ignore[union-attr,index]


def _weight(model: nn.Module, name: str) -> Tensor:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight.detach()
