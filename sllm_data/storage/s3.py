"""A folder of a bucket that speaks S3, through s3fs.

s3fs finds credentials and endpoint in the usual places (AWS_*, ~/.aws, the machine's role) and
keeps the connections. Requests are ours: with If-Match, so that a file which is fetched in pieces
is one file; with the digest of a file beside it; and tried once, since `Patience` counts.
"""

import asyncio
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError
from fsspec.asyn import sync
from s3fs import S3FileSystem

from sllm_data.errors import ConfigError, StorageError
from sllm_data.files import sha256_of_bytes
from sllm_data.storage.backend import ChangedError, Entry, Patiently, digest
from sllm_data.storage.faults import code_of, is_missing, is_precondition

_PIECE = 16 * 2**20
_MAX_PIECES = 9_000  # S3 takes 10,000
_REQUEST_S = 600.0
"""Seconds that one request may take: a piece at 28 kB/s."""


class S3Folder:
    """A folder of a bucket.

    Args:
        bucket: Its name.
        folder: Below it; may be empty.
        answer_s: Seconds without a byte after which a connection is given up.

    Raises:
        ConfigError: The endpoint holds credentials, or the bucket's name is none.
    """

    rights = (
        "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the "
        "machine's role) and what they allow"
    )

    def __init__(self, bucket: str, folder: str, *, answer_s: float) -> None:
        self._bucket = bucket
        self._prefix = f"{folder}/" if folder else ""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        _check_endpoint(endpoint)
        self._fs = S3FileSystem(
            endpoint_url=endpoint or None,
            use_listings_cache=False,
            skip_instance_cache=True,
            config_kwargs={
                "retries": {"total_max_attempts": 1},
                "connect_timeout": answer_s,
                "read_timeout": answer_s,
            },
        )
        self._fs.retries = 1

    def check(self) -> None:
        """Raises FileNotFoundError where the bucket is missing."""
        self._call("list_objects_v2", Prefix=self._prefix, MaxKeys=1)

    def entries(self, prefix: str) -> dict[str, Entry]:
        """All objects whose name begins with `prefix`; what is no file's name has no entry."""
        found: dict[str, Entry] = {}
        asked = {"Prefix": self._prefix + prefix}
        while True:
            page = self._call("list_objects_v2", **asked)
            for each in page.get("Contents", ()):
                name = each["Key"].removeprefix(self._prefix)
                if name and not name.endswith("/"):  # a "folder" that a console made
                    found[name] = Entry(each["Size"], each["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return found
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def entry(self, name: str) -> Entry | None:
        """One object."""
        head = self._head(name)
        if head is None:
            return None
        sha256 = digest(head.get("Metadata", {}).get("sha256"))
        return Entry(head["ContentLength"], head["ETag"].strip('"'), sha256)

    def piece(self, name: str, start: int, stop: int, *, of: Entry) -> bytes:
        """Bytes [start, stop); raises ChangedError where the object is not `of` any more."""
        try:
            etag, content = sync(self._fs.loop, self._read, name, start, stop, of.mark)
        except Exception as error:
            if is_precondition(error) or is_missing(error) or code_of(error) == "InvalidRange":
                raise ChangedError(name) from None
            raise
        if etag.strip('"') != of.mark:
            raise ChangedError(name)
        if len(content) != stop - start:
            raise ConnectionError(f"{len(content)} bytes of {stop - start}")
        return bytes(content)

    def put(self, path: Path, name: str, *, sha256: str, patiently: Patiently) -> None:
        """Sends a file, a large one in pieces of which readers see nothing before the last."""
        size = path.stat().st_size
        if size <= 2 * _PIECE:
            content = path.read_bytes()
            if sha256_of_bytes(content) != sha256:
                raise ChangedError(name)
            kwargs = {"Key": self._prefix + name, "Metadata": {"sha256": sha256}}
            patiently(lambda: self._call("put_object", Body=content, **kwargs))
        else:
            self._abort_earlier(name, patiently)
            self._put_pieces(path, name, max(_PIECE, size // _MAX_PIECES), sha256, patiently)

    def write(self, name: str, content: bytes, *, only_new: bool) -> None:
        """Writes bytes; raises FileExistsError where there is one and only a new one is meant."""
        meta = {"sha256": sha256_of_bytes(content)}
        kwargs = {"Key": self._prefix + name, "Body": content, "Metadata": meta}
        try:
            self._call("put_object", **kwargs, **({"IfNoneMatch": "*"} if only_new else {}))
        except Exception as error:
            if only_new and is_precondition(error):
                raise FileExistsError(name) from None
            if not only_new or code_of(error) != "NotImplemented":
                raise
            if self.entry(name) is not None:
                raise FileExistsError(name) from None
            self._call("put_object", **kwargs)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        self._call("delete_object", Key=self._prefix + name)

    def _put_pieces(
        self, path: Path, name: str, length: int, sha256: str, patiently: Patiently
    ) -> None:
        key = {"Key": self._prefix + name}
        begun = patiently(
            lambda: self._call("create_multipart_upload", **key, Metadata={"sha256": sha256})
        )
        upload = {**key, "UploadId": begun["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []  # Any: a number and a text
            with path.open("rb") as file:
                while content := file.read(length):
                    part = {"PartNumber": len(parts) + 1}
                    send = partial(self._call, "upload_part", **upload, **part, Body=content)
                    sent = patiently(send)
                    parts.append({**part, "ETag": sent["ETag"]})
            patiently(lambda: self._complete(upload, parts))
        except BaseException:
            # the error on its way says why; what can't be aborted now is by the next `put`
            with suppress(OSError, BotoCoreError):
                self._call("abort_multipart_upload", **upload)
            raise

    def _complete(self, upload: dict[str, Any], parts: list[dict[str, Any]]) -> None:
        try:
            self._call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
        except FileNotFoundError:
            # an earlier try got through, but its answer did not; the Store looks what is there
            if self._head(upload["Key"].removeprefix(self._prefix)) is None:
                raise StorageError(
                    f"s3://{self._bucket}/{upload['Key']}: an upload must stay until it is "
                    "complete, found none; does another run write the same folder?"
                ) from None

    def _abort_earlier(self, name: str, patiently: Patiently) -> None:
        """Aborts what a killed writer left of this object: nobody sees it, but it is paid for."""
        key = self._prefix + name
        for each in patiently(lambda: self._uploads(key)):
            if each["Key"] == key:
                upload = {"Key": key, "UploadId": each["UploadId"]}
                with suppress(FileNotFoundError):
                    patiently(partial(self._call, "abort_multipart_upload", **upload))

    def _uploads(self, key: str) -> list[dict[str, Any]]:  # Any: what S3 answers
        try:
            found = self._call("list_multipart_uploads", Prefix=key)
        except OSError as error:
            # not every writer may list them; then a rule of the bucket clears them away
            if isinstance(error, PermissionError) or code_of(error) == "NotImplemented":
                return []
            raise
        return list(found.get("Uploads", ()))

    def _head(self, name: str) -> dict[str, Any] | None:  # Any: what S3 answers
        try:
            head: dict[str, Any] = self._call("head_object", Key=self._prefix + name)
        except FileNotFoundError:
            return None
        return head

    async def _read(self, name: str, start: int, stop: int, mark: str) -> tuple[str, bytes]:
        kwargs = {"Bucket": self._bucket, "Key": self._prefix + name, "IfMatch": f'"{mark}"'}
        kwargs["Range"] = f"bytes={start}-{stop - 1}"
        async with asyncio.timeout(_REQUEST_S):
            answer = await self._fs._call_s3("get_object", **kwargs)  # noqa: SLF001 - see _call
            async with answer["Body"] as body:
                return answer["ETag"], await body.read()

    def _call(self, method: str, **kwargs: Any) -> Any:  # Any: what S3 takes and answers
        return sync(self._fs.loop, self._bounded, method, kwargs)

    async def _bounded(self, method: str, kwargs: dict[str, Any]) -> Any:
        async with asyncio.timeout(_REQUEST_S):
            # `call_s3` is s3fs's way to S3 itself, and this its form inside of a loop
            return await self._fs._call_s3(method, Bucket=self._bucket, **kwargs)  # noqa: SLF001


def _check_endpoint(endpoint: str | None) -> None:
    if not endpoint:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ConfigError(
            "AWS_ENDPOINT_URL must be http(s)://host:port, without user or password; credentials "
            "go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
