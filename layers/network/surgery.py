"""Swap modules inside any nn.Module: the one function of the project that edits a model."""

from collections import defaultdict
from collections.abc import Callable

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

Rule = Callable[[str, nn.Module], nn.Module | None]

# Parents whose forward reads `child.weight` itself and never calls the child: a swapped child would crash.
READS_CHILD_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def obstacles(model: nn.Module) -> dict[str, str]:
    """Name -> reason, for every module that cannot be swapped without changing what the model computes or trains."""
    names = {id(module): name for name, module in model.named_modules()}
    owners: dict[int, set[int]] = defaultdict(set)
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)].add(id(module))
    found = {}
    for name, module in model.named_modules():
        shared = {names[o] for p in module.parameters(recurse=False) for o in owners[id(p)]} - {name}
        if shared:
            found[name] = f"its parameters are tied to those of {', '.join(sorted(shared))}"
        elif any(getattr(module, hooks) for hooks in HOOKS):
            found[name] = "it has hooks, which a new module would lose"
        elif is_parametrized(module):
            found[name] = "its weight is parametrised already"
        if isinstance(module, READS_CHILD_WEIGHTS):
            reason = f"its parent {type(module).__name__} reads its weight"
            found |= {f"{name}.{child}".lstrip("."): reason for child, _ in module.named_modules() if child}
    return found


def replace(model: nn.Module, rule: Rule) -> nn.Module:
    """Swap every module m, reached under `name`, for rule(name, m), unless that is None.

    Use the return value: the root itself may be swapped.  A module reached under two names is built once and stays
    shared; what a rule builds is not visited again and takes over train/eval mode.  Raises ValueError, before anything
    is changed, when the rule would swap a module listed by `obstacles`.
    """
    refused = obstacles(model)
    built: dict[int, nn.Module] = {}  # id(old) -> new

    def build(name: str, module: nn.Module) -> None:
        if id(module) in built:
            return
        new = rule(name, module)
        if new is None:
            built[id(module)] = module
            for key, child in module._modules.items():  # not named_children(): it hides a repeated child
                if child is not None:
                    build(f"{name}.{key}".lstrip("."), child)
            return
        if name in refused:
            raise ValueError(f"layer {name!r} cannot be swapped: {refused[name]}")
        built[id(module)] = new.train(module.training)

    build("", model)
    for module in list(model.modules()):
        if built.get(id(module)) is module:
            for key, child in module._modules.items():
                if child is not None:
                    module._modules[key] = built[id(child)]
    return built[id(model)]
