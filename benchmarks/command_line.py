"""Option parser and result output shared by the benchmark commands."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


def option_parser(documentation: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option --out; its help shows a module's docstring."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    return parser


def write_result(result: Mapping[str, Any], out: Path | None) -> None:
    """Write a result to `out`, if given, and print it as one JSON line."""
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def report_fuzzing(
    result: Mapping[str, Any], outcomes: Sequence[tuple[str, int]], failures: Sequence[str], out: Path | None
) -> NoReturn:
    """Print the number of cases with each outcome, the failures and the result; exit with 1 if a case failed."""
    for outcome, count in outcomes:
        print(f"{count:7}  {outcome}")
    for failure in failures:
        print(failure)
    write_result(result, out)
    sys.exit(1 if failures else 0)
