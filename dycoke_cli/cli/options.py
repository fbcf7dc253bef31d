"""The options that several commands share, each declared once.

Options that are settings stay text here: `config/settings.py` validates them together with files and variables.
"""

from pathlib import Path
from typing import Annotated

from typer import Context, Option

from dycoke_cli.cli import completion
from dycoke_cli.cli.completion import complete_words


def _check_pairs(context: Context, given: list[str] | None) -> list[str] | None:
    """Parse -o; in a command with --output, add that flag to the remedy, as -o is the output file in other programs."""
    if given and any(parameter.name == "output" for parameter in context.command.params):
        from dycoke_cli.config.settings import parse_options
        from dycoke_cli.errors import UsageError

        try:
            parse_options(given)
        except UsageError as error:
            raise UsageError(error.message, f"{error.remedy}; --output FILE names the output file") from None
    return given


# Model and method
Preset = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Named set of settings: fast, faithful, paper or none. Other flags override it. (default: none)",
        autocompletion=complete_words("preset"),
    ),
]
Model = Annotated[
    str | None,
    Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Model: demo, llava-video-7b, llava-video-72b, llava-ov-0.5b, llava-ov-7b, llava-ov-72b, a hub id or a "
        "folder. (default: auto, a model on this disk, else demo)",
        autocompletion=completion.models,
    ),
]
Method = Annotated[
    str | None,
    Option(
        "--method",
        "-M",
        metavar="NAME",
        help="Compression method, see `dycoke methods`; + joins several, as in vidcom2+dynamic. (default: dycoke)",
        autocompletion=completion.methods,
    ),
]
Methods = Annotated[
    list[str] | None,
    Option(
        "--method",
        "-M",
        metavar="NAME[:K=V,...]",
        help="Compression method, with its own options after a colon: dycoke:k=0.5,p=0.9. Repeat to compare several; "
        "the first is the reference. (default: dycoke)",
        autocompletion=completion.methods,
    ),
]
MethodOption = Annotated[
    list[str] | None,
    Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        help="Option of the method, see `dycoke methods NAME`; STAGE.KEY=VALUE for one of several joined methods. "
        "Repeat for several. (default of dycoke: k=0.7 l=3 p=0.7)",
        autocompletion=completion.method_options,
        callback=_check_pairs,
    ),
]
Retain = Annotated[
    str | None,
    Option(
        "--retain",
        metavar="R",
        help="Share of the visual tokens that enters the language model, above 0 and at most 1; overrides the method's "
        "own options. (default: the method's)",
    ),
]
Device = Annotated[
    str | None,
    Option(metavar="NAME", help="Device: cpu, cuda or cuda:N. (default: auto)", autocompletion=completion.devices),
]
Dtype = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Number format: float32, bfloat16 or float16. (default: bfloat16 on CUDA, float32 elsewhere)",
        autocompletion=complete_words("dtype"),
    ),
]
Quantize = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Quantize the language model to int8 or int4; needs dycoke[quant]. (default: off)",
        autocompletion=complete_words("quantize"),
    ),
]
DeviceMap = Annotated[
    str | None,
    Option(
        metavar="auto",
        help="auto distributes the layers over all CUDA devices; needs dycoke[multi]. (default: one device)",
        autocompletion=complete_words("device_map"),
    ),
]
Memory = Annotated[
    str | None,
    Option(
        metavar="HOW",
        help="Memory check before loading: check refuses a run that does not fit, ignore runs it. (default: check)",
        autocompletion=complete_words("memory"),
    ),
]
Compile = Annotated[
    bool | None,
    Option(
        "--compile/--no-compile",
        help="Compile decode steps with torch.compile, which delays the first step. (default: no-compile)",
    ),
]
Newline = Annotated[
    str | None,
    Option(
        metavar="WHERE",
        help="Newline tokens between visual tokens: one_token, grid, frame or no_token. (default: the model's)",
        autocompletion=complete_words("newline"),
    ),
]
Pooling = Annotated[
    str | None,
    Option(
        metavar="MODE",
        help="Pooling of visual tokens: bilinear, average or max. (default: the model's)",
        autocompletion=complete_words("pooling"),
    ),
]
RowNewlines = Annotated[
    str | None,
    Option(
        metavar="WHICH",
        help="With --newline grid, rows that keep their newline after compression: complete rows, rows with tokens "
        "present, or all. (default: complete)",
        autocompletion=complete_words("row_newlines"),
    ),
]

# Frames
Frames = Annotated[
    str | None,
    Option("--frames", "-n", metavar="N", help="Number of frames, spread evenly. (default: the model's)"),
]
Fps = Annotated[
    str | None,
    Option(
        metavar="F",
        help="Frames per second, instead of --frames; for a folder, its pictures per second. (default for a folder: 1)",
    ),
]
MaxFrames = Annotated[
    str | None,
    Option(metavar="N", help="Maximum number of frames with --fps. (default: the model's)"),
]
Start = Annotated[
    str | None, Option(metavar="TIME", help="Start of the window, such as 90 (seconds), 1:30 or 0:01:30.5.")
]
End = Annotated[str | None, Option(metavar="TIME", help="End of the window, in the same formats.")]
Sample = Annotated[
    str | None,
    Option(
        metavar="HOW",
        help="Even spacing of frames in time, or in frame count (index). (default: time)",
        autocompletion=complete_words("sample"),
    ),
]
Decoder = Annotated[
    str | None,
    Option(
        metavar="NAME", help="Video decoder: decord or pyav. (default: auto)", autocompletion=complete_words("decoder")
    ),
]
VideoTimeout = Annotated[str | None, Option(metavar="SECONDS", help="Time limit for decoding. (default: 120)")]

# Answer
MaxNewTokens = Annotated[str | None, Option(metavar="N", help="Maximum length of an answer, in tokens. (default: 256)")]
Temperature = Annotated[
    str | None, Option(metavar="T", help="Sampling temperature; 0 takes the most likely token. (default: 0)")
]
TopP = Annotated[
    str | None,
    Option(metavar="P", help="Sample from the most likely tokens with this total probability. (default: 1)"),
]
Seed = Annotated[str | None, Option(metavar="N", help="Random seed; the same seed gives the same answer. (default: 0)")]
RepetitionPenalty = Annotated[
    str | None, Option(metavar="X", help="Above 1 makes repeated tokens less likely. (default: 1)")
]

# Encoded videos
UseCache = Annotated[
    bool | None,
    Option("--cache/--no-cache", help="Store encoded videos on disk and reuse them. (default: cache)"),
]
CacheSize = Annotated[
    str | None,
    Option(
        metavar="GB",
        help="Maximum size of the encoded videos on disk; least recently used ones are removed. (default: 10)",
    ),
]

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

# The parameters of commands that are settings: files and variables can set these too.
SETTINGS = {
    "preset",
    "model",
    "method",
    "retain",
    "device",
    "dtype",
    "quantize",
    "device_map",
    "memory",
    "compile",
    "newline",
    "pooling",
    "row_newlines",
    "frames",
    "fps",
    "max_frames",
    "start",
    "end",
    "sample",
    "decoder",
    "video_timeout",
    "max_new_tokens",
    "temperature",
    "top_p",
    "seed",
    "repetition_penalty",
    "cache",
    "cache_size",
}
