"""Swap modules inside any nn.Module: the one function of the project that edits a model."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from checks import require

Rule = Callable[[str, nn.Module], nn.Module | None]

# Parents whose forward reads `child.weight` itself and never calls the child: a swapped child would crash.
READS_CHILD_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def ties(model: nn.Module) -> dict[str, str]:
    """Name of a module -> how its own parameters are tied, for each that shares numbers with another module's tensors.

    That is the same parameter, or a view of its memory; parameters that lie one after the other are not tied.
    """
    names = {id(module): name for name, module in model.named_modules()}
    owners: dict[int, list[tuple[int, int, int]]] = defaultdict(list)  # memory -> (first byte, end, module)
    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            memory, first, end = _span(tensor)
            owners[memory].append((first, end, id(module)))
    tied = {}
    for name, module in model.named_modules():
        spans = [_span(parameter) for parameter in module.parameters(recurse=False)]
        others = {
            names[owner] for memory, a, b in spans for first, end, owner in owners[memory] if first < b and a < end
        }
        if others - {name}:
            words = ", ".join(other or "the network itself" for other in sorted(others - {name}))
            tied[name] = f"its parameters are tied to those of {words}"
    return tied


def check_untied(model: nn.Module, names: Iterable[str], done: str) -> None:
    """Refuse layers whose weights others use as well, which would keep the numbers from before.

    done: what is to be done to them, as in "Linear layers to prune".
    """
    tied = ties(model)
    reasons = [f"{name!r}, {tied[name]}" for name in names if name in tied]
    require(not reasons, f"layers to {done}", "; ".join(reasons), "ones whose weights no other module shares")


def _span(tensor: Tensor) -> tuple[int, int, int]:
    """(its memory, first byte there, end), on the meta device as well; some subclasses of tensors have no memory."""
    try:
        memory = tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return id(tensor), 0, 1
    first, size = tensor.storage_offset(), tensor.element_size()
    length = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride())) if tensor.numel() else 0
    return memory, int(first) * size, int(first + length) * size


def obstacles(model: nn.Module) -> dict[str, str]:
    """Map to a reason every module that cannot be swapped without changing what the model computes or trains."""
    reasons, tied = {}, ties(model)
    for name, module in model.named_modules():
        if name in tied:
            reasons[name] = tied[name]
        elif any(getattr(module, hooks) for hooks in HOOKS):
            reasons[name] = "it has hooks, which a new module would lose"
        elif is_parametrized(module):
            reasons[name] = "its weight is parametrised already"
        if isinstance(module, READS_CHILD_WEIGHTS):
            reason = f"its parent {type(module).__name__} reads its weight"
            reasons |= {f"{name}.{child}".lstrip("."): reason for child, _ in module.named_modules() if child}
    return reasons


def replace(model: nn.Module, rule: Rule) -> nn.Module:
    """Swap every module m, reached under `name`, for rule(name, m), unless that is None.

    A module reached under two names is built once and stays shared; what a rule builds is not visited again and takes
    over train/eval mode.

    Args:
        model: any network, changed in place.
        rule: (name, module) -> the module to put there, or None to leave it and go on to its children.

    Returns:
        The network: use it, for the root itself may be swapped.

    Raises:
        ValueError: before anything is changed, when the rule would swap a module that `obstacles` lists.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        >>> replace(net, lambda name, module: nn.GELU() if isinstance(module, nn.ReLU) else None)[1]
        GELU(approximate='none')
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
