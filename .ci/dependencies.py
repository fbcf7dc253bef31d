"""What pyproject.toml says of the versions of other packages: read, or written anew from a tried set.

    python .ci/dependencies.py asked                  # every requirement as it stands, one a line
    python .ci/dependencies.py lifted                 # the same without upper bounds
    python .ci/dependencies.py newest                 # the same without extras
    python .ci/dependencies.py newer INSTALLED        # which of those are installed in a version that nobody has tried
    python .ci/dependencies.py untried INSTALLED      # lower bounds below what the lowest set installs
    python .ci/dependencies.py bound INSTALLED        # upper bounds: the next minor version after each installed one
    python .ci/dependencies.py pin RESOLVED           # [tool.uv] constraint-dependencies: no newer than these

INSTALLED and RESOLVED are files of lines `name==version`, with or without a marker, as `uv pip freeze` and
`uv pip compile` print them. Needs packaging and tomlkit; the scripts beside it bring them.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomlkit
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
UPPER = re.compile(r",?\s*<[^=;,]+")


def for_users(document: tomlkit.TOMLDocument) -> Iterator[Any]:
    """Yield the lists of requirements that are part of the package: these have upper bounds."""
    project: Any = document["project"]
    yield project["dependencies"]
    yield from project["optional-dependencies"].values()


def lifted(requirement: str) -> str:
    """Take the upper bound out of a requirement; an exact version stays."""
    what, semicolon, marker = requirement.partition(";")
    return UPPER.sub("", what).rstrip() + semicolon + marker


def bounded(requirement: str, tried: Version) -> str:
    """Put the next minor version after a tried one as upper bound into a requirement with a lower one."""
    what, semicolon, marker = lifted(requirement).partition(";")
    if ">=" in what:
        what = f"{what.rstrip()},<{tried.major}.{tried.minor + 1}"
    return what + semicolon + marker


def versions(file: str) -> dict[str, Version]:
    """Read lines `name==version`; of a package with several versions for several platforms, the lowest."""
    found: dict[str, Version] = {}
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        name, exact, version = line.partition(";")[0].strip().partition("==")
        if exact:
            name = canonicalize_name(name)
            found[name] = min(Version(version), found.get(name, Version(version)))
    return found


def newer(document: tomlkit.TOMLDocument, installed: dict[str, Version]) -> list[str]:
    """Name the installed packages that are above their upper bound, with their versions."""
    requirements = [Requirement(text) for texts in for_users(document) for text in texts]
    tried = {canonicalize_name(requirement.name): requirement.specifier for requirement in requirements}
    return sorted(
        f"{name} {version}"
        for name, version in installed.items()
        if name in tried and not tried[name].contains(version, prereleases=True)
    )


def untried(document: tomlkit.TOMLDocument, installed: dict[str, Version]) -> list[str]:
    """Name the requirements of the package whose lower bound is below what is installed."""
    wrong = []
    for requirement in (Requirement(text) for texts in for_users(document) for text in texts):
        version = installed.get(canonicalize_name(requirement.name))
        lower = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==")]
        if version is not None and lower < [version]:
            wrong.append(f"{requirement.name}>={version}")
    return wrong


def bound(document: tomlkit.TOMLDocument, installed: dict[str, Version]) -> None:
    """Write the upper bound of every requirement whose package is installed."""
    for texts in for_users(document):
        for place, text in enumerate(list(texts)):
            tried = installed.get(canonicalize_name(Requirement(text).name))
            if tried is not None:
                texts[place] = bounded(text, tried)


def pin(document: tomlkit.TOMLDocument, resolved: str) -> None:
    """Write the constraints under which a clone resolves to the tried set, in a year as today.

    `<=` and not `==`, so that `--resolution lowest-direct` can go below.
    """
    lines = [line.strip() for line in Path(resolved).read_text(encoding="utf-8").splitlines()]
    constraints = tomlkit.array().multiline(True)
    for line in lines:
        if "==" in line:
            constraints.append(line.replace("==", "<=", 1))
    tool: Any = document["tool"]
    tool["uv"]["constraint-dependencies"] = constraints


def main(command: str, file: str = "") -> None:
    """Run one of the seven commands."""
    document = tomlkit.parse(PYPROJECT.read_text(encoding="utf-8"))
    groups: Any = document["dependency-groups"]
    if command in ("asked", "lifted", "newest"):
        parts = list(for_users(document))[: 1 if command == "newest" else None]
        asked = [str(text) for texts in [*parts, groups["dev"]] for text in texts]
        print(*[text if command == "asked" else lifted(text) for text in asked], sep="\n")
    elif command == "newer":
        print(*newer(document, versions(file)), sep=", ")
    elif command == "untried":
        if wrong := untried(document, versions(file)):
            sys.exit(f"lower bounds that nothing was tried with; they should be {', '.join(wrong)}")
    else:
        if command == "bound":
            bound(document, versions(file))
        else:
            pin(document, file)
        PYPROJECT.write_text(tomlkit.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
