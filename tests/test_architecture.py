"""The shape of the house: imports go one way, start-up is light, the version is one."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dycoke_cli

PACKAGE = Path(dycoke_cli.__file__).parent
ROOT = PACKAGE.parent

# What a part may import of the project, besides itself.
ALLOWED = {
    "errors": set(),
    "asked": {"errors"},
    "place": {"errors", "sample", "video"},
    "answer": set(),
    "textstream": set(),
    "fingerprint": set(),
    "wholefile": set(),
    "textfile": set(),
    "lock": {"errors"},
    "ledger": {"errors", "lock", "wholefile"},
    "measure": set(),
    "listener": set(),
    "spans": {"listener"},
    "groups": set(),
    "flops": set(),
    "machine": set(),
    "sample": set(),
    "tokens": {"groups"},
    "language_model": {"flops"},
    "finite": {"errors"},
    "hub": {"errors", "weight_files"},
    "model_file": {"errors"},
    "weight_files": {"errors", "model_file"},
    "config_limits": {"errors", "weight_files"},
    "model_folder": {"config_limits", "errors", "model_file", "models", "weight_files"},
    "sizes": {"flops", "weight_files"},
    "models": {"errors", "hub", "sizes"},
    "quantization": {"errors"},
    "memory": set(),
    "room": {"engine", "errors", "families", "flops", "footprint", "methods", "settings", "sizes", "tokens"},
    "device": {"errors"},
    "presets": set(),
    "settings_file": {"errors", "textfile"},
    "settings": {"errors", "naming", "presets", "settings_file"},
    "ranges": {"errors"},
    "moments": {"errors"},
    "outline": {"moments", "ranges"},
    "naming": {"errors", "moments", "outline"},
    "doctor": {"ask", "errors", "evaluation", "loading", "sample", "settings", "video"},
    "clip": {"video"},
    "video": {"errors"},
    "methods": {"errors", "groups", "moments", "naming", "outline", "ranges", "tokens"},
    "families": {"errors", "tokens", "language_model", "memory", "methods", "model_file", "quantization", "video"},
    "encoding": {"families", "methods", "tokens", "video"},
    "engine": {"errors", "tokens", "language_model", "methods"},
    "recorder": {"answer", "engine", "families", "finite", "measure", "methods", "textstream", "tokens"},
    "footprint": {"engine", "families", "flops", "methods", "tokens"},
    "context": {
        "clip",
        "errors",
        "families",
        "footprint",
        "listener",
        "methods",
        "settings",
        "tokens",
    },
    "batch_session": {
        "answer",
        "clip",
        "context",
        "device",
        "encoding",
        "engine",
        "families",
        "footprint",
        "listener",
        "measure",
        "memory",
        "methods",
        "recorder",
        "settings",
        "tokens",
    },
    "conversation": {
        "answer",
        "context",
        "device",
        "engine",
        "errors",
        "listener",
        "measure",
        "recorder",
        "session",
        "tokens",
    },
    "encoded": {"checkpoints", "errors", "families", "fingerprint", "settings", "tokens", "video"},
    "checkpoints": {
        "config_limits",
        "errors",
        "families",
        "hub",
        "memory",
        "model_file",
        "model_folder",
        "models",
        "weight_files",
    },
    "loading": {"checkpoints", "device", "errors", "families", "model_folder", "quantization"},
    # All but the errors only for the types of their results.
    "present": {
        "answer",
        "ask",
        "bench",
        "captioning",
        "chat",
        "comparison",
        "doctor",
        "encoded",
        "errors",
        "evaluation",
        "models",
        "video",
        "wholefile",
    },
    "bench": {
        "checkpoints",
        "comparison",
        "device",
        "encoding",
        "engine",
        "errors",
        "evaluation",
        "families",
        "flops",
        "language_model",
        "listener",
        "machine",
        "measure",
        "memory",
        "methods",
        "naming",
        "opening",
        "settings",
        "tokens",
        "video",
    },
    "opening": {
        "checkpoints",
        "clip",
        "device",
        "encoded",
        "engine",
        "errors",
        "families",
        "listener",
        "loading",
        "memory",
        "methods",
        "quantization",
        "room",
        "settings",
        "sizes",
        "video",
    },
    "integrations": {
        "answer",
        "checkpoints",
        "clip",
        "device",
        "errors",
        "listener",
        "loading",
        "methods",
        "opening",
        "session",
        "settings",
        "video",
    },
    "captioning": {
        "answer",
        "asked",
        "batch_session",
        "checkpoints",
        "clip",
        "device",
        "errors",
        "families",
        "fingerprint",
        "ledger",
        "listener",
        "loading",
        "lock",
        "memory",
        "methods",
        "opening",
        "session",
        "settings",
        "textfile",
        "video",
        "wholefile",
    },
    "comparison": {
        "answer",
        "opening",
        "clip",
        "context",
        "device",
        "errors",
        "evaluation",
        "families",
        "flops",
        "listener",
        "machine",
        "measure",
        "methods",
        "naming",
        "place",
        "session",
        "settings",
        "video",
    },
    "evaluation": {
        "answer",
        "asked",
        "opening",
        "checkpoints",
        "clip",
        "device",
        "errors",
        "families",
        "fingerprint",
        "ledger",
        "listener",
        "loading",
        "methods",
        "naming",
        "place",
        "session",
        "settings",
        "textfile",
        "video",
    },
}


def imports(path: Path) -> set[str]:
    """The project's parts that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith("dycoke_cli."):
                found.add(name.split(".")[1])
            elif name == "dycoke_cli" and isinstance(node, ast.ImportFrom):
                found |= {alias.name for alias in node.names if not alias.name.startswith("_")}
    return found


