"""`python -m experiments VERB`, and the command `experiments VERB`: the same as `python -m experiments.VERB`."""

import importlib
import sys
from pathlib import Path

VERBS = {
    "run": "train, compress with each kernel, fine-tune, compare, report",
    "plan": "the kernels and ranks that run would choose; trains nothing",
    "sweep": "accuracy against cost, for each kernel and selector; trains nothing",
    "search": "a better plan than selector loss makes, at the same budget",
    "deploy": "the networks of a run as files, measured in every runtime that is here",
    "list": "the runs in a folder",
    "compare": "the networks of several runs side by side",
    "tune": "search for good training settings",
    "study": "how well each kernel holds trained weights",
    "bench": "our kernels, layers, training and planner against their peers",
    "inspect": "what compression did to the weights, filter by filter",
    "reproduce": "the thesis's numbers again, from thesis/runs.toml",
    "figures": "the thesis's figures, from thesis/results/",
    "conformance": "which kernel takes which option of a layer",
}
ALIASES = ("frequency",)  # verbs of before, which still work


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; 2 when there is no such verb."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("-h", "--help"):
        lines = [f"  {name:<13}{work}" for name, work in VERBS.items()]
        sys.stdout.write("usage: experiments VERB [OPTIONS], VERB --help for its options\n\n" + "\n".join(lines) + "\n")
        return 0
    if verb not in (*VERBS, *ALIASES):
        sys.stderr.write(f"error: verb must be one of {', '.join(VERBS)}, got {verb!r}\n")
        return 2
    package = (Path(__file__).parent / verb).is_dir()
    return importlib.import_module(f"experiments.{verb}.__main__" if package else f"experiments.{verb}").main(rest)


if __name__ == "__main__":
    sys.exit(main())
