"""The stages of a run: prepare (all that can be refused is refused here), execute, present."""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import seed_everything
from rich.console import Console
from safetensors.torch import save_model
from torch import Tensor, nn

from checks import need
from layers import Budget, Cost, Plan, compress, cost, frequency_layers, make_plan, save, save_frequency_layers
from layers.basis import BASES
from layers.compress import load_tensors
from layers.cost import evaluating
from layers.methods import method

from . import record, report
from .batches import normalise
from .config import Config
from .data import Dataset, load_dataset
from .evaluate import latencies, top1
from .models import build, factory
from .train import train

LATENCY_BATCH = 32
KINDS = {"all": nn.Module, "conv": nn.Conv2d, "linear": nn.Linear}


class Job(NamedTuple):
    """A checked configuration and what it names."""

    config: Config
    folder: Path
    dataset: Dataset
    model: nn.Module
    device: str
    example: Tensor  # (LATENCY_BATCH, c, h, w) normalised test images, on the CPU
    budgets: dict[str, Budget]  # by kernel
    epochs: int
    finetune_epochs: int
    scratch: dict[str, nn.Module]  # networks of frequency layers by kernel, trained like the dense one
    scratch_epochs: int


def finished(config: Config) -> bool:
    """Whether this configuration's run is complete and need not be repeated."""
    return (config.output.out / config.name / record.COMPLETE).is_file() and not config.output.force


def _budget(kernel: str, text: str | None) -> Budget:
    """The budget as given; by default half the MACs, or half the parameters where MACs cannot be saved."""
    if text is not None:
        return Budget.parse(text)
    return Budget(macs=0.5) if "macs" in method(kernel).saves else Budget(params=0.5)


def _network(config: Config, dataset: Dataset) -> nn.Module:
    """The network, with the checkpoint's weights if there is one."""
    model = build(config.network.model, len(dataset.classes), dataset.channels)
    if checkpoint := config.network.checkpoint:
        need(checkpoint.is_file(), "checkpoint", str(checkpoint), "a safetensors file")
        load_tensors(model, checkpoint)
    return model


def _plan(job: Job, kernel: str) -> Plan:
    compression = job.config.compression
    return make_plan(
        job.model,
        job.budgets[kernel],
        (kernel,),
        compression.selector,
        example=job.example[:1].to(next(job.model.parameters()).device),
        where=lambda _, module: isinstance(module, KINDS[compression.layers]),
    )


def _check_frequency(config: Config) -> None:
    """What a run with --frequency cannot obey is refused, not ignored."""
    for kernel in config.compression.kernel:
        need(kernel in BASES, "kernel", kernel, f"one of {', '.join(BASES)} with --frequency")
    why = "left out with --frequency, whose networks are trained from scratch"
    need(config.compression.budget is None, "budget", config.compression.budget, why)
    need(config.training.finetune_epochs is None, "finetune epochs", config.training.finetune_epochs, why)
    need(config.training.max_epochs != 0, "max epochs", 0, "at least 1 with --frequency")


def _scratch(config: Config, dataset: Dataset, kernel: str) -> nn.Module:
    """A fresh network of frequency layers, the same whichever kernels went before."""
    seed_everything(config.training.seed, verbose=False)
    model = build(config.network.model, len(dataset.classes), dataset.channels)
    return frequency_layers(model, kernel, config.compression.layers)


def prepare(config: Config) -> Job:
    """Look everything up and try it once; ValueError in one sentence for what is wrong, before anything is written."""
    return check(config)._replace(folder=record.open_folder(config))


