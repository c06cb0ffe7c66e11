"""`int8`: eight bits a number, in an .onnx file that a runtime computes in integers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn

from checks import require
from layers import OnnxNetwork
from layers.checkpoint import check_int8
from layers.checkpoint.int8 import METHODS, NNCF, compensated_network, quantised, rounding_aware
from layers.network import copy_of, weighted

from ..evaluation.evaluate import accuracy
from ..evaluation.workshop import Workshop
from ..progress import log, stage
from .finetune import tune
from .state import State

AUTO, USUAL = "auto", 512


@dataclass(frozen=True)
class Int8:
    """Quantises to 8-bit integers: weights with a scale for each output channel, activations with one for each tensor.

    Of several methods the one of the highest validation accuracy is kept, the first of equal ones.

    Args:
        method: how activations get their scales; auto tries all.
        images: that calibrate, at most.
        finetune: epochs of training as 8-bit integers compute, before; the best by validation accuracy is kept, the
            start among them.  Without any, weights are rounded so that errors make up for another.
    """

    method: Literal["auto", "minmax", "entropy", "percentile", "mse", "nncf"] = "auto"
    images: int = USUAL
    finetune: int = 0

    def __post_init__(self) -> None:
        require(self.finetune >= 0, "finetune of int8", self.finetune, "a number of epochs, 0 for none")
        require(self.images >= 1, "images of int8", self.images, "at least 1: activations get their scales from them")

    def said(self, images: int) -> list[str]:
        """Say how."""
        chosen = "the method of the highest validation accuracy" if self.method == AUTO else self.method
        trained = f", trained like that for {self.finetune} epoch{'s' * (self.finetune != 1)}" if self.finetune else ""
        return [f"8-bit integers{trained}, scales from {min(self.images, images):,} images by {chosen}"]

    def check(self, state: State, shop: Workshop) -> State:
        """Refuse an operator that has no 8 bits, and NNCF where it is not installed."""
        there = find_spec("nncf") is not None
        enough, drawn = self.images in (USUAL, *range(shop.count + 1)), f"1 to {shop.count}, the calibration images"
        require(enough, "images of int8", self.images, drawn)
        require(self.method != NNCF or there, "method of int8", NNCF, "installed here (pip install -e '.[int8]')")
        check_int8(copy_of(state.plain()).cpu(), shop.example)
        return state

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the state with its file."""
        batches = self._batches(state, shop)
        facts = shop.dataset.facts()
        model = self._rounded(state, shop, batches)
        files: dict[str, bytes] = {}
        with stage("int8, method", len(self._methods())) as sign:
            for method in self._methods():
                try:
                    files[method] = quantised(model, batches, method, facts, compensate=False)
                except ValueError as error:
                    if self.method != AUTO or method != NNCF:
                        raise
                    log(f"int8: {error}")  # one method of several
                sign.finish(method)
        return replace(state, onnx=self._best(files, shop))

    def _rounded(self, state: State, shop: Workshop, batches: list[Tensor]) -> nn.Module:
        """Return the network, its weights on the grids of 8-bit integers: trained there, or the nearest in outputs."""
        if self.finetune:
            model = state.held().to(shop.device)
            with rounding_aware(model, [images.to(shop.device) for images in batches]):
                tune(model, shop, self.finetune)
            return model.cpu().eval()
        model = copy_of(state.plain()).cpu()
        with stage("int8, layer", len(weighted(model, nn.Module))) as sign:
            return compensated_network(model, batches, sign.finish)

    def _methods(self) -> tuple[str, ...]:
        if self.method != AUTO:
            return (self.method,)
        return (*METHODS, *((NNCF,) if find_spec("nncf") is not None else ()))

    def _batches(self, state: State, shop: Workshop) -> list[Tensor]:
        """Return the first of the images that calibrate the run."""
        drawn = shop.images(state.model, state.done).batches
        return list(torch.cat([images for images, _ in drawn])[: self.images].cpu().split(len(drawn[0][0])))

    def _best(self, files: Mapping[str, bytes], shop: Workshop) -> bytes:
        if len(files) == 1:
            return next(iter(files.values()))
        kept = {}
        for method, file in files.items():
            network = OnnxNetwork(file, threads=torch.get_num_threads())
            kept[method] = accuracy(network, shop.dataset.val(), shop.dataset, shop.device).top1
        best = max(kept, key=lambda method: kept[method])
        told = ", ".join(f"{method} {top1:.2f}" for method, top1 in kept.items())
        log(f"int8: {best}, by validation accuracy ({told})")
        return files[best]
