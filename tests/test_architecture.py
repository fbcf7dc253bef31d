"""The structure of the package: imports go down, few entries at its top, short functions, light help, one version."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dycoke_cli

PACKAGE = Path(dycoke_cli.__file__).parent
ROOT = PACKAGE.parent

# The floors of the package, the lowest first: a part imports only itself and parts of lower floors.
FLOORS = [
    "errors tokens",
    "methods system video",
    "config models",
    "cache engine",
    "capacity",
    "session",
    "captioning evaluation integrations",
    "comparison doctor",
    "bench",
    "display",
    "cli",
]


def part_of(path: Path) -> str:
    """The folder or module at the top of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in the file: `video.reader`, or `errors`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("dycoke_cli.") and (module := module_of(name)) is not None:
                found.add(module)
    return found


def module_of(name: str) -> str | None:
    """The module that an imported name is, or is in; None for what the package itself defines."""
    parts = name.split(".")[1:]
    while parts:
        if (PACKAGE.joinpath(*parts).with_suffix(".py")).exists() or PACKAGE.joinpath(*parts, "__init__.py").exists():
            return ".".join(parts)
        parts.pop()
    return None


def test_imports_go_down() -> None:
    """No part imports one of its own floor or above. `-s` prints the floors."""
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts.split()}
    for number, parts in reversed(list(enumerate(FLOORS))):
        print(f"{number:2} {parts}")
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = part_of(path)
        for module in imports(path):
            other = module.split(".")[0]
            if other != part and floor[other] >= floor.get(part, len(FLOORS)):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert wrong == []


def test_every_part_has_a_floor() -> None:
    """Each part is on exactly one floor, and every name on a floor is a part."""
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert sorted(parts) == sorted(" ".join(FLOORS).split())


def test_the_top_of_the_package_is_small() -> None:
    """At most 20 folders and modules, besides the files that make it a package."""
    entries = {entry.name for entry in PACKAGE.iterdir() if not entry.name.startswith(("__", "."))} - {"py.typed"}
    assert len(entries) <= 20, sorted(entries)


def test_no_circles() -> None:
    """No module imports itself by way of others; an import for type checking alone counts too."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        graph[module] = imports(path) - {module}
    for _ in range(len(graph)):
        leaves = {module for module, used in graph.items() if not used}
        graph = {module: used - leaves for module, used in graph.items() if module not in leaves}
    assert sorted(graph) == []


def test_the_engine_calls_no_forward_of_a_text_model() -> None:
    """It imports nothing of transformers, and calls neither a model, nor its layers or output layer.

    `tests/engine/test_decoder.py` refuses these calls while the engine runs.
    """
    called = []
    for path in (PACKAGE / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom) and "transformers" in ast.unparse(node):
                called.append(f"{path.name}: {ast.unparse(node)}")
            if isinstance(node, ast.Call):
                words = ast.unparse(node.func).replace("[", ".").split(".")
                if {"body", "head", "lm_head", "layers", "forward", "embed_tokens"} & set(words):
                    called.append(f"{path.name}: {ast.unparse(node)}")
    assert called == []


def test_functions_are_short() -> None:
    """No function of the package has a body of more than 50 lines."""
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
