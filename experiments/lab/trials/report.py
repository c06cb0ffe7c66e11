"""Tell a study how a training goes, epoch by epoch."""

import lightning
import optuna
from optuna.trial import Trial


class Report(lightning.Callback):
    """Tells the study the validation accuracy after each epoch, and ends a trial that the pruner gives up.

    first: the number of the first epoch; errors: report the percentage that is wrong, to a study that minimises.
    """

    def __init__(self, trial: Trial, first: int = 0, errors: bool = False) -> None:
        self.trial, self.first, self.errors = trial, first, errors

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Report the epoch's validation accuracy."""
        if trainer.sanity_checking:
            return
        self.tell(float(trainer.callback_metrics["val_top1"]), self.first + trainer.current_epoch)

    def tell(self, top1: float, step: int) -> None:
        """Report the validation accuracy of a step; TrialPruned if this trial is given up."""
        self.trial.report(100 - top1 if self.errors else top1, step)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {step}")
