"""Copy any network, also one that torch's own copy refuses."""

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


def copy_of(model: nn.Module) -> nn.Module:
    """A copy of the network that shares nothing with it.

    Tensors that are the results of operations, such as the last activation that a module keeps, or the weight under
    `torch.nn.utils.weight_norm`, are copied as plain numbers, which torch refuses to do.  Raises ValueError with the
    name of the attribute that cannot be copied, such as a lock or an open file.
    """
    results = {id(t): t for _, value in _attributes(model) for t in tree_leaves(value) if _is_result(t)}
    memo: dict[int, Any] = {key: t.detach().clone() for key, t in results.items()}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # the attributes are the network's own, and may raise anything
        names = [name for name, value in _attributes(model) if not _can_be_copied(value)]
        if not names:
            raise
        got = f"{type(model).__name__}, whose {names[0]} cannot be"
        raise ValueError(f"model must be one that can be copied, got {got}") from error


def _is_result(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_leaf


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """(where, value) of every attribute of every module that is no module, parameter or setting of torch's."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in ("_modules", "_parameters"):
                yield f"{name}.{key}".lstrip("."), value


def _can_be_copied(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:
        return all(_is_result(leaf) for leaf in tree_leaves(value))  # those are copied above
    return True
