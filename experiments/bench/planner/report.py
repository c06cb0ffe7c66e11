"""`bench planner` from its options to its table and its figure."""

from typing import TYPE_CHECKING

import torch

from checks import require

from ...lab.evaluation.calibration import Calibration, image_count
from ...lab.progress import log
from ...lab.recipes.job import job_of_trained_network
from ...lab.reporting.provenance import command_of, provenance
from ...lab.reporting.units import counted
from ...lab.runs.record import environment
from . import alone, random_plans, table as planner_table
from .trials import others, tested, trials

if TYPE_CHECKING:
    from ...lab.recipes.job import Job
    from .config import PlannerBench


def report(bench: "PlannerBench") -> bool:
    """Measure, print and write; whether all that is asked is reached.  ValueError for what cannot be measured."""
    config, options = bench.run(), bench.measurement
    for name, least in (("seeds", 1), ("plans", 0), ("held_out", 1), ("threads", 1)):
        require(getattr(options, name) >= least, name.replace("_", " "), getattr(options, name), f"at least {least}")
    require(options.plans != 1, "plans", 1, "0, or at least 2: one plan has no rank")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        job = job_of_trained_network(config)
        if options.alone:
            return _alone(job, bench)
        there, side = len(job.dataset.train().labels), job.example.shape[-1]
        count = image_count(options.calibration_images, there, side)
        enough = not options.plans or options.held_out <= there - count
        require(
            enough, "held out", options.held_out, f"at most {there - count}, the training images that do not calibrate"
        )
        dense = tested(job, job.model)
        foreign = [] if options.foreign is None else trials(job, [others(job, options.foreign)], log)
        draws = (Calibration.draw(job.model, job.dataset, count, seed, job.device) for seed in range(options.seeds))
        measured = trials(job, draws, log)
        ranking = None
        if options.plans:
            ranking = random_plans.rank(job, count, options.held_out, options.plans, 0, log)
            if options.out is not None:
                random_plans.write(ranking, config.network.model, options.out)
        rows = planner_table.lines(config.network.model, job.dataset.classes, dense.top1, measured, foreign, ranking)
        images = len(job.dataset.test().labels)
        sample = (
            f"{config.network.model} on all {images:,} test images; {count:,} calibration images, "
            f"mean ± standard deviation over {counted(options.seeds, 'draw')} of them"
        )
        conditions = provenance(command_of("bench planner", bench), environment(), sample)
        return planner_table.show(rows, conditions, options.out, measured)
    finally:
        torch.set_num_threads(before)


def _alone(job: "Job", bench: "PlannerBench") -> bool:
    """Compare what is foreseen of single layers with what is measured, for each number of calibration images."""
    options, there = bench.measurement, len(job.dataset.train().labels)
    most = there - options.held_out
    fits = all(1 <= count <= most for count in options.alone)
    require(fits, "alone", options.alone, f"from 1 to {most}, the training images that are not held out")
    measured = {count: alone.alone(job, count, options.held_out, 0, log) for count in options.alone}
    sample = (
        f"{bench.network.model}, each layer alone at {alone.SHARE:g} of its MACs; {options.held_out:,} images measure"
    )
    return alone.show(measured, provenance(command_of("bench planner", bench), environment(), sample), options.out)
