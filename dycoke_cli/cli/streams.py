"""stdout and stderr, whatever they can encode: a redirected Windows console is cp1252, a bare container ASCII."""

import codecs
import json
import sys
from collections.abc import Mapping
from typing import Any


def replace_what_cannot_be_encoded() -> None:
    """Let a stream print ? for a character that it does not have, which is no reason to lose an answer."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stream of a caller's own may have none
        if reconfigure is None or stream.errors not in ("strict", "surrogateescape"):
            continue
        if stream.errors == "strict" or not _is_utf8(stream.encoding):  # else names of files pass through as they are
            reconfigure(errors="replace")


def write_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of stdout: the same values, whatever it is encoded in.

    A full disk is reported here, and not when the process ends.
    """
    sys.stdout.write(json_text(values, sys.stdout.encoding) + "\n")
    sys.stdout.flush()


def json_text(values: Mapping[str, Any], encoding: str | None) -> str:
    """Write an object as JSON; in ASCII where the encoding is not UTF-8, or a file's name is no Unicode."""
    if not _is_utf8(encoding):
        return json.dumps(values)
    text = json.dumps(values, ensure_ascii=False)
    return json.dumps(values) if any("\ud800" <= c <= "\udfff" for c in text) else text


def _is_utf8(encoding: str | None) -> bool:
    return codecs.lookup(encoding or "utf-8").name == "utf-8"
