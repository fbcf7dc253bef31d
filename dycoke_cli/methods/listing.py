"""List the methods, their options and docstrings by parsing their source, without importing torch.

Shell completion and early checks of the command line cannot wait seconds for the import. `catalogue.py` describes the
imported classes.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from dycoke_cli.methods import moments, ranges

FOLDER = Path(__file__).parent
# A docstring line that explains an option, with its indented continuation lines.
OPTION_LINE = re.compile(r"^(\w+): (.*(?:\n    .*)*)$", re.MULTILINE)


@dataclass(frozen=True)
class OptionOutline:
    """An option of a method, as parsed from the source."""

    name: str
    takes: str  # name of its type
    limits: ranges.Range | None  # None: any number
    default: str  # empty if it is not a constant
    words: tuple[str, ...]  # the allowed words of a Literal, else empty
    meaning: str


@dataclass(frozen=True)
class MethodOutline:
    """A method, as parsed from the source."""

    name: str
    summary: str
    acts: tuple[str, ...]  # moments, see `moments`
    options: tuple[OptionOutline, ...]


def outline_methods() -> dict[str, MethodOutline]:
    """Parse the methods of the table METHODS, by name."""
    kinds: dict[str, ast.ClassDef] = {}
    table: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                kinds[node.name] = node
            elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "METHODS":
                assert isinstance(node.value, ast.Dict)
                pairs = zip(node.value.keys, node.value.values, strict=True)
                table = {ast.literal_eval(key): ast.unparse(value) for key, value in pairs if key is not None}
    return {name: _outline(name, kinds[kind], kinds) for name, kind in table.items()}


def _outline(name: str, kind: ast.ClassDef, kinds: dict[str, ast.ClassDef]) -> MethodOutline:
    lineage = list(_lineage(kind, kinds))
    meanings: dict[str, str] = {}
    for ancestor in lineage:
        for option, meaning in OPTION_LINE.findall(ast.get_docstring(ancestor) or ""):
            meanings[option] = " ".join(meaning.split())
    options: dict[str, OptionOutline] = {}
    acts: tuple[str, ...] = ()
    for ancestor in lineage:
        # The annotations of `Method` are not options: it is not a dataclass.
        for node in ancestor.body if ancestor.decorator_list else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                option, meaning = node.target.id, meanings.get(node.target.id, "")
                takes, limits = _takes(node.annotation)
                words, default = _words(node.annotation), _constant(node.value)
                options[option] = OptionOutline(option, takes, limits, default, words, meaning)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "acts":
                assert isinstance(node.value, ast.Tuple)
                acts = tuple(getattr(moments, ast.unparse(moment)) for moment in node.value.elts)
    summary = (ast.get_docstring(kind) or "").split("\n\n")[0]
    return MethodOutline(name, " ".join(summary.split()), acts, tuple(options.values()))


def _lineage(kind: ast.ClassDef, kinds: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Yield the base classes of a class, then the class itself."""
    for base in kind.bases:
        if (ancestor := kinds.get(ast.unparse(base))) is not None:
            yield from _lineage(ancestor, kinds)
    yield kind


def _takes(annotation: ast.expr) -> tuple[str, ranges.Range | None]:
    """Return the name of an option's type, and its range if the annotation is defined in `ranges`."""
    text = ast.unparse(annotation)
    limits = ranges.range_of(named := getattr(ranges, text, None))
    return (text if limits is None else get_args(named)[0].__name__), limits


def _constant(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else ""


def _words(annotation: ast.expr) -> tuple[str, ...]:
    """Return the allowed words of a Literal, none for any other type."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal"):
        return ()
    words = ast.literal_eval(annotation.slice)
    return words if isinstance(words, tuple) else (words,)
