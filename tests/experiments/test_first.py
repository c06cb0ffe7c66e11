"""The first run: it opens with the verdict, compares each kernel, planned and not, and says what to do next."""

import json
import re
import shlex

import tyro

from experiments.lab.config import Config
from experiments.lab.reporting.comparison import Comparison
from experiments.lab.reporting.page.verdict import verdict
from experiments.run import first


def test_the_first_run_opens_with_the_verdict_and_ends_with_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(first, "KERNELS", ("auto", "svd"))
    monkeypatch.setattr(first, "EPOCHS", 1)
    assert first.main(["--out", str(tmp_path), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    (folder,) = tmp_path.glob("digits-convnet-*")
    results = json.loads((folder / "results.json").read_text())
    judged = verdict(Comparison({folder.name: results}))
    words = " ".join(out.split())  # lines are wrapped
    assert words.startswith(" ".join([judged.headline, *judged.sentences]).replace("\u00a0", " "))
    assert max(map(len, out.split("report: ")[0].splitlines())) <= 80
    names = [row["network"] for row in results["rows"]]
    assert len(names) == 1 + 2 * 2
    for row in results["rows"]:  # as made and tuned, of each way
        for rung in row.get("ladder", [])[1:]:
            assert re.search(rf"(?<![\d.]){rung['top1']:.2f}(?!\d)", out), row["network"]
    assert out.rstrip().endswith("and make docs.")
    assert f"report: {folder / 'report.html'}" in out
    assert first.main(["--out", str(tmp_path), "--epochs", "1"]) == 0  # complete: the same words, at once
    assert capsys.readouterr().out == out


def test_the_command_that_it_names_is_understood():
    (command,) = re.findall(r"python -m experiments\.run (.*?)\n\n", first.NEXT.replace("\\\n", ""), re.DOTALL)
    given = tyro.cli(Config, args=shlex.split(command), config=(tyro.conf.OmitArgPrefixes,))
    assert given.compression.kernel == ("auto",)


def test_the_rows_of_the_first_run_keep_a_quarter_of_the_work():
    lists = first.config(first.First()).compression.compress
    assert len(lists) == len(set(lists)) == 2 * len(first.KERNELS)
    assert all("macs=0.25" in steps and "finetune" in steps for steps in lists)
