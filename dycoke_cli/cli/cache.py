"""`dycoke cache`: list or remove the encoded videos on this disk."""

from typing import TYPE_CHECKING

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json
from dycoke_cli.errors import UsageError

if TYPE_CHECKING:
    from dycoke_cli.cache.store import Cache

cache_app = typer.Typer()


@cache_app.callback(invoke_without_command=True)
def cache_group(ctx: typer.Context) -> None:
    """List or remove the encoded videos on this disk.

    `ask` and `chat` store the output of the vision tower for each video, and reuse it for the same frames of the same
    video with the same model. `--no-cache`, or `cache: false` in dycoke.yaml, disables this.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@cache_app.command("info")
def info_command(
    config: opt.Config = None,
    as_json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    """Print the folder of the cache, its size and limit, and its videos."""
    from dycoke_cli.cache.store import GB

    settings = opt.merge_flags({}, config)
    cache = _cache(int(settings.cache_size * GB))
    entries = sorted(cache.entries(), key=lambda entry: -entry.used_s)
    if as_json:
        videos = [
            {
                "path": entry.head.get("path"),
                "model": entry.head.get("model"),
                "frames": entry.frames,
                "bytes": entry.bytes,
                "used_s": entry.used_s,
            }
            for entry in entries
        ]
        total = sum(entry.bytes for entry in entries)
        record = {"schema": 1, "folder": str(cache.folder), "bytes": total, "limit_bytes": cache.limit}
        write_json({**record, "enabled": settings.cache, "videos": videos})
        return
    from rich.console import Console

    from dycoke_cli.display.cache import encoded_lines

    for line in encoded_lines(cache.folder, cache.limit, entries, settings.cache):
        Console(highlight=False).print(line, soft_wrap=True)


@cache_app.command("clear")
def clear_command(debug: opt.Debug = False) -> None:
    """Remove all encoded videos."""
    from dycoke_cli.display.panel import size

    cache = _cache(0)
    try:
        count, taken = cache.clear()
    except OSError as error:
        raise UsageError(f"{str(cache.folder)!r} cannot be cleared: {error.strerror}", "Check its owner") from None
    typer.echo(f"{count} encoded videos removed, {size(taken)}")


def _cache(limit: int) -> "Cache":
    from dycoke_cli.cache.store import Cache, cache_folder

    try:
        return Cache(cache_folder(), limit)
    except OSError as error:
        raise UsageError(f"the cache folder cannot be created: {error}", "Set HF_ASSETS_CACHE to another one") from None
