"""What went wrong on the way to the hub, in words: a mistyped name, a shut door, or no way there."""

from __future__ import annotations

from collections.abc import Iterator

LOG_IN = "log in by hf auth login or HF_TOKEN"
CLIENTS = ("httpx", "httpx2", "httpcore", "requests", "urllib3")  # packages that talk to the hub for huggingface_hub


def is_connection_error(error: BaseException) -> bool:
    """Whether a package that talks to the hub raised it, whichever huggingface_hub uses."""
    return any(kind.__module__.partition(".")[0] in CLIENTS for kind in type(error).__mro__)


def find_hub_trouble(error: BaseException, repository: str = "") -> str | None:
    """What an error, or one that it came from, says of the hub; None where it is no trouble with the hub.

    Args:
        error: what a library raised; diffusers and transformers raise their own from huggingface_hub's.
        repository: that was asked for, for the advice; "" where the advice stands elsewhere.
    """
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_OFFLINE

    chain = list(_causes(error))

    def find(*kinds: type[BaseException]) -> BaseException | None:
        return next((one for one in chain if isinstance(one, kinds)), None)

    advice = (
        f"; or on a machine that is online: hf download {repository} --local-dir FOLDER, and name that folder here"
        if repository
        else ""
    )
    if find(errors.GatedRepoError):
        page = f" on https://huggingface.co/{repository}" if repository else ""
        return f"the repository is gated: accept its terms{page}, then {LOG_IN}"
    if find(errors.RepositoryNotFoundError):
        return f"the hub has no such repository: the name is mistyped, or it is private (then {LOG_IN})"
    is_away = any(
        isinstance(one, errors.LocalEntryNotFoundError)
        or (is_connection_error(one) and not isinstance(one, errors.HfHubHTTPError))
        for one in chain
    )
    if find(errors.OfflineModeIsEnabled) or (is_away and HF_HUB_OFFLINE):
        return f"it is not in the cache, and HF_HUB_OFFLINE is set: unset it{advice}"
    if isinstance(answer := find(errors.HfHubHTTPError), errors.HfHubHTTPError):
        if isinstance(answer, errors.EntryNotFoundError):
            return None  # a file is missing, as the library's own words say
        status = answer.response.status_code
        return f"the hub answers {status}: {LOG_IN if status in (401, 403) else 'try again later'}{advice}"
    if is_away:
        return f"it is not in the cache, and the hub cannot be reached: mend the connection{advice}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
