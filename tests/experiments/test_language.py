"""The language of steps: what is read is what is written, and what cannot be is refused with what can."""

import pytest

from experiments.lab.steps import STEPS
from experiments.lab.steps.kernel import Kernel
from experiments.lab.steps.language import parse, row_name, written

LISTS = [
    "channels 0.3, spatial macs=0.6, finetune 3, half",
    "auto",
    "weights 0.7 per-layer refit",
    "weights 0.5, int8 method=minmax images=64",
    "svd bytes=0.4 selector=energy layers=conv refit=no, weights 0.9 score=lamp, finetune 10, bf16",
    "channels 0.25 layers=conv, batchnorm, binary",
    "channels macs=0.5 score=l1 round=8 refit=no, weights 0.9 per-layer gradual, finetune 3",
]
REFUSED = {
    "": "compress must be steps between commas",
    "svd, ": "compress must be steps between commas",
    "chanels 0.3": "step must be 'channels', or another of channels, weights, .*, got 'chanels'",
    "channels": "channels must be a share, or macs=, as in .*, got 'neither'",
    "weights": "step weights must be followed by its share, got 'weights'",
    "channels 1.2": "share of channels must be at least 0 and below 1, got 1.2",
    "weights 0": "share of weights must be above 0 and below 1, got 0.0",
    "channels 0.3 macs=0.5": "channels must be a share, or macs=, .*, got 'share=0.3 and macs=0.5'",
    "channels 0.3 bytes=0.5": r"option of channels must be .*layers, refit \(bytes=0.5 is an option of bits, kernel\)",
    "channels macs=0": "macs of channels must be above 0 and at most 1, got 0.0",
    "channels 0.3 score=best": "score of channels must be one of l1, l2, taylor, loss, got 'best'",
    "channels 0.3 round=0": "round of channels must be at least 1, got 0",
    "weights 0.5 gradual": "step after weights 0.5 gradual must be finetune, over whose .*, got 'nothing'",
    "weights 0.5 gradual refit, finetune 3": "refit of weights must be left out with weights that go gradually, got",
    "weights 0.5 gradual, half": "step after weights 0.5 gradual must be finetune, .*, got 'half'",
    "channels 0.3 0.4": "option of channels must be one of .*, got '0.4'",
    "half 2": "option of half must be left out: it has none, got '2'",
    "svd layer=conv": "option of svd must be one of macs, .*: layers.*, got 'layer=conv'",
    "svd macs=0.5 macs=0.4": "option macs of svd must be given once, got 'macs=0.4'",
    "svd macs=x": "macs of svd must be a number, got 'x'",
    "svd macs=0.5 params=0.3": "budget must be exactly one of macs=",
    "svd macs=2": "budget macs must be a fraction above 0 and at most 1, got 2",
    "svd refit=maybe": "refit of svd must be yes or no, got 'maybe'",
    "svd selector=best": "selector must be one of .*, got 'best'",
    "dct macs=0.5": "budget for kernel dct must be on bytes or params, got 'macs=0.5'",
    "dct refit": "kernel to refit must be one that makes factors, not coefficients, got 'dct'",
    "finetune 0": "epochs of finetune must be at least 1, got 0",
    "finetune 1.5": "epochs of finetune must be an integer, got '1.5'",
    "weights 0.5 score=l3": "score of weights must be one of l1, .*, got 'l3'",
    "dct, channels 0.5": "kernel before channels 0.5 must be one that makes factors, not coefficients, got 'dct'",
    "weights 0.5, svd": "compress must be 'svd, weights 0.5', for svd cannot come after weights 0.5, whose zeros would",
    "weights 0.5, channels 0.3, finetune 3": "compress must be 'channels 0.3, weights 0.5, finetune 3', for ",
    "binary, auto macs=0.6": "compress must be 'auto macs=0.6, binary', for .* whose two values would be lost",
    "binary, weights 0.3": "compress must be 'weights 0.3, binary', for ",
    "svd, spatial": "compress must be 'svd', for spatial cannot come after svd, whose factors no other kernel takes",
    "int8, finetune 3": "compress must be 'finetune 3, int8', for finetune 3 cannot come after int8, which nothing can",
    "int8 images=0": "images of int8 must be at least 1: activations get their scales from them, got 0",
    "int8 method=max": "method of int8 must be one of auto, minmax, entropy, percentile, mse, nncf, got 'max'",
    "bits 9": "bits must be a whole number from 2 to 8, got 9",
    "bits": "step bits must be followed by its width, got 'bits'",
    "bits 6 bytes=2": "bytes of bits must be above 0 and at most 1, got 2.0",
    "bits 6 bytes=0.1 rounding=nearest": "rounding of bits must be loss, where bytes are given, got 'nearest'",
    "binary, bits 4": "compress must be 'binary', for bits 4 cannot come after binary, whose weights have one bit",
    "bits 6, finetune 3": "compress must be 'finetune 3, bits 6', for finetune 3 cannot come after bits 6, ",
    "dct, bits 4": "kernel before bits 4 must be one that makes factors, not coefficients, got 'dct'",
    "half, finetune 3": "compress must be 'finetune 3, half', for finetune 3 cannot come after half, which nothing can",
    "finetune 3, half, bf16": "compress must be 'finetune 3, half', for bf16 cannot come after half",
    "dct, weights 0.5": "kernel before weights 0.5 must be one that makes factors, not coefficients, got 'dct'",
}


@pytest.mark.parametrize("words", LISTS)
def test_what_is_written_is_read(words):
    steps = parse(words)
    assert ", ".join(map(written, steps)) == words
    assert parse(f" {words.replace(' ', '   ')} ") == steps


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(words):
    with pytest.raises(ValueError, match=REFUSED[words]):
        parse(words)


def test_names_of_rows_are_safe_and_differ():
    names = [row_name(parse(words)) for words in LISTS]
    assert names[0] == "channels-0.3-spatial-macs0.6-finetune-3-half"
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in names)
    long = [row_name(parse(", ".join([*["finetune 3"] * n, "half"]))) for n in range(10, 20)]
    assert len(set(long)) == len(long)
    assert max(map(len, long)) < 100


def test_every_row_of_the_table_can_be_written():
    needs = {"bits": " 6", "channels": " 0.3", "weights": " 0.3", "finetune": " 1"}
    for name, row in STEPS.items():
        words = name + needs.get(name, "")
        assert written(parse(words)[0]) == words
        assert row.step is Kernel or isinstance(parse(words)[0], row.step)
