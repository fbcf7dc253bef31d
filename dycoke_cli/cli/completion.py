"""Shell completion of methods, options, models and settings, without torch and without network access."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dycoke_cli.methods.listing import OptionOutline

Offers = list[tuple[str, str]]  # (word, description)


def complete_words(setting: str) -> Callable[[str], list[str]]:
    """Return a completion function of the words that a setting accepts; none if it accepts other values."""

    def complete(incomplete: str) -> list[str]:
        from dycoke_cli.config.settings import choices

        return list(choices(setting))

    return complete


def models(incomplete: str) -> Offers:
    """Return the known names of models, and the hub ids in the hub client's cache."""
    from dycoke_cli.models.names import HUB_IDS

    fetched = set(_fetched())
    offers = [("demo", "bundled: drawn shapes only"), ("auto", "the best known model on this disk, else demo")]
    for name, hub_id in HUB_IDS.items():
        offers.append((name, hub_id + (", on this disk" if hub_id in fetched else "")))
    return offers + [(hub_id, "on this disk") for hub_id in sorted(fetched - set(HUB_IDS.values()))]


def methods(incomplete: str) -> Offers:
    """Return all methods, or after a + those that are not yet in the chain."""
    from dycoke_cli.methods.listing import outline_methods

    joined, plus, _ = incomplete.rpartition("+")
    named = joined.split("+") if plus else []
    return [
        (f"{joined}{plus}{name}", method.summary) for name, method in outline_methods().items() if name not in named
    ]


def method_options(ctx: typer.Context, incomplete: str) -> Offers:
    """Return KEY= for each option of the command line's method, or KEY=VALUE for each known value of KEY."""
    key, equals, _ = incomplete.partition("=")
    offers = []
    for option in _options(ctx):
        if equals and option.name == key:
            offers += [(f"{key}={value}", option.meaning) for value in _values(option)]
        elif not equals:
            offers.append((f"{option.name}=", option.meaning))
    return offers


def option_values(ctx: typer.Context, incomplete: str) -> Offers:
    """Return the values for `-o KEY=`: bash splits words at = and completes the next word as an argument."""
    pending = [text for text in ctx.params.get("options") or () if "=" not in text]
    return [(value, o.meaning) for o in _options(ctx) if o.name in pending[-1:] for value in _values(o)]


def devices(incomplete: str) -> list[str]:
    """Return the kinds of device; listing the single devices would need torch."""
    return ["auto", "cpu", "cuda"]


def _options(ctx: typer.Context) -> "Iterator[OptionOutline]":
    """Yield the options of the methods on the command line, each name once."""
    from dycoke_cli.config.presets import DEFAULT_METHOD
    from dycoke_cli.methods.listing import outline_methods

    known = outline_methods()
    given = ctx.params.get("method") or ctx.params.get("methods") or DEFAULT_METHOD
    named = [text.partition(":")[0] for text in ([given] if isinstance(given, str) else given)]
    methods = [known[name] for joined in named for name in joined.split("+") if name in known]
    yield from {option.name: option for method in methods for option in method.options}.values()


def _values(option: "OptionOutline") -> tuple[str, ...]:
    return option.kind if isinstance(option.kind, tuple) else (str(option.default),)


def _fetched() -> Iterator[str]:
    """Yield the hub ids of the models in the hub client's cache, from the names of its folders."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for folder in sorted(Path(HF_HUB_CACHE).glob("models--*--*/snapshots")):
        if any(folder.glob("*/config.json")):
            yield folder.parent.name.removeprefix("models--").replace("--", "/")
