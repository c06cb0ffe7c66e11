"""Searches on an untrained LeNet: its file, the settings, and the survey of its layers."""

import torch
from safetensors.torch import save_model

from experiments.lab.config import Network
from experiments.lab.models.lenet import LeNet
from experiments.search import trial
from experiments.search.config import Search, Searched, Trials


def random_lenet(folder):
    """File of LeNet's weights, as random as they begin: what is tested with them is asked of any network."""
    torch.manual_seed(0)
    path = folder / "lenet.safetensors"
    save_model(LeNet(), str(path))
    return path


def search_of(checkpoint, epochs=0, budget=("params=0.3",), images=200, **policy):
    policy = Searched(budget, **{"kernel": ("svd", "spatial")} | policy)
    return Search(Network(checkpoint=checkpoint), policy=policy, trials=Trials(epochs, calibration_images=images))


def never(*_):
    raise AssertionError("this was not to be done")


def survey_of(checkpoint):
    """(site, recipes) of two budgets."""
    search = search_of(checkpoint, budget=("params=0.3", "params=0.6"), images=1000)
    job, recipes = trial.check(search)
    return trial.survey(job, recipes, 0.0), recipes
