"""List the methods, their options and docstrings by parsing their source, without importing torch.

Shell completion and early checks of the command line cannot wait seconds for the import.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from dycoke_cli.methods import moments, ranges

FOLDER = Path(__file__).parent
# A docstring line that explains an option, with its indented continuation lines.
OPTION_LINE = re.compile(r"^(\w+): (.*(?:\n    .*)*)$", re.MULTILINE)
TYPES: dict[str, type] = {"float": float, "int": int, "str": str}


@dataclass(frozen=True)
class OptionOutline:
    """An option of a method, as parsed from the source."""

    name: str
    kind: type | tuple[str, ...]  # its type, or the allowed words of a Literal
    limits: ranges.Range | None  # None: any number
    default: Any
    meaning: str


@dataclass(frozen=True)
class MethodOutline:
    """A method, as parsed from the source."""

    name: str
    description: str  # the docstring without its option lines, one line a paragraph
    acts: tuple[str, ...]  # moments, see `moments`
    options: tuple[OptionOutline, ...]

    @property
    def summary(self) -> str:
        """The first paragraph of the description."""
        return self.description.split("\n\n")[0]


@cache
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
    return {name: _outline(name, list(_lineage(kinds[kind], kinds))) for name, kind in table.items()}


def _lineage(kind: ast.ClassDef, kinds: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Yield the base classes of a class, then the class itself."""
    for base in kind.bases:
        if (ancestor := kinds.get(ast.unparse(base))) is not None:
            yield from _lineage(ancestor, kinds)
    yield kind


def _outline(name: str, lineage: list[ast.ClassDef]) -> MethodOutline:
    docstrings = [ast.get_docstring(ancestor) or "" for ancestor in lineage]
    meanings = {option: _one_line(meaning) for option, meaning in OPTION_LINE.findall("\n".join(docstrings))}
    options: dict[str, OptionOutline] = {}
    acts: tuple[str, ...] = ()
    # The annotations of `Method` are not options: it is not a dataclass.
    for node in (node for ancestor in lineage if ancestor.decorator_list for node in ancestor.body):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            option, default = ast.unparse(node.target), ast.literal_eval(node.value)
            kind, limits = _kind(node.annotation)
            options[option] = OptionOutline(option, kind, limits, default, meanings.get(option, ""))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "acts":
            assert isinstance(node.value, ast.Tuple)
            acts = tuple(getattr(moments, ast.unparse(moment)) for moment in node.value.elts)
    paragraphs = OPTION_LINE.sub("", docstrings[-1]).strip().split("\n\n")
    return MethodOutline(name, "\n\n".join(map(_one_line, paragraphs)), acts, tuple(options.values()))


def _kind(annotation: ast.expr) -> tuple[type | tuple[str, ...], ranges.Range | None]:
    """Return an option's type or allowed words, and its range if the annotation is defined in `ranges`."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        words = ast.literal_eval(annotation.slice)
        return words if isinstance(words, tuple) else (words,), None
    name = ast.unparse(annotation)
    limits = ranges.range_of(named := getattr(ranges, name, None))
    return TYPES[name] if limits is None else get_args(named)[0], limits


def _one_line(text: str) -> str:
    return " ".join(text.split())
