"""An answer with its token counts, steps, times and memory: plain values only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenCounts:
    """Prompt and answer, in tokens. The prompt's length is visual_prefill + newline + text."""

    visual: int  # of the whole video, before any compression
    visual_prefill: int  # visual tokens in the prompt
    newline: int  # newline embeddings between the visual tokens
    text: int  # of the prompt, including the template
    generated: int  # new tokens, including the one that ends the answer
    prompt_uncompressed: int  # length of the prompt with every visual token and newline
    prefill_retention: float  # share of all visual tokens that a layer of the prefill processes, mean over the layers
    context: int  # positions of the model's context


@dataclass(frozen=True)
class StepRecord:
    """One step: 0 is the prefill, each later one a decode step."""

    step: int
    read: int  # visual keys read by the layers that read fewest (pruned layers, or those after pruning in the prefill)
    retained: float  # share of all visual tokens of the video
    recalled: int  # read at this step and not at the one before
    reselected: bool  # a new set was selected


@dataclass(frozen=True)
class Times:
    """Measured wall-clock seconds of each part; parts may overlap.

    The first of several questions includes the work that they share.
    """

    decode_video: float  # from the request to the last frame
    vision: float | None  # without waiting for frames; None for stock `generate`, which prefills in the same call
    prefill: float | None  # first stage of the method included
    first_token: float  # decode_video + vision + prefill
    decode: float  # all steps after the first token
    per_token: float | None  # median of the decode steps; None without any
    total: float


@dataclass(frozen=True)
class Memory:
    """Bytes. The peak is the device allocator's on CUDA and the whole process's resident memory on a CPU."""

    weights: int
    kv: int
    kv_uncompressed: int  # of the same answer without compression; computed, not measured
    peak: int | None  # None where the system does not report it
    peak_above_weights: int | None  # above the memory in use before the run
    peak_of: str  # "cuda" or "process"


@dataclass(frozen=True)
class Trace:
    """Which tokens each step read, as indices into all visual tokens of the video in raster order."""

    frame: list[int]
    row: list[int]
    col: list[int]
    prefill: list[int]
    merged_into: list[int]  # for every token the one that it was merged into, -1 if it was dropped
    steps: list[list[int]]  # read at each step
    scores: list[list[float]]  # attention over `prefill` by which each step's set was selected; empty if none was
    pieces: list[str]  # the text that each step adds; joined and stripped, they are the answer


@dataclass(frozen=True)
class Answer:
    """One question's answer from one method."""

    question: str
    answer: str
    finish: str  # "stop": ended by the model; "length": by max_new_tokens; "interrupted": by the user
    tokens: TokenCounts
    steps: tuple[StepRecord, ...]
    time_s: Times
    memory_bytes: Memory
    trace: Trace | None = None
