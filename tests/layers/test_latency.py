"""Latency: by a clock that the test moves, so that every busy round is one it made; by CUDA events where there are."""

import time

import pytest
import torch
from torch import nn

from experiments.lab.evaluation.evaluate import latencies
from layers import Timing, interleaved, latency
from layers.costs import peak_memory
from layers.costs.timing import REST, event_seconds


class Clock:
    """Stands still but for what is spent; `log` has who spent."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def function(self, name, seconds):
        """A function that takes seconds[k] in its k-th call, the last one for ever."""
        calls = iter(seconds)
        last = seconds[-1]

        def call():
            self.log.append(name)
            self.now += next(calls, last)

        return call


def test_functions_run_in_turn_and_each_goes_first_in_turn():
    clock = Clock()
    times = interleaved({n: clock.function(n, [1.0]) for n in "abc"}, 3, warmup=1, seconds=1e9, clock=clock)
    assert "".join(clock.log) == "abc" + "bca" + "cab" + "abc"
    assert times["a"] == Timing(1.0, 1.0, 1.0, rounds=3, disturbed=0)


def test_warm_up_is_not_counted():
    clock = Clock()
    slow_at_first = clock.function("a", [100.0, 50.0, 2.0])
    assert interleaved({"a": slow_at_first}, 5, warmup=2, seconds=1e9, clock=clock)["a"] == Timing(2.0, 2.0, 2.0, 5, 0)


def test_median_and_quartiles():
    clock = Clock()
    times = interleaved({"a": clock.function("a", [4.0, 5.0, 3.0, 6.0, 4.5])}, 5, 0, 1e9, clock=clock)["a"]
    assert times == Timing(4.5, 4.0, 5.0, 5, 0)


def test_a_disturbed_round_is_left_out_for_all_and_measured_again():
    clock = Clock()
    fast, slow = [1.0, 1.0, 7.0, 1.0, 1.0, 1.2], [3.0, 2.9, 2.0, 3.1, 3.0, 3.0]  # the third round
    both = {"fast": clock.function("fast", fast), "slow": clock.function("slow", slow)}
    times = interleaved(both, 5, warmup=0, seconds=1e9, clock=clock)
    assert clock.log.count("fast") == 6
    assert times["fast"] == Timing(1.0, 1.0, 1.0, 5, 1)
    assert times["slow"] == Timing(3.0, 3.0, 3.0, 5, 1)  # without the 2.0 of the third round


def test_two_thirds_of_the_rounds_may_be_disturbed():
    clock = Clock()
    timing = interleaved({"a": clock.function("a", [9.0, 8.0, 1.0] * 10)}, 12, warmup=0, seconds=1e9, clock=clock)["a"]
    assert timing == Timing(1.0, 1.0, 1.0, rounds=8, disturbed=16, busy=True)


def test_a_round_is_disturbed_from_one_and_a_half_times_the_usual_on():
    clock = Clock()
    (timing,) = interleaved({"a": clock.function("a", [2.0, 2.0, 3.0, 2.0])}, 4, 0, 1e9, clock=clock).values()
    assert timing.disturbed == 0
    (timing,) = interleaved({"a": clock.function("a", [2.0, 2.0, 3.01, 2.0])}, 4, 0, 1e9, clock=clock).values()
    assert timing.disturbed == 1
    (timing,) = interleaved(
        {"a": clock.function("a", [2.0, 2.0, 2.5, 2.0])}, 4, 0, 1e9, noise=0.2, clock=clock
    ).values()
    assert timing.disturbed == 1


def test_repeating_ends_after_as_many_rounds_again():
    clock = Clock()
    restless = clock.function("a", [1.0, 1.0, 9.0] * 20)
    timing = interleaved({"a": restless}, 6, warmup=0, seconds=1e9, clock=clock)["a"]
    assert len(clock.log) <= 12
    assert (timing.median, timing.busy) == (1.0, False)
    assert timing.rounds + timing.disturbed == len(clock.log)


def test_where_every_round_is_disturbed_none_is_left_out_and_it_is_said():
    clock = Clock()
    each_in_turn = {n: clock.function(n, ([1.0] * k + [9.0] + [1.0] * (5 - k)) * 9) for k, n in enumerate("abcdef")}
    times = interleaved(each_in_turn, 6, warmup=0, seconds=1e9, clock=clock)
    assert times["a"].busy
    assert (times["a"].rounds, times["a"].disturbed) == (12, 12)
    assert times["a"].median == 1.0


def loaded(clock, idle):
    """A reference product of 1 ms, of which every `idle`-th one waits for 30 ms while other work has the processor."""
    return clock.function("r", ([0.001] * (idle - 1) + [0.03]) * 300)


@pytest.mark.parametrize(("idle", "busy", "slowdown"), [(12, True, 2.4), (10_000, False, 1.0)])
def test_an_evenly_loaded_machine_is_noticed_by_the_reference_product(idle, busy, slowdown):
    clock = Clock()
    reference = loaded(clock, idle)
    timing = interleaved({"a": clock.function("a", [5.0])}, 6, 0, 1e9, clock=clock, reference=reference)["a"]
    assert (timing.median, timing.disturbed, timing.busy) == (5.0, 0, busy)
    assert timing.slowdown == pytest.approx(slowdown, rel=0.25)


def test_a_machine_on_which_every_product_has_to_wait_is_noticed_by_the_processor_s_time():
    timing = interleaved({"a": lambda: None}, 3, 0, reference=lambda: time.sleep(0.002))["a"]
    assert timing.busy
    assert timing.slowdown > 2


def test_a_single_hiccup_of_the_reference_does_not_make_a_machine_busy():
    clock = Clock()
    reference = clock.function("r", [0.001] * 60 + [9.0] + [0.001])
    assert not interleaved({"a": clock.function("a", [5.0])}, 6, 0, 1e9, clock=clock, reference=reference)["a"].busy


class Halving(nn.Module):
    """Works in place on its images, which would fade away while it is timed."""

    def forward(self, x):
        return x.mul_(0.5)


def test_timing_leaves_the_images_as_they_are():
    x = torch.ones(2, 3)
    latency(Halving(), x, rounds=3)
    assert torch.equal(x, torch.ones(2, 3))


def test_no_round_is_begun_after_the_seconds_but_three_are_run():
    clock = Clock()
    assert interleaved({"a": clock.function("a", [4.0])}, 50, warmup=1, seconds=1.0, clock=clock)["a"].rounds == 3
    assert interleaved({"a": clock.function("a", [4.0])}, 50, warmup=0, seconds=30.0, clock=clock)["a"].rounds == 8


def test_one_round_has_no_spread():
    with pytest.raises(ValueError, match="rounds must be at least 2, got 1"):
        interleaved({"a": lambda: None}, 1)


def test_the_real_clock():
    timing = interleaved({"a": lambda: time.sleep(0.01)}, 5, warmup=0)["a"]
    assert 0.01 <= timing.low <= timing.median <= timing.high < 1


class Probe(nn.Module):
    """Remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 2), []

    def forward(self, x):
        self.seen.append((self.training, torch.is_grad_enabled(), len(x)))
        return self.layer(x)


