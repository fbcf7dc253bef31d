"""Presets: named sets of settings, and why each holds what it holds.

A preset stands right below the source that names it: `--preset` beats variables and files, and any other flag beats it;
one named in a file beats only weaker files. What a preset does not name stays as it was, but for the method's options,
which it brings whole.
"""

from typing import Any

DEFAULT_METHOD = "dycoke"

# DyCoke as in the paper's tables. Budgets and rates of weaker sources would change it, so they are switched off.
_PUBLISHED = {
    "method": "dycoke",
    "retain": None,
    "fps": None,
    "sample": "index",  # as LLaVA's loader takes frames: evenly by count
    "temperature": 0.0,
    "repetition_penalty": 1.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    # A quarter of the tokens: no method did better there than whole frames (benchmarks/results/quality.json). No second
    # stage: on the figures there are, a step takes no less time with it (benchmarks/LOG.md).
    "fast": {"method": "uniform", "retain": None, "options": {"retain": "0.25"}},
    # Tao et al., CVPR 2025: K = 0.7, P = 0.7, L = 3, chosen anew below a similarity of 0.9, 32 frames.
    "paper": {
        **_PUBLISHED,
        "frames": 32,
        "options": {"k": "0.7", "p": "0.7", "l": "3", "gate": "0.9", "variant": "paper"},
    },
    # The authors' released code, selection for selection, at the setting of its README; frames are the model's own.
    "faithful": {
        **_PUBLISHED,
        "frames": None,
        "options": {"k": "0.7", "p": "0.7", "l": "3", "variant": "official"},
    },
}
