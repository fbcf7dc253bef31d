"""How a failure is printed: one line that says what is wrong, and one that says what to do."""


def print_error(message: str, remedy: str) -> None:
    """Print both lines on stderr, the second only where there is a remedy."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble(("dycoke: ", "bold red"), one_line(message)))
    if remedy:
        console.print(Text(f"  {one_line(remedy)}", style="dim"))


def one_line(text: str) -> str:
    """Escape line breaks and control characters, which file names may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
