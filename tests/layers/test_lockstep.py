"""Many forward passes stopped before the same layers: the inputs of an ordinary pass, and nothing left behind."""

import operator
import threading

import pytest
import torch
from torch import nn

from layers.fitting.lockstep import in_lockstep


class Residual(nn.Module):
    """A shared layer, a branch, an activation in place."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(3, 3), nn.Linear(3, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        x = x + self.act(self.a(x))
        x = x - self.act(self.b(x))
        return self.a(x)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Residual()


@pytest.fixture(autouse=True)
def threads():
    """No test may leave a thread."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def stops(net, *names):
    return {name: net.get_submodule(name) for name in names}


def hooks(net):
    return sum(len(m._forward_pre_hooks) for m in net.modules())


def test_inputs_are_those_of_a_plain_forward_pass(net):
    batches = [torch.randn(n, 3) for n in (2, 1, 5)]
    wanted = []
    for module in (net.a, net.b):
        module.register_forward_pre_hook(lambda _, args: wanted.append(args[0].clone()))
    for batch in batches:
        net(batch)
    for module in (net.a, net.b):
        module._forward_pre_hooks.clear()
    found = [(name, [x.clone() for x in inputs]) for name, inputs, _ in in_lockstep(net, stops(net, "a", "b"), batches)]
    assert [name for name, _ in found] == ["a", "b", "a"]
    for call, (_, inputs) in enumerate(found):
        for number, x in enumerate(inputs):
            torch.testing.assert_close(x, wanted[3 * number + call])
            assert not x.requires_grad
    assert hooks(net) == 0


def test_a_change_at_a_stop_is_seen_by_what_follows(net):
    walked = in_lockstep(net, stops(net, "a", "b"), [torch.ones(2, 3)])
    assert next(walked)[0] == "a"
    with torch.no_grad():
        net.a.weight.zero_()
        net.a.bias.fill_(1)
    name, (x,), _ = next(walked)
    assert (name, x.tolist()) == ("b", [[2.0] * 3] * 2)
    walked.close()
    assert hooks(net) == 0


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(
    "add",
    [lambda y, x: y + x, lambda y, x: x + y, torch.add, operator.iadd, lambda y, x: (y.add_(x), y)[1]],
    ids=["y + x", "x + y", "torch.add", "y += x", "y.add_"],
)
def test_a_pass_may_stop_before_what_a_layer_puts_out_is_added(add, norm):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(3, 3), nn.BatchNorm1d(3) if norm else nn.Identity(), nn.Linear(3, 3)

        def forward(self, x):
            y = self.norm(self.a(2 * x))
            return self.b(add(y, x.clone()))

    net, x = Sum().eval(), torch.ones(2, 3)
    after = {"a": [net.norm] if norm else []}
    walked = in_lockstep(net, stops(net, "a", "b"), [x, 3 * x], after)
    name, inputs, others = next(walked)
    assert name == "a"
    torch.testing.assert_close(inputs, [2 * x, 6 * x])
    torch.testing.assert_close(others, [x, 3 * x])
    with torch.no_grad():
        net.a.weight.zero_()
        net.a.bias.fill_(5)
    name, inputs, others = next(walked)
    assert (name, others) == ("b", None)
    torch.testing.assert_close(inputs, [net.norm(net.a(2 * part)) + part for part in (x, 3 * x)])
    assert list(walked) == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_an_exception_of_the_network_comes_through(net):
    batches = [torch.randn(2, 3), torch.randn(2, 3)]
    net.b.register_forward_pre_hook(lambda _, args: args[0].reshape(7))
    with pytest.raises(RuntimeError, match="shape '\\[7\\]' is invalid"):
        list(in_lockstep(net, stops(net, "a"), batches))
    net.b._forward_pre_hooks.clear()
    assert hooks(net) == 0


def test_the_callers_own_exception_ends_all_passes(net):
    def look():
        for _ in in_lockstep(net, stops(net, "a"), [torch.randn(2, 3), torch.randn(2, 3)]):
            raise KeyError("seen enough")

    with pytest.raises(KeyError):
        look()
    assert hooks(net) == 0


def test_a_network_that_catches_exceptions_can_be_left():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            for _ in range(2):
                try:
                    x = self.layer(x)
                except Exception:
                    x = 2 * x
            return x

    net = Stubborn()
    walked = in_lockstep(net, {"layer": net.layer}, [torch.ones(1, 3)])
    next(walked)
    walked.close()


def test_other_layers_per_batch_are_refused(net):
    class Choice(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.a, self.b = a, b

        def forward(self, x):
            return self.a(x) if x.sum() > 0 else self.b(x)

    choice = Choice(net.a, net.b)
    with pytest.raises(ValueError, match=r"the network must call the same layers for every batch, got \['a', 'b'\]"):
        list(in_lockstep(choice, stops(choice, "a", "b"), [torch.ones(1, 3), -torch.ones(1, 3)]))


def test_nothing_to_stop_at_is_an_ordinary_end(net):
    assert list(in_lockstep(net, {}, [torch.ones(1, 3)])) == []


def test_what_a_network_sets_for_its_thread_stays_in_its_own_pass(net):
    """The caller refits in its own precision and without gradients, whatever the network does around a stop."""

    class Mixed(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
                return self.layer(x)

    mixed, weight = Mixed(net.a), torch.randn(3, 3)
    with torch.no_grad():
        for _, inputs, _ in in_lockstep(mixed, {"layer": net.a}, [torch.ones(1, 3), torch.ones(2, 3)]):
            assert len(inputs) == 2
            assert not torch.is_grad_enabled()
            assert (weight @ weight).dtype == torch.float32
