"""Check Python, the packages that dycoke's metadata requires, and the settings."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dycoke_cli import __version__
from dycoke_cli.doctor.result import CheckResult, ok
from dycoke_cli.errors import UsageError

NAME = "dycoke"
WITHOUT_METADATA = "dycoke runs from its source, without metadata that lists the required packages"
# The decord package of each platform, as in pyproject.toml, for installations without metadata. They are optional,
# because PyAV reads every format that they read; `decoders.py` checks whether they work.
DECORDS = (
    "decord; (sys_platform == 'linux' and platform_machine == 'x86_64')"
    " or (sys_platform == 'win32' and platform_machine == 'AMD64')",
    "eva-decord; sys_platform == 'darwin' and python_version < '3.12'",
    "decord2; sys_platform == 'linux' and platform_machine == 'aarch64'",
)
OPTIONAL = {Requirement(text).name for text in DECORDS}


def check_python(wanted: str | None = None) -> CheckResult:
    """Compare Python's version with the required one; wanted: a specifier that replaces the metadata's."""
    found, facts = platform.python_version(), {"version": platform.python_version(), "executable": sys.executable}
    if wanted is None and (own := _installed(NAME)) is not None:
        wanted = own.metadata["Requires-Python"]
    if wanted and not SpecifierSet(wanted).contains(found, prereleases=True):
        return CheckResult(
            "python", "broken", f"Python {found}, where {wanted} is needed", "Install a newer Python", facts
        )
    return ok("python", f"Python {found}, dycoke {__version__}", **facts)


def check_packages(requirements: list[str] | None = None) -> CheckResult:
    """Compare the installed packages with the required ones; requirements: a list that replaces the metadata's."""
    if requirements is None:
        if (own := _installed(NAME)) is None:
            return CheckResult("packages", "warning", WITHOUT_METADATA, "Install it: pip install .")
        requirements = own.requires or []
    needed = [Requirement(text) for text in requirements]
    needed = [r for r in needed if (r.marker is None or r.marker.evaluate({"extra": ""})) and r.name not in OPTIONAL]
    found = {requirement.name: _installed(requirement.name) for requirement in needed}
    versions = {name: package.version if package else None for name, package in found.items()}
    unmet = [r for r in needed if not _meets(versions[r.name], _without_upper(r.specifier))]
    untried = [r for r in needed if r not in unmet and not _meets(versions[r.name], r.specifier)]
    if unmet:
        unmet_texts = [f"{r.name} {versions[r.name] or 'missing'} ({r.specifier or 'any'} is needed)" for r in unmet]
        install = " ".join(f"'{r.name}{r.specifier}'" for r in unmet)
        return CheckResult("packages", "broken", ", ".join(unmet_texts), f"pip install {install}", versions)
    if untried:
        message = ", ".join(f"{r.name} {versions[r.name]} (tried: {r.specifier})" for r in untried)
        install = " ".join(f"'{r.name}{r.specifier}'" for r in untried)
        return CheckResult("packages", "warning", message, f"If something fails: pip install {install}", versions)
    shown = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions)
    return ok("packages", f"all {len(needed)} in range{': ' * bool(shown)}{shown}", **versions)


def check_settings() -> CheckResult:
    """Read the settings that a command in the current folder would use."""
    from dycoke_cli.config.settings import merge_settings
    from dycoke_cli.config.settings_file import user_file

    try:
        _, origins = merge_settings({}, user_file=user_file())
    except UsageError as error:
        return CheckResult("settings", "broken", error.message, error.remedy)
    sources = sorted(set(origins.values()) - {"default"})
    return ok("settings", f"from {', '.join(sources)}" if sources else "defaults", sources=sources)


def decord_package(platform: Mapping[str, str] | None = None) -> str | None:
    """Return the name of the decord package for a platform, None if there is none.

    platform: values of the markers in DECORDS; default: this machine's.
    """
    for requirement in map(Requirement, DECORDS):
        if requirement.marker is not None and requirement.marker.evaluate(dict(platform or {})):
            return requirement.name
    return None


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _meets(found: str | None, wanted: SpecifierSet) -> bool:
    return found is not None and wanted.contains(found, prereleases=True)


def _without_upper(wanted: SpecifierSet) -> SpecifierSet:
    """Remove the upper bound: it is the newest version tested, not the newest that works."""
    return SpecifierSet(",".join(str(part) for part in wanted if part.operator != "<"))