def check(config: Config) -> Job:
    """The job without its folder: nothing is written."""
    training, images = config.training, config.data
    for name, value, least in (
        ("max epochs", training.max_epochs, 0),
        ("finetune epochs", training.finetune_epochs, 0),
        ("batch size", images.batch_size, 1),
        ("image size", images.image_size, 1),
    ):
        need(value is None or value >= least, name, value, f"at least {least}")
    need(config.network.checkpoint or training.max_epochs != 0, "max epochs", 0, "at least 1 without a --checkpoint")
    need(training.lr > 0, "lr", training.lr, "above 0")
    gpu = torch.cuda.is_available()
    need(training.accelerator != "cuda" or gpu, "accelerator", "cuda", "auto or cpu on a machine without a CUDA GPU")

    factory(config.network.model)  # looked up before the images are: a wrong name should not wait for them
    compression = config.compression
    from_scratch, planned = (compression.kernel, ()) if compression.frequency else ((), compression.kernel)
    if from_scratch:
        _check_frequency(config)
    budgets = {kernel: _budget(kernel, compression.budget) for kernel in planned}
    dataset = load_dataset(images, training.seed)
    seed_everything(training.seed, verbose=False)
    model = _network(config, dataset)
    example = normalise(dataset.test().images[:LATENCY_BATCH], dataset)
    try:
        with evaluating(model):
            model(example[:1])
    except RuntimeError as error:
        size = "x".join(map(str, example.shape[1:]))
        raise ValueError(f"images must fit {config.network.model}, got {size} ({str(error).splitlines()[0]})") from None

    usual = dataset.epochs if training.max_epochs is None else training.max_epochs
    # with --frequency the epochs are those of the other networks, which do not start from the checkpoint
    skip = config.network.checkpoint is not None and (training.max_epochs is None or compression.frequency)
    finetune = training.finetune_epochs if training.finetune_epochs is not None else math.ceil(usual / 4)
    device = "cuda" if gpu and training.accelerator != "cpu" else "cpu"
    scratch = {kernel: _scratch(config, dataset, kernel) for kernel in from_scratch}
    epochs = 0 if skip else usual
    job = Job(config, Path(), dataset, model, device, example, budgets, epochs, finetune, scratch, usual)
    for kernel in budgets:
        _plan(job, kernel)  # a budget that no ranks meet is refused now, not after an hour of training
    return job


def _fit(job: Job, model: nn.Module, epochs: int, lr: float) -> float | None:
    """Train in place; the validation accuracy of the best epoch, or None without an epoch."""
    if not epochs:
        return None
    training = job.config.training
    return train(
        model, job.dataset, training, epochs=epochs, lr=lr, batch_size=job.config.data.batch_size, seed=training.seed
    )


def train_dense(job: Job) -> float | None:
    """Train the job's own network in place; the validation accuracy of its best epoch."""
    return _fit(job, job.model, job.epochs, job.config.training.lr)


def execute(job: Job) -> None:
    """Train, compress with each kernel, fine-tune, measure; results.json is written last."""
    console, lr = Console(stderr=True), job.config.training.lr
    record.write_json(job.folder / "config.json", job.config.flat())
    console.print(f"dense: {job.epochs} epochs", highlight=False)
    val = {"dense": train_dense(job)}
    save_model(job.model, str(job.folder / "dense.safetensors"))
    models, plans = {"dense": job.model}, {}
    for kernel, budget in job.budgets.items():
        console.print(f"{kernel} at {budget}: {job.finetune_epochs} epochs", highlight=False)
        plans[kernel] = _plan(job, kernel)
        models[kernel] = compress(job.model, plans[kernel])
        val[kernel] = _fit(job, models[kernel], job.finetune_epochs, lr / 4)
        save(models[kernel], plans[kernel], job.folder / kernel)

    for kernel, model in job.scratch.items():
        console.print(f"{kernel} from scratch: {job.scratch_epochs} epochs", highlight=False)
        val[kernel], models[kernel] = _fit(job, model, job.scratch_epochs, lr), model
        save_frequency_layers(model, kernel, job.config.compression.layers, job.folder / f"{kernel}.safetensors")

    test, rows = job.dataset.test(), []
    timing = latencies(models, job.example.to(job.device))
    for name, model in models.items():
        costs: Cost = cost(model, job.example[:1].to(job.device))
        rows.append(
            {
                "kernel": name,
                "budget": str(job.budgets.get(name, "")),
                "top1": top1(model, test, job.dataset, job.device),
                "val_top1": val[name],
                **costs._asdict(),
                "latency": timing[name].median,
                "latency_low": timing[name].low,
                "latency_high": timing[name].high,
            }
        )
    results = {
        "config": job.config.flat(),
        "environment": record.environment(),
        "test_images": len(test.labels),
        "latency_batch": len(job.example),
        "rows": rows,
    }
    report.write(results, {kernel: str(plan) for kernel, plan in plans.items()}, job.folder)
    record.write_json(job.folder / record.COMPLETE, results)


def present(config: Config) -> None:
    """Print the table of a complete run and where its report lies."""
    folder = config.output.out / config.name
    report.show(record.read_results(folder), folder)
