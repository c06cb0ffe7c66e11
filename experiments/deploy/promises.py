"""What a run promises of its networks, and which files break it."""

from collections.abc import Mapping, Sequence
from typing import Any

EXACT = 1e-3  # largest deviation of scores in float32, of the largest score: rounding of another order of sums
Row = Mapping[str, Any]


def broken(rows: Sequence[Row], promised: Mapping[str, float], batches: Sequence[int], tolerance: float) -> list[str]:
    """Return a sentence for each promise that a file breaks.

    Args:
        rows: of the table: network, runtime, precision, and what was measured.
        promised: network -> the top-1 that the run measured.
        batches: of which latencies are promised: none slower than the dense network's in the same cell, where the
            quartiles of both leave no doubt and the machine was not busy.
        tolerance: points of top-1 that may be lost.
    """
    dense = {(row["runtime"], row["precision"]): row for row in rows if row["network"] == "dense"}
    sentences = []
    for row in rows:
        who = f"{row['network']} in {row['runtime']} {row['precision']}"
        lost = promised[row["network"]] - row["top1"]
        if lost > tolerance:
            sentences.append(f"{who}: {row['top1']:.2f} % right, {lost:.2f} points below what the run measured")
        if row["precision"] == "32" and row["deviation"] > EXACT:
            sentences.append(f"{who}: scores differ from torch's by {row['deviation']:.1%} of the largest")
        other = dense[row["runtime"], row["precision"]]
        for batch in batches if row["network"] != "dense" else ():
            key = f"latency_{batch}"
            noisy = row[f"{key}_noisy"] or other[f"{key}_noisy"]
            if not noisy and row[f"{key}_low"] > other[f"{key}_high"]:
                ratio = row[key] / other[key]
                sentences.append(f"{who}: {ratio:.2f} times as slow as dense there, {batch} images at once")
    return sentences
