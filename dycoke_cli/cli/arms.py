"""Parse -M, -o and --sweep into the arms of `compare`, `eval` and `bench`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import UsageError

if TYPE_CHECKING:
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.methods.arm import Arm


def read_arms(
    flags: Mapping[str, Any], methods: Sequence[str], option: Sequence[str], baseline: bool, config: Path | None
) -> "tuple[Settings, list[Arm]]":
    """Return the settings of the last arm, and all arms; arguments as for `arm_settings` and `build_arms`."""
    chosen = arm_settings(flags, methods, option, config)
    return chosen[-1], build_arms(chosen, baseline)


def arm_settings(
    flags: Mapping[str, Any],
    methods: Sequence[str],
    option: Sequence[str],
    config: Path | None,
    swept: Sequence[Mapping[str, str]] = ({},),
) -> "list[Settings]":
    """Return the settings of each arm, without importing torch.

    swept: options of a single method, one arm for each set of them. Raises UsageError, and ModelError for a model name
    that cannot exist.
    """
    from dycoke_cli.config.settings import merge_settings
    from dycoke_cli.config.settings_file import user_file
    from dycoke_cli.methods.parsing import parse_options, split_arm

    if option and len(methods) > 1:
        raise UsageError(
            f"-o {option[0]} could belong to any of {len(methods)} methods",
            f"Write it like -M {methods[0]}:{option[0]}",
        )
    chosen = []
    named: list[tuple[str | None, dict[str, str]]] = [split_arm(text) for text in methods]
    for name, own in named or [(None, {})]:
        options = {**parse_options(list(option)), **own}
        for values in swept:
            if both := sorted(options.keys() & values.keys()):
                raise UsageError(f"option {both[0]!r} is both set and swept", "Leave one of the two out")
            given = {**options, **values}
            settings, _ = merge_settings(
                {**flags, "method": name, "options": given or None}, config, user_file=user_file()
            )
            chosen.append(settings)
    if "model" in flags and settings.model != "auto":
        from dycoke_cli.models.names import find

        find(settings.model)
    return chosen


def build_arms(chosen: "Sequence[Settings]", baseline: bool) -> "list[Arm]":
    """Build the method of each arm; imports torch.

    baseline: insert `full` as the first arm, unless it is among them. Raises UsageError if two arms are the same.
    """
    from dycoke_cli.methods.arm import Arm, refuse_duplicates

    arms = [Arm.of(settings.method, settings.options) for settings in chosen]
    full = Arm.of("full", {})
    if baseline and full not in arms:
        arms.insert(0, replace(full, baseline=True))
    refuse_duplicates(arms)
    return arms
