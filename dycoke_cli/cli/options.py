"""The options that several commands share, each declared once.

Options that are settings stay text here: `config/settings.py` validates them together with files and variables.
"""

from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from typer import Context, Option

from dycoke_cli.cli import completion
from dycoke_cli.errors import UsageError

if TYPE_CHECKING:
    from dycoke_cli.config.settings import Settings

Command = TypeVar("Command", bound=Callable[..., None])


def _check_pairs(context: Context, given: list[str] | None) -> list[str] | None:
    """Parse -o; in a command with --output, add that flag to the remedy, as -o is the output file in other programs."""
    if given and any(parameter.name == "output" for parameter in context.command.params):
        from dycoke_cli.methods.parsing import parse_options

        try:
            parse_options(given)
        except UsageError as error:
            raise UsageError(error.message, f"{error.remedy}; --output FILE names the output file") from None
    return given


# The option of each setting, by the setting's name, in the order of the help.
SETTINGS: dict[str, Any] = {
    # Model and method
    "preset": Option(
        metavar="NAME",
        help="Named set of settings: fast, faithful, paper or none. Other flags override it. (default: none)",
    ),
    "model": Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Model: demo, llava-video-7b, llava-video-72b, llava-ov-0.5b, llava-ov-7b, llava-ov-72b, a hub id or a "
        "folder. (default: auto, a model on this disk, else demo)",
        autocompletion=completion.models,
    ),
    "method": Option(
        "--method",
        "-M",
        metavar="NAME",
        help="Compression method, see `dycoke methods`; + joins several, as in vidcom2+dynamic. (default: dycoke)",
        autocompletion=completion.methods,
    ),
    "options": Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        help="Option of the method, see `dycoke methods NAME`; STAGE.KEY=VALUE for one of several joined methods. "
        "Repeat for several. (default of dycoke: k=0.7 l=3 p=0.7)",
        autocompletion=completion.method_options,
        callback=_check_pairs,
    ),
    "retain": Option(
        metavar="R",
        help="Share of the visual tokens that enters the language model, above 0 and at most 1; overrides the method's "
        "own options. (default: the method's)",
    ),
    "device": Option(
        metavar="NAME", help="Device: cpu, cuda or cuda:N. (default: auto)", autocompletion=completion.devices
    ),
    "dtype": Option(
        metavar="NAME",
        help="Number format: float32, bfloat16 or float16. (default: bfloat16 on CUDA, float32 elsewhere)",
    ),
    "quantize": Option(
        metavar="NAME", help="Quantize the language model to int8 or int4; needs dycoke[quant]. (default: off)"
    ),
    "device_map": Option(
        metavar="auto",
        help="auto distributes the layers over all CUDA devices; needs dycoke[multi]. (default: one device)",
    ),
    "memory": Option(
        metavar="HOW",
        help="Memory check before loading: check refuses a run that does not fit, ignore runs it. (default: check)",
    ),
    "compile": Option(
        "--compile/--no-compile",
        help="Compile decode steps with torch.compile, which delays the first step. (default: no-compile)",
    ),
    "newline": Option(
        metavar="WHERE",
        help="Newline tokens between visual tokens: one_token, grid, frame or no_token. (default: the model's)",
    ),
    "pooling": Option(
        metavar="MODE", help="Pooling of visual tokens: bilinear, average or max. (default: the model's)"
    ),
    "row_newlines": Option(
        metavar="WHICH",
        help="With --newline grid, rows that keep their newline after compression: complete rows, rows with tokens "
        "present, or all. (default: complete)",
    ),
    # Frames
    "frames": Option("--frames", "-n", metavar="N", help="Number of frames, spread evenly. (default: the model's)"),
    "fps": Option(
        metavar="F",
        help="Frames per second, instead of --frames; for a folder, its pictures per second. (default for a folder: 1)",
    ),
    "max_frames": Option(metavar="N", help="Maximum number of frames with --fps. (default: the model's)"),
    "start": Option(metavar="TIME", help="Start of the window, such as 90 (seconds), 1:30 or 0:01:30.5."),
    "end": Option(metavar="TIME", help="End of the window, in the same formats."),
    "sample": Option(metavar="HOW", help="Even spacing of frames in time, or in frame count (index). (default: time)"),
    "decoder": Option(metavar="NAME", help="Video decoder: decord or pyav. (default: auto)"),
    "video_timeout": Option(metavar="SECONDS", help="Time limit for decoding. (default: 120)"),
    # Answer
    "max_new_tokens": Option(metavar="N", help="Maximum length of an answer, in tokens. (default: 256)"),
    "temperature": Option(metavar="T", help="Sampling temperature; 0 takes the most likely token. (default: 0)"),
    "top_p": Option(metavar="P", help="Sample from the most likely tokens with this total probability. (default: 1)"),
    "seed": Option(metavar="N", help="Random seed; the same seed gives the same answer. (default: 0)"),
    "repetition_penalty": Option(metavar="X", help="Above 1 makes repeated tokens less likely. (default: 1)"),
    # Encoded videos
    "cache": Option("--cache/--no-cache", help="Store encoded videos on disk and reuse them. (default: cache)"),
    "cache_size": Option(
        metavar="GB",
        help="Maximum size of the encoded videos on disk; least recently used ones are removed. (default: 10)",
    ),
}
# Settings that accept fixed words complete these.
for _name, _option in SETTINGS.items():
    _option.autocompletion = _option.autocompletion or completion.complete_words(_name)

