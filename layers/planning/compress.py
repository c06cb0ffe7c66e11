"""Turn a plan into a network."""

from collections.abc import Callable
from typing import Any

from torch import nn

from checks import require

from ..calibration import LayerStats, Stats, check_stats
from ..costs import storage
from ..factored import Spec, compose, grouped_weight
from ..fitting import Metric
from ..network import Layer, Progress, check_numbers, copy_of, ignored, replace
from .methods import METHODS, Method
from .plan import Plan, shape_of

Build = Callable[[str, Method, Any, Spec], nn.Module]


def carry_out(model: nn.Module, plan: Plan, build: Build) -> nn.Module:
    """Swap every planned layer of the model for build(name, method, layer, spec), in place."""
    rows = {row.name: row for row in plan.layers}
    require(
        len(rows) == len(plan.layers), "plan", [row.name for row in plan.layers], "of layers that are named once each"
    )
    _check_fits(model, plan)

    def rule(name: str, module: nn.Module) -> nn.Module | None:
        row = rows.get(name)
        if row is None or row.kernel is None:
            return None
        where = f"plan for layer {name!r}"
        require(row.kernel in METHODS, f"{where}: kernel", row.kernel, f"one of {', '.join(METHODS)}")
        chosen = METHODS[row.kernel]
        refused = chosen.refusal(module)
        require(refused is None, where, f"{row.kernel}, but {refused}", "a kernel that the layer can take")
        try:
            return build(name, chosen, module, row.spec)
        except ValueError as error:  # a spec that is impossible, alone or in its parts
            raise ValueError(f"{where}: {error}") from None

    return replace(model, rule)


def _check_fits(model: nn.Module, plan: Plan) -> None:
    """Refuse the plan of another network whose layers have the same names: its costs, and so its budget, are not these.

    What a plan made by hand leaves out, with no parameters before, is not compared.
    """
    modules = dict(model.named_modules())
    unknown = sorted({row.name for row in plan.layers} - set(modules))
    require(not unknown, "plan", unknown, "about layers that the model has")
    for row in plan.layers:
        params = storage(modules[row.name])[0]
        about = f"{row.before.params:,} parameters of layer {row.name!r}"
        require(row.before.params in (0, params), "plan", about, f"about the model, where it has {params:,}")
        shape = shape_of(modules[row.name])
        about = f"a weight of shape {row.shape} of layer {row.name!r}"
        require(row.shape in (None, shape), "plan", about, f"about the model, where it is {shape}")
    if not plan.widths:  # else the plan may count what the channels cost that are gone
        params, about = storage(model)[0], f"{plan.before.params:,} parameters"
        require(plan.before.params in (0, params), "plan", about, f"about the model, which has {params:,}")


def compress(model: nn.Module, plan: Plan, *, stats: Stats | None = None, progress: Progress = ignored) -> nn.Module:
    """Build the compressed network; the given one is untouched.

    Args:
        model: What the plan was made for; with `plan.widths` that is the thinner network.
        plan: What `make_plan` returned, or `Plan.load`.
        stats: What `calibrate` saw of the model; factors then lose the least for the loss instead of for the weight,
            and the mean of a BatchNorm right after a layer is moved as a bias would be.
        progress: Called with the name of each layer that has been replaced.

    Returns:
        A new network, in which every planned layer is replaced.

    Raises:
        ValueError: If plan or stats do not fit the model, or a weight is NaN or on the meta device; the sentence names
            the layer.

    Example:
        >>> import torch
        >>> from layers import Budget, compress, make_plan
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(64, 32)), torch.zeros(1, 64)
        >>> compress(model, make_plan(model, Budget(params=0.5), ("svd",), example=x))
        Sequential(
          (0): Sequential(
            (0): Linear(in_features=64, out_features=10, bias=False)
            (1): Linear(in_features=10, out_features=32, bias=True)
          )
        )
    """
    check_numbers(model)
    if stats is not None:
        check_stats(stats, model)
    moments = {} if stats is None else stats.layers

    def build(name: str, method: Method, layer: Layer, spec: Spec) -> nn.Module:
        built = method.build(layer, spec, Metric.of(layer, moments[name]) if name in moments else None)
        progress(name)
        return built

    small = carry_out(copy_of(model), plan, build)
    for row in plan.layers:
        layer: Any = model.get_submodule(row.name)
        if row.kernel is not None and row.name in moments and moments[row.name].norm and layer.bias is None:
            _keep_mean(layer, small, row.name, moments[row.name])
    return small


def _keep_mean(layer: Any, small: nn.Module, name: str, seen: LayerStats) -> None:
    """Take what the mean output of a layer without a bias has changed by off the mean of the BatchNorm after it."""
    built: Any = small.get_submodule(name)
    if isinstance(built, nn.Sequential):
        parts: list[Any] = [*built]
        weight = compose([part.weight.detach().double() for part in parts], [getattr(p, "groups", 1) for p in parts])
    else:
        weight = built.weight.detach().double()
    lost = grouped_weight(layer) - weight.reshape(grouped_weight(layer).shape)
    norm: Any = small.get_submodule(seen.norm)
    norm.running_mean -= (lost.flatten(2) @ seen.mean.to(lost.device)[:, :, None]).flatten().to(norm.running_mean)
