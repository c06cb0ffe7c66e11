"""`bench int8`: every file of every network in every runtime, beside the float32 file."""

import pandas as pd
import pytest
import torch

from experiments.bench.__main__ import main
from experiments.bench.int8.trials import installed
from experiments.lab.models import build
from experiments.lab.runs.record import processor
from layers.network import write_tensors


@pytest.mark.slow  # beside tests/layers/test_int8.py and tests/experiments/test_int8_step.py
def test_the_bench_measures_every_file(tmp_path, capsys):
    torch.manual_seed(0)
    write_tensors(build("lenet", 10, 1, 8), tmp_path / "lenet.safetensors")
    words = "--model lenet --dataset digits --calibration-images 64 --methods minmax --batches 1 --rounds 2"
    words += f" --kernel svd --budget params=0.5 --checkpoint {tmp_path}/lenet.safetensors --out {tmp_path}/t.csv"
    assert main(["int8", *words.split()]) == 0
    table = pd.read_csv(tmp_path / "t.csv")
    files = [(network, file) for network in ("dense", "params=0.5") for file in ("float32", "minmax")]
    assert sorted(zip(table.network, table.file)) == sorted(files * len(installed()))
    assert (table.images == 360).all()
    assert (table.agreement[table.file == "float32"] > 99).all()
    assert (table.agreement > 80).all()
    sizes = {key: set(rows.bytes) for key, rows in table.groupby(["network", "file"])}
    assert max(sizes["dense", "minmax"]) < 0.3 * min(sizes["dense", "float32"])
    assert max(sizes["params=0.5", "minmax"]) < 0.7 * min(sizes["dense", "minmax"])
    assert (table.seconds_1 > 0).all()
    assert processor() in " ".join(capsys.readouterr().out.split())
