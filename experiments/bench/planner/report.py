"""`bench planner` from its options to its table and its figure."""

from typing import TYPE_CHECKING

import torch
from rich.console import Console

from checks import require

from ...lab.config import Config
from ...lab.recipes.calibration import Calibration, image_count
from ...lab.recipes.trained import look_up
from . import random_plans, table as planner_table
from .trials import others, tested, trials

if TYPE_CHECKING:
    from .config import Accuracies


def report(config: Config, options: "Accuracies") -> bool:
    """Measure, print and write; whether all that is asked is reached.  ValueError for what cannot be measured."""
    for name, least in (("seeds", 1), ("plans", 0), ("held_out", 1), ("threads", 1)):
        require(getattr(options, name) >= least, name.replace("_", " "), getattr(options, name), f"at least {least}")
    require(options.plans != 1, "plans", 1, "0, or at least 2: one plan has no rank")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    console = Console(stderr=True)

    def say(words: str) -> None:
        console.print(words, soft_wrap=True, highlight=False)

    try:
        job = look_up(config)
        there, side = len(job.dataset.train().labels), job.example.shape[-1]
        count = image_count(options.calibration_images, there, side)
        enough = not options.plans or options.held_out <= there - count
        require(
            enough, "held out", options.held_out, f"at most {there - count}, the training images that do not calibrate"
        )
        dense = tested(job, job.model)
        foreign = [] if options.foreign is None else trials(job, [others(job, options.foreign)], say)
        draws = (Calibration.draw(job.model, job.dataset, count, seed, job.device) for seed in range(options.seeds))
        found = trials(job, draws, say)
        ranked = None
        if options.plans:
            ranked = random_plans.compare(job, count, options.held_out, options.plans, 0, say)
            if options.out is not None:
                random_plans.draw(ranked, config.network.model, options.out.with_suffix(".png"))
        rows = planner_table.lines(config.network.model, job.dataset.classes, dense.top1, found, foreign, ranked)
        images = len(job.dataset.test().labels)
        caption = (
            f"{config.network.model} on all {images:,} test images; {count:,} calibration images, "
            f"mean ± standard deviation over {options.seeds} draws of them"
        )
        return planner_table.show(rows, caption, options.out, found)
    finally:
        torch.set_num_threads(before)
