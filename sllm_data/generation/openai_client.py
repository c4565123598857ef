"""One HTTP exchange with a server, and when to try again.

An attempt that another one may mend (busy, failing, silent, garbled) raises Unanswered; a
server that will never answer (no such model, no right to ask) raises EngineError. Each
attempt is bounded in time and in bytes, so nothing here can hang.
"""

import asyncio
import ipaddress
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from sllm_data.errors import EngineError
from sllm_data.generation.config import OpenaiConfig
from sllm_data.generation.openai_protocol import Document, error_detail
from sllm_data.seeding import uniform

_MAX_BYTES = 32 * 2**20
_CONNECT_S = 10.0
_LONGEST_RETRY_AFTER = 10  # times max_backoff_s
_DOUBLINGS = 20
_OK, _MULTIPLE_CHOICES, _BAD_REQUEST, _SERVER_ERROR = 200, 300, 400, 500
_TRANSIENT = (408, 409, 425, 429)
_NO_RIGHT = (401, 403)
_NOT_FOUND = 404

T = TypeVar("T")


class Unanswered(Exception):  # noqa: N818 - no error yet: it is tried again
    """An attempt failed in a way that another one may not."""

    def __init__(
        self, why: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(why)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A server's final word: an answer, or why it refuses this one request."""

    document: Any  # JSON; None where it refuses
    refused: str | None
    """What the server says of a request that it will never answer."""


class Client:
    """Connections to one server."""

    def __init__(self, config: OpenaiConfig) -> None:
        self._config = config
        self._base = config.base_url.rstrip("/") + "/"
        try:
            self._http = httpx.AsyncClient(
                headers=_headers(config),
                timeout=httpx.Timeout(config.request_timeout_s, connect=_CONNECT_S, pool=None),
                limits=httpx.Limits(
                    max_connections=config.max_in_flight,
                    max_keepalive_connections=config.max_in_flight,
                ),
                trust_env=not _is_loopback(config.base_url),
            )
            self._http.build_request("GET", self._base)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
            raise EngineError(f"backbone.base_url {config.base_url!r}: {error}") from error

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def get(self, path: str) -> Any:  # JSON
        """Returns the JSON document at a path.

        Raises:
            Unanswered: This attempt failed.
            EngineError: No attempt can succeed.
        """
        status, content = await self._exchange("GET", path, None)
        if status >= _BAD_REQUEST:
            raise self._hopeless(path, status, content)
        return _json(content)

    async def post(self, path: str, body: Document, *, may_lack: bool = False) -> Reply:
        """Asks once.

        Args:
            path: Below the base URL.
            body: What is asked.
            may_lack: Take a path that the server does not have for a refusal.

        Raises:
            Unanswered: This attempt failed.
            EngineError: No attempt can succeed, whatever is asked.
        """
        status, content = await self._exchange("POST", path, body)
        if status in _NO_RIGHT or (status == _NOT_FOUND and not may_lack):
            raise self._hopeless(path, status, content)
        if status >= _BAD_REQUEST:
            return Reply(document=None, refused=error_detail(content))
        return Reply(document=_json(content), refused=None)

    async def persist(self, attempt: Callable[[], Awaitable[T]], *, seed: int, name: str) -> T:
        """Tries until an attempt succeeds, with growing pauses.

        Args:
            attempt: One attempt; raises Unanswered where another may succeed.
            seed: Of the jitter.
            name: What is asked, for the jitter and the error.

        Raises:
            EngineError: All attempts failed, or one can't be mended.
        """
        tried = 0
        while True:
            try:
                return await attempt()
            except Unanswered as failed:
                tried += 1
                if tried > self._config.retries:
                    raise EngineError(
                        f"{self._config.base_url}: gave up on {name} after {tried} attempts, "
                        f"the last one: {failed}; when the server is well, run the same command "
                        "again to go on"
                    ) from failed
                await asyncio.sleep(self._pause_s(failed, tried, seed, name))

    def _pause_s(self, failed: Unanswered, tried: int, seed: int, name: str) -> float:
        config = self._config
        # Without jitter all that failed together would come back together.
        jitter = uniform(seed, "backoff", name, tried)
        if failed.retry_after_s is not None:
            longest = _LONGEST_RETRY_AFTER * config.max_backoff_s
            return min(failed.retry_after_s, longest) + jitter * config.backoff_s
        doubled = config.backoff_s * float(2 ** min(tried - 1, _DOUBLINGS))
        return min(doubled, config.max_backoff_s) * (0.5 + jitter)

    async def _exchange(self, method: str, path: str, body: Document | None) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(self._config.request_timeout_s),
                self._http.stream(method, urljoin(self._base, path), json=body) as response,
            ):
                content = await _content(response)
        except TimeoutError as error:
            raise Unanswered(f"no answer within {self._config.request_timeout_s:g} s") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Unanswered(
                f"{type(error).__name__}: {str(error) or 'no reason given'}"
            ) from error
        except (
            httpx.InvalidURL
        ) as error:  # httpx reads where a redirect leads, though told to stay
            raise EngineError(
                f"{self._base}{path}: must answer itself, it sent a redirect to no address "
                f"({error}); correct backbone.base_url"
            ) from error
        status = response.status_code
        if status in _TRANSIENT or status >= _SERVER_ERROR:
            raise Unanswered(
                f"status {status}: {error_detail(content)}",
                status=status,
                retry_after_s=retry_after(response.headers.get("retry-after")),
            )
        if not _OK <= status < _MULTIPLE_CHOICES and status < _BAD_REQUEST:
            raise EngineError(
                f"{self._base}{path}: must answer itself, it sent status {status} to "
                f"{response.headers.get('location', 'nowhere')!r}; correct backbone.base_url"
            )
        return status, content

    def _hopeless(self, path: str, status: int, content: bytes) -> EngineError:
        remedy = (
            f"set {self._config.api_key_env} to a key with the right to use this model"
            if status in _NO_RIGHT
            else "check backbone.base_url (most end in /v1) and backbone.model"
        )
        return EngineError(
            f"{self._base}{path}: status {status}: {error_detail(content)}; {remedy}"
        )


def retry_after(header: str | None) -> float | None:
    """Reads a Retry-After header: seconds, or a date; None where there is no sense in it."""
    if header is None:
        return None
    stripped = header.strip()  # of more than what float takes for white space
    if stripped.isdecimal():
        return float(stripped)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # a year of 20 digits
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


async def _content(response: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > _MAX_BYTES:
            raise Unanswered(f"an answer of more than {_MAX_BYTES // 2**20} MiB")
    return bytes(content)


def _json(content: bytes) -> Any:  # JSON
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unanswered(f"an answer that is no JSON: {error_detail(content)}") from error


def _headers(config: OpenaiConfig) -> dict[str, str]:
    key = os.environ.get(config.api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise EngineError(f"{config.api_key_env} must hold a key of printable ASCII characters")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _is_loopback(url: str) -> bool:
    """A proxy set for the outer world is no way to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
