"""Presets: named sets of settings, with the source or the measurement behind their values.

A preset ranks directly below the source that names it: `--preset` overrides variables and files, and every other flag
overrides `--preset`; a preset named in a file overrides only weaker files. A preset replaces all options of the method;
other settings that it does not contain keep their values.
"""

from typing import Any

DEFAULT_METHOD = "dycoke"

# DyCoke as in the paper's tables. None resets budgets and rates of weaker sources, which would change it.
_PUBLISHED = {
    "method": "dycoke",
    "retain": None,
    "fps": None,
    "sample": "index",  # evenly by frame count, as LLaVA's loader samples
    "temperature": 0.0,
    "repetition_penalty": 1.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    # A quarter of the tokens: no method scored clearly higher than whole frames (benchmarks/results/quality.json).
    # No second stage: in the measurements so far it does not make a step faster (benchmarks/LOG.md).
    "fast": {"method": "uniform", "retain": None, "options": {"retain": "0.25"}},
    # Tao et al., CVPR 2025: K = 0.7, P = 0.7, L = 3, tokens selected again below a similarity of 0.9, 32 frames.
    "paper": {
        **_PUBLISHED,
        "frames": 32,
        "options": {"k": "0.7", "p": "0.7", "l": "3", "gate": "0.9", "variant": "paper"},
    },
    # The token selection of the authors' released code, with the options of its README and the model's frame count.
    "faithful": {
        **_PUBLISHED,
        "frames": None,
        "options": {"k": "0.7", "p": "0.7", "l": "3", "variant": "official"},
    },
}
