"""Run folders as if runs had written them: figures to calculate with, and what cannot be read."""

from experiments.lab.runs import record


def row(network, scale=1.0, **other):
    """A row as results.json has it; every cost is `scale` times the dense network's."""
    costs = {"params": 60000, "macs": 400000, "bytes": 240000, "peak_memory": 3000000}
    times = {f"latency_{n}{end}": t * scale for n, t in ((1, 2e-4), (64, 3e-3)) for end in ("", "_low", "_high")}
    flags = {"latency_1_noisy": False, "latency_64_noisy": False}
    figures = {"top1": 98.0 + scale, "top5": 100.0, "loss": 0.05, "val_top1": 97.0, "training_seconds": 8.0 * scale}
    return (
        {"network": network, "budget": ""}
        | figures
        | {k: int(v * scale) for k, v in costs.items()}
        | times
        | flags
        | other
    )


def results(*rows, **config):
    return {
        "version": record.VERSION,
        "config": {"model": "lenet", "dataset": "digits", "seed": 0, **config},
        "environment": {"gpu": None, "threads": 2, "commit": "abc"},
        "test_images": 360,
        "latency_batches": [1, 64],
        "rows": list(rows),
    }


def write_runs(tmp_path):
    """A folder with runs `a` and `b`, an unfinished one, and three that cannot be read."""
    folders = {name: tmp_path / name for name in ("a", "b", "unfinished", "torn", "old", "odd")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    record.write_json(folders["a"] / "results.json", results(row("dense"), row("svd", 0.5)))
    record.write_json(folders["b"] / "results.json", results(row("dense", 2.0), row("dct_50%", 0.25), model="resnet20"))
    record.write_json(folders["unfinished"] / "history.json", [{"network": "svd", "epoch": 4, "seconds": 1.0}])
    (folders["torn"] / "results.json").write_text('{"version": 2, "ro')
    record.write_json(folders["old"] / "results.json", {"rows": []})
    record.write_json(folders["odd"] / "results.json", results({"network": "dense"}))
    return tmp_path
