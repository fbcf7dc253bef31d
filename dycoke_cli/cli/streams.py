"""Write JSON and error messages to stdout and stderr in any encoding.

A redirected Windows console uses cp1252, a container without a locale ASCII.
"""

import codecs
import json
import sys
from collections.abc import Mapping
from typing import Any


def replace_unencodable() -> None:
    """Make stdout and stderr print ? for characters that they cannot encode, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a caller's own stream may have none
        if reconfigure is None or stream.errors not in ("strict", "surrogateescape"):
            continue
        if stream.errors == "strict" or not _is_utf8(stream.encoding):  # in UTF-8, surrogateescape restores file names
            reconfigure(errors="replace")


def write_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of stdout, and flush it, so that a full disk raises here.

    The values do not depend on the encoding of stdout.
    """
    sys.stdout.write(json_text(values, sys.stdout.encoding) + "\n")
    sys.stdout.flush()


def json_text(values: Mapping[str, Any], encoding: str | None) -> str:
    """Return an object as JSON, in ASCII if the encoding is not UTF-8 or a file name is not valid Unicode."""
    if not _is_utf8(encoding):
        return json.dumps(values)
    text = json.dumps(values, ensure_ascii=False)
    return json.dumps(values) if any("\ud800" <= c <= "\udfff" for c in text) else text


def print_error(message: str, remedy: str) -> None:
    """Print an error to stderr: a line for the problem, and a line for the remedy if there is one."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("dycoke: ", "bold red"), _one_line(message)))
    if remedy:
        console.print(Text(f"  {_one_line(remedy)}", style="dim"))


def _one_line(text: str) -> str:
    """Escape line breaks and control characters, which file names may contain."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _is_utf8(encoding: str | None) -> bool:
    return codecs.lookup(encoding or "utf-8").name == "utf-8"
