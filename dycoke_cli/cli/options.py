"""The options that commands share, each declared once.

Those that are settings stay text here: `settings.py` reads them, as it reads files and variables.
"""

from pathlib import Path
from typing import Annotated

from typer import Context, Option

from dycoke_cli.cli import completion
from dycoke_cli.cli.completion import words_of


def _pairs(context: Context, given: list[str] | None) -> list[str] | None:
    """Say what names the output file, where a command has one, to who took -o for it as with other programs."""
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
        help="Settings that belong together: fast, faithful, paper or none. Flags win over them. (default: none)",
        autocompletion=words_of("preset"),
    ),
]
Model = Annotated[
    str | None,
    Option(
        "--model",
        "-m",
        metavar="NAME",
        help="demo, llava-video-7b, llava-video-72b, llava-ov-0.5b, llava-ov-7b, llava-ov-72b, a hub id or a folder. "
        "(default: auto)",
        autocompletion=completion.models,
    ),
]
Method = Annotated[
    str | None,
    Option(
        "--method",
        "-M",
        metavar="NAME",
        help="One of `dycoke methods`, or several joined by +, as vidcom2+dynamic. (default: dycoke)",
        autocompletion=completion.methods,
    ),
]
Methods = Annotated[
    list[str] | None,
    Option(
        "--method",
        "-M",
        metavar="NAME[:K=V,...]",
        help="A method, with its own options after a colon: dycoke:k=0.5,p=0.9. Repeat it to compare several; the "
        "first is what others are compared with. (default: dycoke)",
        autocompletion=completion.methods,
    ),
]
MethodOption = Annotated[
    list[str] | None,
    Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        help="An option of the method, as `dycoke methods NAME` lists them; STAGE.KEY for one of several joined. "
        "(default of dycoke: k=0.7 l=3 p=0.7)",
        autocompletion=completion.method_options,
        callback=_pairs,
    ),
]
Retain = Annotated[
    str | None,
    Option(
        "--retain",
        metavar="R",
        help="Share of the visual tokens that enters the language model, above 0 to 1, the same for every method; "
        "wins over the method's own options. (default: the method's)",
    ),
]
Device = Annotated[
    str | None,
    Option(metavar="NAME", help="cpu, cuda or cuda:N. (default: auto)", autocompletion=completion.devices),
]
Dtype = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="float32, bfloat16 or float16. (default: bfloat16 on CUDA, float32 elsewhere)",
        autocompletion=words_of("dtype"),
    ),
]
Quantize = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Load the language model's weights as int8 or int4; needs dycoke[quant].",
        autocompletion=words_of("quantize"),
    ),
]
DeviceMap = Annotated[
    str | None,
    Option(
        metavar="auto",
        help="Spread the layers over all CUDA devices; needs dycoke[multi]. (default: one device)",
        autocompletion=words_of("device_map"),
    ),
]
Memory = Annotated[
    str | None,
    Option(
        metavar="HOW",
        help="check refuses what will not fit before it is loaded; ignore tries. (default: check)",
        autocompletion=words_of("memory"),
    ),
]
Compile = Annotated[
    bool | None,
    Option(
        "--compile/--no-compile",
        help="Run decode steps through torch.compile; the first step waits for it. (default: no-compile)",
    ),
]
Newline = Annotated[
    str | None,
    Option(
        metavar="WHERE",
        help="Newlines between visual tokens: one_token, grid, frame or no_token. (default: the model's)",
        autocompletion=words_of("newline"),
    ),
]
Pooling = Annotated[
    str | None,
    Option(
        metavar="MODE",
        help="bilinear, average or max. (default: the model's)",
        autocompletion=words_of("pooling"),
    ),
]
RowNewlines = Annotated[
    str | None,
    Option(
        metavar="WHICH",
        help="With grid newlines, the compressed rows that keep theirs: complete, present or all. (default: complete)",
        autocompletion=words_of("row_newlines"),
    ),
]

# Frames
Frames = Annotated[
    str | None,
    Option("--frames", "-n", metavar="N", help="So many, spread evenly. (default: the model's)"),
]
Fps = Annotated[
    str | None,
    Option(metavar="F", help="So many a second instead; of a folder, how many pictures show a second. (default: 1)"),
]
MaxFrames = Annotated[
    str | None,
    Option(metavar="N", help="With --fps, no more than these. (default: the model's)"),
]
Start = Annotated[str | None, Option(metavar="TIME", help="Look from here on: 90, 1:30 or 0:01:30.5.")]
End = Annotated[str | None, Option(metavar="TIME", help="Look up to here.")]
Sample = Annotated[
    str | None,
    Option(
        metavar="HOW",
        help="Evenly in time, or in count of frames: time or index. (default: time)",
        autocompletion=words_of("sample"),
    ),
]
Decoder = Annotated[
    str | None,
    Option(metavar="NAME", help="decord or pyav. (default: auto)", autocompletion=words_of("decoder")),
]
VideoTimeout = Annotated[str | None, Option(metavar="SECONDS", help="How long decoding may take. (default: 120)")]

# Answer
MaxNewTokens = Annotated[str | None, Option(metavar="N", help="Longest answer, in tokens. (default: 256)")]
Temperature = Annotated[str | None, Option(metavar="T", help="0 takes the likeliest token. (default: 0)")]
TopP = Annotated[str | None, Option(metavar="P", help="Draw from this much probability. (default: 1)")]
Seed = Annotated[str | None, Option(metavar="N", help="The same seed, the same answer. (default: 0)")]
RepetitionPenalty = Annotated[str | None, Option(metavar="X", help="Above 1 avoids repeating tokens. (default: 1)")]

# Encoded videos
UseCache = Annotated[
    bool | None,
    Option("--cache/--no-cache", help="Keep encoded videos on disk, and read them from there. (default: cache)"),
]
CacheSize = Annotated[
    str | None,
    Option(metavar="GB", help="How much they may take; those not used for longest go. (default: 10)"),
]

# Output
Baseline = Annotated[bool, Option("--baseline", help="Also run without compression, and measure both.")]
Json = Annotated[bool, Option("--json", help="Print one JSON object instead of the answer.")]
TraceFile = Annotated[Path | None, Option("--trace", metavar="FILE", help="Write which tokens each step read.")]
ReportFile = Annotated[
    Path | None,
    Option("--report", metavar="FILE.html", help="Write a page that shows the run, word by word and frame by frame."),
]
Stats = Annotated[
    bool | None,
    Option("--stats/--no-stats", help="Show the panel. (default: on a terminal)"),
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Nothing on stderr but errors.")]
Config = Annotated[Path | None, Option(metavar="FILE", help="Settings from this file, not ./dycoke.yaml.")]
Debug = Annotated[bool, Option("--debug", help="Show the traceback of a failure.")]

# Which of a command's parameters are settings; files and variables can set these too.
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
