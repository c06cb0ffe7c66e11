"""The options of workers that share a study."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workers:
    """how many share the work, and where results go; no part of the study's name"""

    trials: int = 50
    """of the study in all, by all workers; more of them later continue it"""
    storage: str | None = None
    """a database that any number of machines share, postgresql://USER:PASSWORD@HOST/NAME say, or grpc://HOST:PORT of
    a server before one, which needs a single connection for all workers (docs/guides/many-machines.md)
    (unset: study.db in the study's folder, which any number of processes here share)"""
    study_name: str | None = None
    """in the storage (unset: made from the settings, so that the same command joins the same study)"""
    heartbeat: int = 60
    """seconds between two signs of life of a worker; a trial is taken up again after two of them were missed"""
    retries: int = 3
    """how often a trial whose worker died is taken up again"""
    out: Path = Path("runs")
    """folder of the study folders"""
