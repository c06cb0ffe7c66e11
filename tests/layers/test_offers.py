"""Layers are judged by any executor, once, with the same plan: also where a worker dies, or planning is killed."""

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from networks import three_layers
from torch import nn

from layers import Budget, make_plan
from layers.planning import offers

KERNELS = ("svd", "spatial", "tucker", "dct")


@pytest.fixture(scope="module")
def case():
    return three_layers()


def plan(case, **options):
    net, images, stats = case
    return make_plan(net, Budget(params=0.5), KERNELS, example=images[:1], stats=stats, **options)


class Inline:
    """Works when asked for the result; raises what `faults` has for a layer."""

    def __init__(self, **faults):
        self.faults, self.asked = faults, []

    def submit(self, work, task):
        future = Future()
        self.asked.append(task.name)
        if error := self.faults.get(f"layer{task.name}"):
            future.set_exception(error)
        else:
            future.set_result(work(task))
        return future


def test_the_plan_is_the_same_by_any_executor(case):
    usual, threads = plan(case), torch.get_num_threads()
    with ThreadPoolExecutor(3) as pool:
        assert plan(case, executor=pool) == plan(case, executor=Inline()) == usual
    assert torch.get_num_threads() == threads


def test_layers_of_processes_that_are_killed_are_done_again(case):
    done = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:

        def kill(name):
            done.append(name)
            for process in list(pool._processes.values()):
                process.kill()

        assert plan(case, executor=pool, progress=kill) == plan(case)
    assert sorted(done) == ["0", "2", "4"]


def test_a_worker_that_died_costs_its_own_layer(case):
    assert plan(case, executor=Inline(layer2=BrokenProcessPool("killed"))) == plan(case)


def test_an_error_of_the_work_itself_is_not_done_again(case):
    with pytest.raises(ValueError, match="as it is"):
        plan(case, executor=Inline(layer2=ValueError("as it is")))


def test_an_executor_submits(case):
    with pytest.raises(ValueError, match="executor must be one with submit"):
        plan(case, executor="processes")


@pytest.fixture
def judged(monkeypatch):
    """Names of the layers whose metrics were prepared: what is kept needs none."""
    names, prepared = [], offers.Metric.of

    class Noted:
        @staticmethod
        def of(layer, moments):
            names.append(tuple(layer.weight.shape))
            return prepared(layer, moments)

    monkeypatch.setattr(offers, "Metric", Noted)
    return names


def test_planning_that_was_killed_judges_no_layer_twice(case, tmp_path, judged):
    def killed(name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan(case, cache=tmp_path, executor=Inline(layer0=BrokenProcessPool()), progress=killed)
    assert len(judged) == 2
    first = plan(case, cache=tmp_path)
    assert len(judged) == len(set(judged)) == 3
    assert first == plan(case, cache=tmp_path) == plan(case)
    assert len(judged) == 6  # the last without a folder


def test_what_is_kept_is_of_these_weights_moments_and_words(case, tmp_path, judged):
    net = case[0]
    plan(case, cache=tmp_path)
    kept = len(list(tmp_path.iterdir()))
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] += 1
    try:
        plan(case, cache=tmp_path)
    finally:
        with torch.no_grad():
            net[0].weight[0, 0, 0, 0] -= 1
    assert len(list(tmp_path.iterdir())) == kept + 1
    plan(case, cache=tmp_path, rank_multiple=2)
    assert len(list(tmp_path.iterdir())) == 2 * kept + 1


def test_a_damaged_file_is_judged_anew(case, tmp_path, judged):
    first = plan(case, cache=tmp_path)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text()[:-9])
    del judged[:]
    assert plan(case, cache=tmp_path) == first
    assert len(judged) == 3


def test_a_layer_with_hooks_and_attributes_that_cannot_be_pickled_goes_to_a_process(case):
    import pickle
    import threading

    class Own(nn.Conv2d):
        pass

    layer = Own(3, 4, 3, stride=2, padding=1)
    layer.lock = threading.Lock()
    layer.register_forward_hook(lambda *_: None)
    copy = pickle.loads(pickle.dumps(offers.plain_copy(layer)))
    x = torch.randn(1, 3, 9, 9)
    assert type(copy) is nn.Conv2d
    assert torch.equal(copy(x), layer(x))
