"""Two processes on this machine: a port to meet at, and the exit codes they end with."""

import multiprocessing
import socket

FORK = multiprocessing.get_context("forkserver")
# imported once, not by each process
FORK.set_forkserver_preload(["experiments.run.pipeline", "experiments.lab.trials.workers"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def two(target, *args):
    """Exit codes of two processes with this work, which are told their number first."""
    members = [FORK.Process(target=target, args=(number, *args)) for number in range(2)]
    for process in members:
        process.start()
    for process in members:
        process.join(120)
    return [process.exitcode for process in members]
