"""The hub client's many exceptions as one sentence each."""

from collections.abc import Iterator
from contextlib import contextmanager

from dycoke_cli.errors import ModelError

AGAIN = "Run the command again: it goes on where it stopped"
CONNECT = (
    "Check the network, and HTTPS_PROXY where one leads through a proxy; without a network copy the model's folder "
    "here and give --model FOLDER, and HF_HUB_OFFLINE=1 keeps dycoke from trying"
)


def refuse_offline(hub_id: str) -> None:
    """Raise ModelError where HF_HUB_OFFLINE, or transformers' own switch, forbids the network."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"{hub_id!r} is not on this disk, and HF_HUB_OFFLINE forbids fetching it",
            "Unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or copy the model's folder here and give --model FOLDER",
        )


@contextmanager
def explained(hub_id: str, revision: str | None, unreachable: str = CONNECT) -> Iterator[None]:
    """Turn what goes wrong while talking to the hub into a ModelError that says what to do.

    unreachable: what to do where the hub cannot be reached.
    """
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
            f"{hub_id!r} is gated: the hub gives it only to accounts that have accepted its terms",
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
    except OSError as error:
        if error.filename is not None:  # the disk's, not the network's
            raise ModelError(f"{str(error.filename)!r} cannot be written: {error.strerror}", "Make room") from None
        raise _unreachable(hub_id, error, unreachable) from error
    except Exception as error:  # the hub client raises whatever its HTTP library does
        raise _unreachable(hub_id, error, unreachable) from error


def _unreachable(hub_id: str, error: Exception, remedy: str) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(f"{hub_id!r} cannot be fetched: {reason}", remedy)