# Groups that some commands lack or place among their own options.
MODEL = {"preset", "model", "method", "options", "retain"}
SAMPLING = {"temperature", "top_p", "seed", "repetition_penalty"}
CACHE = {"cache", "cache_size"}
KINDS: dict[str, Any] = {"options": list[str], "compile": bool, "cache": bool}  # all others are text

Preset = Annotated[str | None, SETTINGS["preset"]]
Model = Annotated[str | None, SETTINGS["model"]]
MethodOptions = Annotated[list[str] | None, SETTINGS["options"]]
Retain = Annotated[str | None, SETTINGS["retain"]]

# Output
Baseline = Annotated[bool, Option("--baseline", help="Also run without compression, and measure both.")]
Json = Annotated[bool, Option("--json", help="Print one JSON object instead of text.")]
TraceFile = Annotated[
    Path | None, Option("--trace", metavar="FILE", help="Write the tokens that each step read, as JSON.")
]
ReportFile = Annotated[
    Path | None,
    Option(
        "--report", metavar="FILE.html", help="Write an HTML page of the run, with the tokens by word and by frame."
    ),
]
Stats = Annotated[
    bool | None,
    Option("--stats/--no-stats", help="Print token counts, times and memory. (default: on a terminal)"),
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print only errors to stderr.")]
Config = Annotated[Path | None, Option(metavar="FILE", help="Settings file, instead of dycoke.yaml.")]
Debug = Annotated[bool, Option("--debug", help="Print the traceback of an error.")]


def add_settings(names: Collection[str]) -> Callable[[Command], Command]:
    """Add the options of the settings `names` to a command, which receives their values as `**flags`.

    Typer reads options from the signature. There the added ones replace `**flags`; they precede the command's
    keyword-only parameters and have the order of SETTINGS.
    """
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[KINDS.get(name, str) | None, option])
        for name, option in SETTINGS.items()
        if name in names
    ]

    def decorate(command: Command) -> Command:
        declared = signature(command)
        own = [parameter for parameter in declared.parameters.values() if parameter.kind != Parameter.VAR_KEYWORD]
        parameters = sorted([*added, *own], key=lambda parameter: parameter.kind)  # a stable sort
        command.__dict__["__signature__"] = declared.replace(parameters=parameters)
        return command

    return decorate


def merge_flags(flags: Mapping[str, Any], config: Path | None) -> "Settings":
    """Return the settings of a command: the values of `add_settings` over variables and files. Raises UsageError."""
    from dycoke_cli.config.settings import merge_settings
    from dycoke_cli.config.settings_file import user_file
    from dycoke_cli.methods.parsing import parse_options

    options = parse_options(flags.get("options") or []) or None
    return merge_settings({**flags, "options": options}, config, user_file=user_file())[0]


def several_methods(repeated: str) -> Any:
    """Return the --method option of a command for several methods; `repeated`: the help about its repetition."""
    return Option(
        "--method",
        "-M",
        metavar="NAME[:K=V,...]",
        help=f"Compression method, with its own options after a colon: dycoke:k=0.5,p=0.9. {repeated} "
        "(default: dycoke)",
        autocompletion=completion.methods,
    )
