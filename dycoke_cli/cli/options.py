"""The options that commands share, each declared once."""

from pathlib import Path
from typing import Annotated

from typer import Option

MODEL, FRAMES, ANSWER, OUTPUT = "Model and method", "Frames", "Answer", "Output"

Model = Annotated[
    str | None,
    Option(
        "--model",
        "-m",
        metavar="NAME",
        rich_help_panel=MODEL,
        help="demo, llava-video-7b, llava-video-72b, llava-ov-0.5b, llava-ov-7b, llava-ov-72b, a hub id or a folder. "
        "(default: auto)",
    ),
]
Method = Annotated[
    str | None,
    Option("--method", "-M", metavar="NAME", rich_help_panel=MODEL, help="dycoke or full. (default: dycoke)"),
]
MethodOption = Annotated[
    list[str] | None,
    Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        rich_help_panel=MODEL,
        help="An option of the method; dycoke has k, l, p, gate, variant, positions. (default: k=0.7 l=3 p=0.7)",
    ),
]
Device = Annotated[
    str | None, Option(metavar="NAME", rich_help_panel=MODEL, help="cpu, cuda or cuda:N. (default: auto)")
]
Dtype = Annotated[
    str | None,
    Option(
        metavar="NAME",
        rich_help_panel=MODEL,
        help="float32, bfloat16 or float16. (default: bfloat16 on CUDA, float32 elsewhere)",
    ),
]
Newline = Annotated[
    str | None,
    Option(
        metavar="WHERE",
        rich_help_panel=MODEL,
        help="Newlines between visual tokens: one_token, grid, frame or no_token. (default: the model's)",
    ),
]
Pooling = Annotated[
    str | None,
    Option(metavar="MODE", rich_help_panel=MODEL, help="bilinear, average or max. (default: the model's)"),
]
RowNewlines = Annotated[
    str | None,
    Option(
        metavar="WHICH",
        rich_help_panel=MODEL,
        help="With grid newlines, the compressed rows that keep theirs: complete, present or all. (default: complete)",
    ),
]

Frames = Annotated[
    int | None,
    Option(
        "--frames", "-n", metavar="N", rich_help_panel=FRAMES, help="So many, spread evenly. (default: the model's)"
    ),
]
Fps = Annotated[float | None, Option(metavar="F", rich_help_panel=FRAMES, help="So many a second instead.")]
MaxFrames = Annotated[
    int | None,
    Option(metavar="N", rich_help_panel=FRAMES, help="With --fps, no more than these. (default: the model's)"),
]
Start = Annotated[
    str | None, Option(metavar="TIME", rich_help_panel=FRAMES, help="Look from here on: 90, 1:30 or 0:01:30.5.")
]
End = Annotated[str | None, Option(metavar="TIME", rich_help_panel=FRAMES, help="Look up to here.")]
Decoder = Annotated[str | None, Option(metavar="NAME", rich_help_panel=FRAMES, help="decord or pyav. (default: auto)")]
VideoTimeout = Annotated[
    float | None, Option(metavar="SECONDS", rich_help_panel=FRAMES, help="How long decoding may take. (default: 120)")
]

MaxNewTokens = Annotated[
    int | None, Option(metavar="N", rich_help_panel=ANSWER, help="Longest answer, in tokens. (default: 256)")
]
Temperature = Annotated[
    float | None, Option(metavar="T", rich_help_panel=ANSWER, help="0 takes the likeliest token. (default: 0)")
]
TopP = Annotated[
    float | None, Option(metavar="P", rich_help_panel=ANSWER, help="Draw from this much probability. (default: 1)")
]
Seed = Annotated[
    int | None, Option(metavar="N", rich_help_panel=ANSWER, help="The same seed, the same answer. (default: 0)")
]
RepetitionPenalty = Annotated[
    float | None, Option(metavar="X", rich_help_panel=ANSWER, help="Above 1 avoids repeating tokens. (default: 1)")
]

Baseline = Annotated[
    bool, Option("--baseline", rich_help_panel=OUTPUT, help="Also run without compression, and measure both.")
]
Json = Annotated[bool, Option("--json", rich_help_panel=OUTPUT, help="Print one JSON object instead of the answer.")]
TraceFile = Annotated[
    Path | None, Option("--trace", metavar="FILE", rich_help_panel=OUTPUT, help="Write which tokens each step read.")
]
Stats = Annotated[
    bool | None,
    Option("--stats/--no-stats", rich_help_panel=OUTPUT, help="Show the panel. (default: on a terminal)"),
]
Quiet = Annotated[bool, Option("--quiet", "-q", rich_help_panel=OUTPUT, help="Nothing on stderr but errors.")]
Config = Annotated[
    Path | None, Option(metavar="FILE", rich_help_panel=OUTPUT, help="Settings from this file, not ./dycoke.yaml.")
]
Debug = Annotated[bool, Option("--debug", rich_help_panel=OUTPUT, help="Show the traceback of a failure.")]

# Which of a command's parameters are settings; files and variables can set these too.
SETTINGS = {
    "model",
    "method",
    "device",
    "dtype",
    "newline",
    "pooling",
    "row_newlines",
    "frames",
    "fps",
    "max_frames",
    "start",
    "end",
    "decoder",
    "video_timeout",
    "max_new_tokens",
    "temperature",
    "top_p",
    "seed",
    "repetition_penalty",
}
