"""Errors that a user can act on, with their exit codes.

DyCokeError             1  unexpected
├── UsageError          2  a flag, option or configuration value is not usable
│   └── ContextError    2  the prompt takes more positions than the model has
├── InputError          3  an input file cannot be read
├── VideoError          3  the input cannot be read as a video
├── ModelError          4  the model is unavailable or unsupported
├── OutOfMemoryError    5  the device has too little memory for the run
└── FailedItemsError    6  a run over many items has ended, and some of them failed

Each has a one-line message that names the wrong value and a one-line remedy.
"""


class DyCokeError(Exception):
    """An error with a message, which names the wrong value, and a remedy, which tells the user what to do."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message


class UsageError(DyCokeError):
    """A flag, option or configuration value is not usable."""

    exit_code = 2


class ContextError(UsageError):
    """The prompt takes more positions than the model has. `reason` is machine-readable, as in `VideoError`."""

    reason = "context"


class InputError(DyCokeError):
    """An input file cannot be read."""

    exit_code = 3


class VideoError(DyCokeError):
    """The input cannot be read as a video.

    `reason` is machine-readable, one of: missing, empty, not_a_file, not_readable, not_a_video, no_video,
    no_frames, too_large, timeout, crash, window.
    """

    exit_code = 3

    def __init__(self, message: str, remedy: str = "", reason: str = "not_a_video") -> None:
        super().__init__(message, remedy)
        self.reason = reason


class ModelError(DyCokeError):
    """The model is unavailable or unsupported."""

    exit_code = 4


class OutOfMemoryError(DyCokeError):
    """The device has too little memory for the run."""

    exit_code = 5


class FailedItemsError(DyCokeError):
    """A run over many items has ended, and some of them failed."""

    exit_code = 6