def test_imports_go_one_way() -> None:
    """No part reaches for what is built upon it."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part in ALLOWED:
            wrong += [f"{path.name} imports {name}" for name in imports(path) - ALLOWED[part] - {part}]
    assert wrong == []


def test_every_part_is_in_the_table() -> None:
    """A new part has to say what it stands on, unless it is the front: ask, session, the command line."""
    parts = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts - set(ALLOWED) == {"__init__", "__main__", "ask", "chat", "session", "cli"}


def test_functions_are_short() -> None:
    """No function of the package is longer than 50 lines."""
    long = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 50:
                signature = node.body[0].lineno - node.lineno
                if (node.end_lineno or 0) - node.lineno + 1 - signature > 50:
                    long.append(f"{path.name}:{node.name}")
    assert long == []


def test_help_is_quick_and_imports_no_torch() -> None:
    """`--help` and `--version` take under half a second, best of three; no help loads anything heavy."""
    code = (
        "import sys; from dycoke_cli.cli.app import run; run(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'numpy', 'av'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    for arguments in (
        ["--version"],
        ["--help"],
        ["ask", "--help"],
        ["bench", "--help"],
        ["caption", "--help"],
        ["chat", "--help"],
        ["cache", "--help"],
        ["compare", "--help"],
        ["eval", "--help"],
        ["methods", "--help"],
        ["config", "--help"],
        ["doctor", "--help"],
        ["models", "pull", "--help"],
    ):
        best = float("inf")
        for _ in range(3):
            began = os.times()
            done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
            now = os.times()
            # Processor time: what neighbours on the machine do must not decide.
            spent = now.children_user + now.children_system - began.children_user - began.children_system
            best = min(best, spent)
            assert done.returncode == 0, done.stderr
        if len(arguments) == 1:
            assert best < 0.5, (arguments, best)


def test_the_version_is_one() -> None:
    """The package and its metadata agree, and the help of the command prints it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == dycoke_cli.__version__
    done = subprocess.run([sys.executable, "-m", "dycoke_cli", "--version"], capture_output=True, text=True)
    assert done.stdout == f"dycoke {dycoke_cli.__version__}\n"
