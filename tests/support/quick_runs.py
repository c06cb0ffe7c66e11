"""A quick run, and what it writes."""

import json

QUICK = ["--max-epochs", "2", "--finetune-epochs", "1", "--rep", "--no-track"]


def results(folder):
    return json.loads((folder / "results.json").read_text())
