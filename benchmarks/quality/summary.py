"""Accuracies with bootstrap intervals from grades of clips, and differences from the uncompressed run."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

RESAMPLES = 10_000
REFERENCE = "full"


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the results of clips by world: scores of each arm, and remaining tokens of short events."""
    worlds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in sorted(results, key=lambda one: one["clip"]):
        worlds[result["world"]].append(result)
    return {"worlds": {world: _world(clips) for world, clips in worlds.items()}}


def _world(clips: list[dict[str, Any]]) -> dict[str, Any]:
    by_arm: dict[str, list[list[dict[str, Any]]]] = {}
    for clip in clips:
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for run in clip["asked"]:
            runs[run["arm"]].append(run)
        for arm, of_arm in runs.items():
            by_arm.setdefault(arm, []).append(of_arm)
    reference = _sums(by_arm[REFERENCE], "answers")
    return {
        "clips": len(clips),
        "arms": [_arm(arm, runs, reference) for arm, runs in by_arm.items()],
        "survived": _survived(clips),
    }


def _arm(arm: str, clips: list[list[dict[str, Any]]], reference: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    kinds = sorted({grade["kind"] for runs in clips for run in runs for grade in run["grades"]})
    right, number = _sums(clips, "answers")
    return {
        "arm": arm,
        "seeds": max(len(runs) for runs in clips),
        "prefill": float(np.mean([run["prefill"] for runs in clips for run in runs])),
        "read": float(np.mean([run["read"] for runs in clips for run in runs])),
        "answers": _share(right, number),
        "difference": None if arm == REFERENCE else _share(right - reference[0], number),
        "kinds": {kind: _share(*_sums(clips, kind)) for kind in kinds},
    }


def _sums(clips: list[list[dict[str, Any]]], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Sum the grades of a kind, or of all short answers, averaged over seeds; return right and asked, each (clips,)."""
    right, number = np.zeros(len(clips)), np.zeros(len(clips))
    for place, runs in enumerate(clips):
        for run in runs:
            matching = [grade["right"] for grade in run["grades"] if _is_of(grade["kind"], kind)]
            right[place] += sum(matching) / len(runs)
            number[place] += len(matching) / len(runs)
    return right, number


def _is_of(kind: str, wanted: str) -> bool:
    return kind == wanted or (wanted == "answers" and not kind.startswith("describe"))


def _share(right: np.ndarray, number: np.ndarray) -> dict[str, Any]:
    """Return a share with its 95 % percentile interval from a bootstrap over clips."""
    asked = number > 0
    right, number = right[asked], number[asked]
    drawn = np.random.default_rng(0).multinomial(len(number), np.full(len(number), 1 / len(number)), RESAMPLES)
    low, high = np.percentile(drawn @ right / (drawn @ number), (2.5, 97.5))
    return {
        "share": float(right.sum() / number.sum()),
        "interval": [float(low), float(high)],
        "n": int(number.sum()),
    }


def _survived(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average, over short events, the share of their tokens that the first stage keeps."""
    shares_by_arm: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for clip in clips:
        for arm in clip["survived"]:
            shares_by_arm[arm["arm"]] += [(clip["clip"], share) for share in arm["events"]]
    rows = []
    for arm, events in shares_by_arm.items():
        numbers = sorted({clip for clip, _ in events})
        shares = np.array([sum(share for clip, share in events if clip == number) for number in numbers])
        counts = np.array([sum(clip == number for clip, _ in events) for number in numbers], float)
        rows.append({"arm": arm} | _share(shares, counts))
    return rows
