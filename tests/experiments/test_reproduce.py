"""The thesis's numbers can be made again: the manifest, what its commands give, and how the record stands."""

import json
import shlex
from dataclasses import replace

import pytest
import torch
import tyro
from refusals import refused
from run_folders import results as run_results, row
from test_claims import made
from torch import nn

from experiments.__main__ import main as verbs
from experiments.lab.results import result, tables
from experiments.lab.results.manifest import Entry, manifest, words
from experiments.lab.results.result import Number
from experiments.lab.runs import record
from experiments.lab.steps.language import parse
from experiments.reproduce import __main__ as reproduce, execute, status
from experiments.reproduce.collect import gathered, of_folder
from experiments.reproduce.compare import differences
from experiments.reproduce.names import place
from experiments.reproduce.read_others import of_tune
from experiments.reproduce.read_run import zeros
from layers import Budget, compress, make_plan, save

ENTRIES = manifest()
ENVIRONMENT = {"commit": "abc", "cpu": "CPU", "gpu": None, "threads": 1, "python": "3", "torch": "2"}
ENVIRONMENT |= {"torchvision": "0", "numpy": "2", "lightning": "2", "platform": "x"}


@pytest.fixture
def thesis(tmp_path, monkeypatch):
    """A manifest of one entry, and a folder for its results."""
    monkeypatch.setattr(result, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(status, "RESULTS", tmp_path / "results")
    toy = Entry("toy", "A toy.", ("run --model lenet",), seeds=(0, 1, 2))
    monkeypatch.setattr("experiments.lab.results.manifest.manifest", lambda: {"toy": toy})
    return toy


@pytest.mark.parametrize("name", ENTRIES)
def test_the_commands_of_an_entry_are_understood_and_its_networks_told_apart(name, monkeypatch):
    class Understood(Exception):
        pass

    def read_only(*args, **options):
        raise Understood(cli(*args, **options))

    cli = tyro.cli
    monkeypatch.setattr(tyro, "cli", read_only)
    known: dict = {}
    for command in ENTRIES[name].commands:
        for line in execute.lines(command, ENTRIES[name].seeds, {"DATA": "/data", "CHECKPOINTS": "/nets"}):
            with pytest.raises(Understood) as read:
                verbs(line)
            options = read.value.args[0].options
            for text in getattr(getattr(options, "compression", None), "compress", ()):
                steps = parse(text)
                for count in range(len(steps) + 1):
                    key = place(steps[:count])
                    assert known.setdefault(key, steps[:count]) == steps[:count], key


def test_the_smallest_entry_gives_its_record_again(tmp_path, capsys):
    assert verbs(["reproduce", "digits-smallest", "--check", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "digits-smallest: as recorded\n"


def test_what_is_finished_is_not_run_again_and_seconds_add_up(tmp_path, thesis, monkeypatch):
    ran, codes = [], [1, 0]

    def run(line, **_):
        ran.append(shlex.join(line[1:]))
        folder = execute.folder_of(thesis, thesis.commands[0], tmp_path)
        for seed in thesis.seeds:
            run = run_results(row("dense", top1=90.0 + seed), seed=seed) | {"environment": ENVIRONMENT}
            (folder / str(seed)).mkdir(exist_ok=True)
            record.write_json(folder / str(seed) / "results.json", run)
        return execute.subprocess.CompletedProcess(line, codes[len(ran) - 1])

    monkeypatch.setattr(execute.subprocess, "run", run)
    given = (thesis, tmp_path, {}, lambda words: None, False, "auto")
    with pytest.raises(ValueError, match=r"command must be one that succeeds \(it ended with 1"):
        execute.carry_out(*given)
    found = execute.carry_out(*given)
    assert execute.carry_out(*given).numbers == found.numbers
    assert len(ran) == 2  # the third time it was finished
    assert "-m experiments.run --model lenet --seeds 0 1 2 --out" in ran[0]
    assert found.number("dense", "1", "top1") == Number((90.0, 91.0, 92.0), 91.0, 1.0, 3)
    assert (found.commit, found.device, found.seeds) == ("abc", "CPU", (0, 1, 2))


def test_a_bench_that_tells_of_a_missed_goal_is_a_result_and_one_that_breaks_off_is_not(tmp_path, thesis, monkeypatch):
    bench = replace(thesis, commands=("bench served --ways latency",), seeds=(0,))
    cells = [["resnet18", "latency", runtime, "32"] for runtime in ("torch", "openvino")]
    work = execute.folder_of(bench, bench.commands[0], tmp_path) / "cells"
    measured = []

    def run(line, **_):
        measured.append({"cell": cells[len(measured)], "environment": ENVIRONMENT, "why": "no plan is so fast"})
        work.mkdir(exist_ok=True)
        record.write_json(work / "asked.json", cells)
        (work / "cells.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in measured))
        return execute.subprocess.CompletedProcess(line, 1)

    monkeypatch.setattr(execute.subprocess, "run", run)
    given = (bench, tmp_path, {}, lambda words: None, False, "auto")
    with pytest.raises(ValueError, match=r"command must be one that succeeds \(it ended with 1"):
        execute.carry_out(*given)
    found = execute.carry_out(*given)
    assert set(found.numbers["latency"]) == {"torch-32", "openvino-32"}
    assert execute.carry_out(*given) == found
    assert len(measured) == 2  # the third time it was finished


def test_a_command_that_was_interrupted_is_not_done(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(execute.subprocess, "run", interrupted)
    ledger = tmp_path / execute.LEDGER
    with pytest.raises(KeyboardInterrupt):
        execute._run(["run"], 1, ledger, None)
    assert ledger.is_file()  # its seconds count
    assert not execute._done(ledger)


def test_runs_of_several_commits_make_no_result(thesis):
    sources = [execute.Source(seed, ENVIRONMENT | {"commit": f"c{seed}"}, []) for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"toy.json: commit must be one in all its runs .*, got 'c0, c1'"):
        execute.result_of(thesis, sources, 1.0, "2026-01-01")


def test_every_network_on_the_way_of_a_list_is_a_row(tmp_path):
    ladder = [{"step": "dense", "top1": 98.0}, {"step": "svd", "top1": 90.0}, {"step": "finetune", "top1": 97.0}]
    rows = [row("dense", top1=98.0), row("svd-macs0.5-finetune-2", 0.5, top1=97.0, ladder=ladder)]
    run = run_results(*rows, compress=["svd macs=0.5, finetune 2"]) | {"environment": ENVIRONMENT}
    (tmp_path / "run").mkdir()
    record.write_json(tmp_path / "run" / "results.json", run)
    numbers, _ = gathered(of_folder(tmp_path), (0,), "toy.json")
    tops = {(name, level): found["top1"].mean for name, levels in numbers.items() for level, found in levels.items()}
    assert tops == {("dense", "1"): 98.0, ("svd", "0.5"): 90.0, ("svd+finetune", "0.5"): 97.0}
    assert numbers["svd+finetune"]["0.5"]["peak_memory"].mean == 1500000  # measured of the last network alone
    with pytest.raises(ValueError, match=r"toy.json: dense 1 must be measured with every seed, got 'none of seed"):
        gathered(of_folder(tmp_path), (0, 1), "toy.json")


def test_cells_of_a_bench_are_levels_and_busy_ones_have_no_time(tmp_path, thesis):
    def cell(way, runtime, small, **more):
        times = {"dense": [0.4, 0.3, 0.5, False], "small": [small, small, small, more.pop("busy", False)]}
        return {"cell": ["resnet18", way, runtime, "32"], "environment": ENVIRONMENT, **times, **more}

    rows = [cell("svd", "torch", 0.2), cell("svd", "openvino", 0.1, busy=True), cell("spatial", "torch", 0.1)]
    none = {"cell": ["resnet18", "latency", "torch", "32"], "environment": ENVIRONMENT, "why": "no plan is so fast"}
    (tmp_path / "cells").mkdir()
    path = tmp_path / "cells" / "cells.jsonl"
    path.write_text('{"cell": ["resn\n' + "".join(f"{json.dumps(row)}\n" for row in [*rows, none]))
    numbers, _ = gathered(of_folder(tmp_path), (0,), "toy.json")
    told = {name: {level: set(found) for level, found in levels.items()} for name, levels in numbers.items()}
    both = {"ms", "speedup"}
    assert told == {
        "svd": {"torch-32": both, "openvino-32": set()},
        "spatial": {"torch-32": both},
        "latency": {"torch-32": set()},
        "dense": {"torch-32": {"ms"}, "openvino-32": set()},
    }
    assert (numbers["dense"]["torch-32"]["ms"].mean, numbers["svd"]["torch-32"]["speedup"].mean) == (400, 2)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, {**none, "environment": {"commit": "other"}}]))
    with pytest.raises(ValueError, match=r"cells.jsonl must be measured by one .*, got 'cells of several commits"):
        of_folder(tmp_path)
    bench = replace(thesis, commands=("bench served --threads 2",), seeds=(0,))
    assert execute.lines(bench.commands[0], bench.seeds, {}) == [["bench", "served", "--threads", "2"]]


def test_points_of_a_sweep_are_rows_and_calibration_tells_them_apart(tmp_path):
    known = {"top1": 80.0, "top5": 99.0, "loss": 0.5, "params": 10, "macs": 20, "bytes": 40, "predicted_rise": 0.1}
    point = {"kernel": "auto", "selector": "loss", "budget": "macs=0.25", **known}
    points = {"dense": {**point, "kernel": "dense", "selector": "", "budget": "", "predicted_rise": None}}
    points |= {"a": point, "b": {**point, "selector": "energy"}}
    config = {"selector": ["loss", "energy"], "seed": 0, "refit": False, "calibration_images": 100}
    (tmp_path / "sweep").mkdir()
    record.write_json(tmp_path / "sweep" / "points.json", points)
    record.write_json(tmp_path / "sweep" / "config.json", config | {"environment": ENVIRONMENT})
    numbers, _ = gathered(of_folder(tmp_path), (0,), "toy.json")
    assert set(numbers) == {"dense", "auto-refit=no-images=100", "auto-selector=energy-refit=no-images=100"}
    assert numbers["auto-refit=no-images=100"]["0.25"]["predicted"].mean == 0.1
    (tmp_path / "sweep" / "points.json").write_text('{"dense')
    with pytest.raises(ValueError, match=r"points.json must be as its verb wrote it"):
        of_folder(tmp_path)


SPOILT = {
    "torn": (lambda text: text[:100], r"toy.json must be whole, got no JSON"),
    "foreign": (lambda text: '{"rows": []}', r"toy.json: schema must be 1, .*, got None"),
    "newer": (lambda text: text.replace('"schema": 1', '"schema": 2'), r"toy.json: schema must be 1, .*, got 2"),
    "typed": (
        lambda text: text.replace("88.2,", "99.9,"),
        r"toy.json: digest must be that of its content, which nobody",
    ),
    "halved": (lambda text: text.replace('"commit": "abc"', '"commit": null'), r"toy.json: commit must be as"),
    "renamed": (lambda text: text.replace('"name": "toy"', '"name": "other"'), r"toy.json: name must be 'toy'"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_result_that_is_none_is_named_with_its_field(how, thesis):
    spoil, sentence = SPOILT[how]
    path = result.write(made())
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        result.read("toy")
    assert status.state(thesis, "abc")[0] == "unreadable"


def test_a_result_is_read_as_it_was_written_and_names_what_it_lacks(thesis):
    result.write(made())
    read = result.read("toy")
    assert read == made()
    for key, sentence in (("ht", "numbers must"), ("auto", r"numbers.auto must be one of 0.5, got '0.4'")):
        with pytest.raises(ValueError, match=f"toy.json: {sentence}"):
            read.number(key, "0.4", "top1")


def test_the_status_says_what_is_missing_stale_or_of_another_commit(thesis):
    assert status.state(thesis, "abc") == ("missing", "")
    result.write(made())
    assert status.state(thesis, "abc") == ("stale", "another command; commit abc, 2026-01-01")
    result.write(made(command=thesis.commands))
    assert status.state(thesis, "abc") == ("there", "commit abc, 2026-01-01")
    assert status.state(thesis, "def") == ("there", "commit abc, 2026-01-01, an earlier one")
    result.write(made(name="stranger"))
    assert ["stranger", "foreign", "results/stranger.json is of no entry of the manifest"] in status.results(
        {"toy": thesis}
    ).rows


def test_what_needs_a_gpu_is_skipped_aloud_and_refused_by_its_name(thesis, tmp_path, capsys, monkeypatch):
    entry = Entry("large", "Large.", ("run --model resnet18",), needs=("gpu",))
    monkeypatch.setattr("experiments.lab.results.manifest.manifest", lambda: {"large": entry})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert reproduce.main(["--all", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "large: skipped, it needs a GPU, and here is none\n"
    assert "it needs a GPU" in refused(reproduce.main, ["large", "--out", str(tmp_path)], tmp_path, capsys)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[toy]\npurpose = "A."\ncomands = ["run"]\n', "toy must be 'commands', or another of .*, got 'comands'"),
        ('[toy]\ncommands = ["run"]\n', "toy.purpose must be given"),
        ('[toy]\npurpose = "A."\ncommands = "run"\n', "toy.commands must be a list"),
        ('[toy]\npurpose = "A."\ncommands = ["run --data-root $DATA"]\n', "toy.needs must be data where"),
        ('[toy]\npurpose = "A."\ncommands = ["run"]\nseeds = [1, 1]\n', "toy.seeds must be distinct"),
        ("[toy\n", "manifest must be a TOML file"),
    ],
)
def test_a_mistake_in_the_manifest_is_named_with_its_entry(text, sentence, tmp_path):
    path = tmp_path / "runs.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        manifest(path)


def test_braces_that_stay_open_are_refused():
    with pytest.raises(ValueError, match="steps must be lists whose braces are closed"):
        words("run --compress 'svd macs={0.5, finetune 2'")


def test_numbers_of_another_machine_may_differ_by_their_spread_and_of_the_same_by_nothing():
    old = made()
    assert not differences(old, old)
    near = made(numbers={**old.numbers, "svd": {"0.5": {"top1": Number.of([84.1, 84.1, 84.1])}}})
    assert differences(old, near) == ["toy: svd 0.5 top1 was 84, is 84.1"]
    other = made(device="another CPU", numbers=near.numbers)
    assert not differences(old, other)
    far = made(device="another CPU", numbers={"svd": {"0.5": {"top1": Number.of([80.0] * 3)}}})
    assert "toy: svd 0.5 top1 was 84, is 80" in differences(old, far)
    assert "toy: cp 0.5 top1 was 88.2333, is none" in differences(old, far)


PLACE = "<!-- results toy top1 title='top-1 at MACs kept, %' rows='auto: mixed; svd: SVD alone' levels='0.5' -->"


def test_a_table_of_a_page_is_made_of_its_results(thesis):
    text = f"# Page\n\n{PLACE}\n\n| old |\n|---|\n\n<!-- end of results -->\n"
    assert tables.filled(text) == text  # as it was, without results
    result.write(made())
    anew = tables.filled(text)
    assert (
        "| top-1 at MACs kept, % | 50 % |\n| --- | ---: |\n| mixed | 88.20 ± 0.20 |\n| SVD alone | 84.00 ± 0.10 |"
        in anew
    )
    assert tables.filled(anew) == anew
    with pytest.raises(ValueError, match=r"toy.json: numbers must be one of .*, got 'ht'"):
        tables.filled(text.replace("svd: ", "ht: "))


def test_a_table_has_columns_of_several_metrics_beside_dense_of_the_same_seed(thesis):
    dense = {"top1": Number.of([90.0, 80.0]), "bytes": Number.of([200.0, 200.0])}
    half = {"top1": Number.of([88.0, 79.0]), "bytes": Number.of([100.0, 102.0])}
    result.write(made(seeds=(0, 1), numbers={"dense": {"1": dense}, "half": {"1": half}}))
    place = "<!-- results toy title='what' rows='half 1: halves' columns='top1 -top1 /bytes latency_64_ms /ms' -->"
    got = tables.filled(f"{place}\n<!-- end of results -->\n")
    heads = "what | top-1, % | top-1 less dense's | file, % of dense's | "
    assert heads in got
    assert "| halves | 83.50 ± 6.36 | -1.50 ± 0.71 | 50.5 ± 0.7 |  |  |" in got
    with pytest.raises(ValueError, match=r"toy.json: numbers.half must be one of 1, got '2'"):
        tables.filled(got.replace("half 1:", "half 2:"))
    with pytest.raises(ValueError, match=r"place of results toy must be with title, rows, columns, got .*'levels'"):
        tables.filled(got.replace("columns=", "levels="))
    with pytest.raises(ValueError, match=r"place of results toy must be of metrics, which are top1, .*, got .*'-topp'"):
        tables.filled(got.replace("-top1", "-topp"))


@pytest.mark.parametrize("path", tables.pages(), ids=lambda path: path.name)
def test_the_tables_of_the_pages_are_those_of_the_results(path):
    text = path.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "python -m experiments.reproduce --docs"
    assert all(wanted.entry in ENTRIES for wanted in tables.places(text))


def test_every_result_is_whole_and_of_its_entry():
    for path in sorted(result.RESULTS.glob("*.json")):
        assert not status.why_stale(ENTRIES[path.stem], result.read_file(path)), path
        assert "dirty" not in json.loads(path.read_text(encoding="utf-8"))["commit"]


def test_trials_of_a_search_for_settings_and_zeros_of_layers_are_series(tmp_path):
    trials = (
        "number,value,state,params_lr,params_gamma\n1,97.0,COMPLETE,0.1,\n0,96.0,COMPLETE,0.01,0.5\n2,,PRUNED,0.2,0.5\n"
    )
    (tmp_path / "trials.csv").write_text(trials, encoding="utf-8")
    best = {"validation_top1": 97.0, "seed": 3, "environment": {"commit": "abc"}}
    (tmp_path / "best.json").write_text(json.dumps(best), encoding="utf-8")
    source = of_tune(tmp_path)
    assert source.seed == 3
    assert source.measured[0].series == {"value": [96.0, 97.0], "lr": [0.01, 0.1]}

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 4))
    model[0].weight.data[:, :, 0] = 0  # a third, at full rank: no kernel pays
    plan = make_plan(model, Budget(params=1.0), kernels=["svd"], selector="energy", example=torch.rand(1, 1, 4, 4))
    save(compress(model, plan), plan, tmp_path / "net")
    told = {"layer": ["0", "2"], "layer_zeros": pytest.approx([1 / 3, 0.0])}
    assert zeros(tmp_path / "net") == told
    save(compress(model, plan), replace(plan, layers=()), tmp_path / "plain")  # as a network that is only pruned
    assert zeros(tmp_path / "plain") == told