def test_a_round_begins_after_a_rest_and_with_a_call_that_does_not_count():
    """Threads of the reference product wait actively for a while, and what comes after a rest has empty caches."""
    calls = []
    began = time.perf_counter()
    timings = interleaved({name: (lambda name=name: calls.append(name)) for name in "ab"}, 4, warmup=0, noise=1e9)
    assert "".join(calls) == "aab" + "bba" + "aab" + "bba"
    assert time.perf_counter() - began > 4 * REST
    assert timings["a"].rounds == 4


def test_latencies_are_of_eval_mode_without_gradients_per_batch_size_and_interleaved():
    models = {"dense": Probe(), "small": Probe().train()}
    found = latencies(models, torch.zeros(8, 4), (1, 2, 8), rounds=3)
    assert list(found) == [1, 2, 8]
    assert set(found[8]) == {"dense", "small"}
    for model in models.values():
        assert {(training, grad) for training, grad, _ in model.seen} == {(False, False)}
        assert {n for _, _, n in model.seen} == {1, 2, 8}
    assert models["small"].training  # as it was


def test_the_latency_of_one_network():
    assert latency(nn.Linear(4, 2), torch.zeros(1, 4), rounds=3).median > 0


def test_peak_memory_of_two_layers_by_hand():
    model = nn.Sequential(nn.Linear(100, 1000, bias=False), nn.Linear(1000, 10, bias=False))
    weights, x = 4 * (100 * 1000 + 1000 * 10), torch.zeros(64, 100)
    # in the second layer: the weights, the input, 64 x 1000 that come in and 64 x 10 that go out
    assert peak_memory(model, x) == weights + 4 * 64 * (100 + 1000 + 10)


def test_peak_memory_lets_go_of_what_is_no_longer_needed():
    layers = [nn.Linear(256, 256, bias=False) for _ in range(6)]
    x = torch.zeros(64, 256)
    # never more than one layer's input and output beside the input of all, which the caller holds
    assert peak_memory(nn.Sequential(*layers), x) == 6 * 4 * 256 * 256 + 3 * x.nbytes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_events_wait_for_the_device():
    x = torch.randn(8192, 8192, device="cuda")
    for _ in range(3):
        x @ x
    by_events = min(event_seconds(lambda: x @ x) for _ in range(5))
    assert by_events > 8192**3 * 2 / 1e15  # a launch alone takes microseconds; no device does a petaflop in float32
    assert interleaved({"a": lambda: x @ x}, 3)["a"].median == pytest.approx(by_events, rel=1)
    assert peak_memory(nn.Linear(8192, 8192, device="cuda"), x) >= 3 * 4 * 8192**2
