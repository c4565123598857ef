"""What a storage's failure means: will it pass, and how is it said.

The libraries of object storage raise what their own libraries raise: errors of botocore, aiohttp,
httpx, requests, and the OSErrors they are translated to. What counts is the HTTP status, or that
there was no answer at all. Their messages are not passed on: they may quote a URL, a header or a
key. The code of the storage (`SlowDown`), the status, or the name of the class says enough.
"""

import asyncio
import re
from dataclasses import dataclass

from botocore import exceptions as s3
from botocore.parsers import ResponseParserError

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {
        "BadDigest",  # damaged on the way
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentSHA256Mismatch",
    }
)
_NO_ANSWER = (
    ConnectionError,
    TimeoutError,
    asyncio.TimeoutError,
    EOFError,
    s3.ConnectionError,
    s3.HTTPClientError,
    s3.IncompleteReadError,
    s3.ResponseStreamingError,
    ResponseParserError,
)
_HTTP_LIBRARIES = frozenset(
    {"aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}
)
_CREDENTIALS = (
    s3.NoCredentialsError,
    s3.PartialCredentialsError,
    s3.CredentialRetrievalError,
    s3.ProfileNotFound,
    s3.NoAuthTokenError,
    s3.SSOError,
)
_DENIED_STATUS = frozenset({401, 403})
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{2,60}")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a failure means."""

    passes: bool
    """Whether the same request may go through a little later."""

    is_denied: bool
    """Whether it is a matter of credentials and rights."""

    why: str
    """A few words; never text from elsewhere, which may hold a key."""


def fault_of(error: BaseException) -> Fault:
    """Tells what a failure of a storage's library means."""
    cause = _cause(error)
    status, code = _answer(cause)
    name = type(cause).__name__
    if status is not None or code is not None:
        why = " ".join(str(part) for part in (status, code) if part is not None)
        if status in _PASSING_STATUS or code in _PASSING_CODES:
            return Fault(passes=True, is_denied=False, why=why)
        return Fault(passes=False, is_denied=status in _DENIED_STATUS, why=why)
    if isinstance(cause, (*_CREDENTIALS, PermissionError)):
        words = "permission denied" if isinstance(cause, PermissionError) else "no credentials"
        return Fault(passes=False, is_denied=True, why=f"{words} ({name})")
    if name == "OfflineModeIsEnabled":  # of the hub's library: a ConnectionError, but no accident
        return Fault(passes=False, is_denied=False, why="HF_HUB_OFFLINE is set")
    if isinstance(cause, _NO_ANSWER) or _is_of_http(cause):
        return Fault(passes=True, is_denied=False, why=f"no answer ({name})")
    return Fault(passes=False, is_denied=False, why=name)


def is_missing(error: BaseException) -> bool:
    """Whether a failure says that there is no such object."""
    return isinstance(error, FileNotFoundError) or _answer(error)[0] == 404  # noqa: PLR2004


def is_precondition(error: BaseException) -> bool:
    """Whether a failure says that an If-Match or If-None-Match did not hold."""
    cause = _cause(error)
    return isinstance(error, FileExistsError) or _answer(cause)[0] == 412  # noqa: PLR2004


def code_of(error: BaseException) -> str | None:
    """Returns the code by which S3 names a failure: `NoSuchBucket`."""
    cause = _cause(error)
    return _answer(cause)[1]


def _cause(error: BaseException) -> BaseException:
    """What s3fs, or a thread of the hub's library, has put another error around."""
    inner = error.__cause__
    return (
        inner
        if inner is not None and (type(error) is RuntimeError or isinstance(inner, s3.ClientError))
        else error
    )


def _answer(error: BaseException) -> tuple[int | None, str | None]:
    """The HTTP status and the storage's own code, of whichever library."""
    if isinstance(error, s3.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(error.response.get("Error", {}).get("Code", ""))
        return status, code if _CODE.fullmatch(code) else None
    response = getattr(error, "response", None)
    for found in (
        getattr(response, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
    ):
        if isinstance(found, int | str) and re.fullmatch(r"[1-5]\d\d", str(found)):
            return int(found), None
    return None, None


def _is_of_http(error: BaseException) -> bool:
    return any(each.__module__.split(".")[0] in _HTTP_LIBRARIES for each in type(error).__mro__)
