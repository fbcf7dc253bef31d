"""Convert the hub client's exceptions to ModelError, each with one sentence and a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from dycoke_cli.errors import ModelError

RERUN = "Run the command again: it resumes where it stopped"
CONNECT = (
    "Check the network, and HTTPS_PROXY if you need a proxy; without a network copy the model's folder here and give "
    "--model FOLDER, and set HF_HUB_OFFLINE=1 to skip the download attempt"
)


def refuse_offline(hub_id: str) -> None:
    """Raise ModelError if HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the network."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"{hub_id!r} is not on this disk, and HF_HUB_OFFLINE forbids fetching it",
            "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or copy the model's folder here and give --model FOLDER",
        )


@contextmanager
def as_model_error(hub_id: str, revision: str | None, unreachable: str = CONNECT) -> Iterator[None]:
    """Convert exceptions of requests to the hub to ModelError. unreachable: the remedy if the hub does not respond."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except ModelError:
        raise
    except GatedRepoError:
        raise ModelError(
            f"{hub_id!r} is gated: only accounts that have accepted its terms can download it",
            "Accept them on the model's page, then set HF_TOKEN or run `hf auth login`",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(f"the hub has no model {hub_id!r}", "Check the name; a private one needs HF_TOKEN") from None
    except RevisionNotFoundError:
        raise ModelError(
            f"{hub_id!r} has no revision {revision!r}", "Give a branch, a tag or a commit of 40 characters"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise ModelError(f"the hub refuses {hub_id!r} (HTTP {status})", "Check HF_TOKEN") from None
        raise ModelError(f"the hub failed on {hub_id!r} (HTTP {status})", "Try again later") from None
    except Exception as error:  # the hub client passes on exceptions of its HTTP library
        if isinstance(error, OSError) and error.filename is not None:  # an error of the disk, not of the network
            message = f"{str(error.filename)!r} cannot be written: {error.strerror}"
            raise ModelError(message, "Free disk space, or check the folder's permissions") from None
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{hub_id!r} cannot be fetched: {reason}", unreachable) from error
