"""What a run leaves: the answer, and everything that was counted and measured on the way. Plain values only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenCounts:
    """Prompt and answer, in tokens. The prompt's length is visual_prefill + newline + text."""

    visual: int  # of the whole video, before any compression
    visual_prefill: int  # that entered the language model: its first layer
    newline: int  # newline embeddings between the visual tokens
    text: int  # of the prompt, the template included
    generated: int  # new tokens, the one that ends the answer included
    prompt_uncompressed: int  # length of the prompt with every visual token and newline
    prefill_retention: float  # share of all visual tokens that a layer of the prefill works on, mean over the layers
    context: int  # positions that the model has


@dataclass(frozen=True)
class StepRecord:
    """One step: 0 is the prefill, each later one a decode step."""

    step: int
    read: int  # visual keys read by the layers that read fewest: the pruned ones, those after a cut in the prefill
    retained: float  # share of all visual tokens of the video
    recalled: int  # read now and not at the step before
    reselected: bool  # the set was chosen anew


@dataclass(frozen=True)
class Times:
    """Wall-clock seconds, measured, of each part by itself: parts may run at the same time.

    What several questions share is in the first one's times.
    """

    decode_video: float  # from the request to the last frame
    vision: float | None  # without waiting for frames; None where it cannot be told from the prefill: stock `generate`
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
    kv_uncompressed: int  # what the same answer's buffer would take without compression, from arithmetic
    peak: int | None  # None where the system does not tell
    peak_above_weights: int | None  # above what was taken before the run began
    peak_of: str  # "cuda" or "process"


@dataclass(frozen=True)
class Trace:
    """Which tokens: indices into all visual tokens of the video, in raster order."""

    frame: list[int]
    row: list[int]
    col: list[int]
    prefill: list[int]
    merged_into: list[int]  # for every token the one that stands for it, -1 where none does
    steps: list[list[int]]  # read at each step
    scores: list[list[float]]  # attention over the prefill's tokens that chose each step's set; empty for none
    pieces: list[str]  # the text that each step adds; together, without spaces around, they are the answer


@dataclass(frozen=True)
class Answer:
    """One question's answer from one method."""

    question: str
    answer: str
    finish: str  # "stop": the model ended it; "length": max_new_tokens did; "interrupted": the user did
    tokens: TokenCounts
    steps: tuple[StepRecord, ...]
    time_s: Times
    memory_bytes: Memory
    trace: Trace | None = None
