"""A repository of the Hugging Face hub as the target.

Files are uploaded first, which shows nothing, and appear with a commit. An upload that is killed
goes on: what the hub has received already it does not take again. Parts are committed in groups,
cards and manifests with the last commit, which also takes away what is gone.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import httpx
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._validators import validate_repo_id
from huggingface_hub.utils.tqdm import disable_progress_bars

from sllm_data.errors import ConfigError, StorageError
from sllm_data.publishing.contents import Item
from sllm_data.publishing.target import Sent, There
from sllm_data.storage.faults import fault_of
from sllm_data.storage.patience import Patience, Waits

T = TypeVar("T")

_PREFIX = "hf://datasets/"
_UPLOADS = 16
"""Files that are uploaded with one request for their addresses."""
_COMMIT = 500
"""Files in a commit of parts: the hub is slow with more."""
_OF_THE_HUB = frozenset({".gitattributes"})
_RIGHTS = "check the token (HF_TOKEN, or `hf auth login`) and that it may write there"


class HubTarget:
    """A dataset repository.

    Args:
        url: `hf://datasets/OWNER/NAME`.
        private: Whether a repository that is not there yet is made private.
        revision: The branch; made where it is not there.
        message: Of the commits.
        patience_s: How long the hub may go without answering, in seconds.

    Raises:
        ConfigError: The URL names no dataset repository, or nobody is logged in.
    """

    def __init__(
        self, url: str, *, private: bool, revision: str, message: str, patience_s: float
    ) -> None:
        self.url = url.rstrip("/")
        self._repo = self.url.removeprefix(_PREFIX)
        _check(url, self._repo)
        self._private = private
        self._revision = revision
        self._message = message
        self._patience_s = patience_s
        self._waits = Waits()
        self._api = HfApi()
        disable_progress_bars()

    def open(self) -> None:
        """Makes the repository, where it is not there.

        Raises:
            StorageError: The hub can't be reached, or it is not allowed.
            ConfigError: It is there, public where private was asked for or the other way round.
        """
        self._ask(
            lambda: self._api.create_repo(
                self._repo, repo_type="dataset", private=self._private, exist_ok=True
            )
        )
        info = self._ask(lambda: self._api.repo_info(self._repo, repo_type="dataset"))
        if bool(info.private) != self._private:
            is_there, asked = ("private", "public") if info.private else ("public", "private")
            raise ConfigError(
                f"{self.url}: must be {asked}, as asked for, it is there and {is_there}; say "
                f"--{is_there}, or change it on the hub first"
            )
        if self._revision != constants.DEFAULT_REVISION:
            self._ask(
                lambda: self._api.create_branch(
                    self._repo, branch=self._revision, repo_type="dataset", exist_ok=True
                )
            )

    def there(self) -> Mapping[str, There]:
        """All files of the branch."""
        found = self._ask(
            lambda: list(
                self._api.list_repo_tree(
                    self._repo, recursive=True, revision=self._revision, repo_type="dataset"
                )
            )
        )
        return {
            file.path: There(
                size=file.size,
                sha256=file.lfs.sha256 if file.lfs else None,
                git_oid=None if file.lfs else file.blob_id,
            )
            for file in found
            if isinstance(file, RepoFile) and file.path not in _OF_THE_HUB
        }

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The content of a small file."""
        url = self._api_url(name)
        headers = {"authorization": f"Bearer {get_token()}"}
        content = bytearray()

        def load() -> None:
            content.clear()
            with httpx.stream("GET", url, headers=headers, follow_redirects=True) as answer:
                answer.raise_for_status()
                for piece in answer.iter_bytes():
                    content.extend(piece)
                    if len(content) > max_bytes:
                        return

        self._ask(load)
        if len(content) > max_bytes:
            raise StorageError(f"{self.url}/{name}: must be at most {max_bytes} bytes; remove it")
        return bytes(content)

    def _api_url(self, name: str) -> str:
        return f"{constants.ENDPOINT}/datasets/{self._repo}/resolve/{self._revision}/{name}"

    def is_same(self, item: Item, there: There) -> bool:
        """By the digest that the hub keeps of a large file, or git's of a small one."""
        if there.sha256 is not None:
            return there.sha256 == item.sha256
        return there.git_oid == _git_oid(item.path.read_bytes())

    def send(self, items: Sequence[Item], *, remove: Sequence[str], sent: Sent) -> None:
        """Uploads all, then shows them by commits; what is removed goes with the last."""
        additions = [CommitOperationAdd(item.name, str(item.path)) for item in items]
        for start in range(0, len(additions), _UPLOADS):
            group = additions[start : start + _UPLOADS]
            self._upload(group)
            for item in items[start : start + _UPLOADS]:
                sent(item)
        groups = [additions[at : at + _COMMIT] for at in range(0, len(additions), _COMMIT)] or [[]]
        for number, group in enumerate(groups):
            is_last = number == len(groups) - 1
            gone = [CommitOperationDelete(name) for name in remove] if is_last else []
            if group or gone:
                self._commit([*group, *gone])

    def _upload(self, additions: Sequence[CommitOperationAdd]) -> None:
        self._ask(
            lambda: self._api.preupload_lfs_files(
                self._repo,
                additions=additions,
                repo_type="dataset",
                revision=self._revision,
                free_memory=False,
            )
        )

    def _commit(self, operations: Sequence[CommitOperationAdd | CommitOperationDelete]) -> None:
        self._ask(
            lambda: self._api.create_commit(
                self._repo,
                operations,
                commit_message=self._message,
                repo_type="dataset",
                revision=self._revision,
            )
        )

    def _ask(self, call: Callable[[], T]) -> T:
        patience = Patience(
            self.url, patience_s=self._patience_s, rights=_RIGHTS, waits=self._waits
        )
        try:
            return patience(call)
        except (HfHubHTTPError, httpx.HTTPError, ValueError, OSError, RuntimeError) as error:
            # not `from error`: its text may hold the token
            raise StorageError(
                f"{self.url}: the hub must do what it is asked, found: {fault_of(error).why}; "
                "check owner, name and branch"
            ) from None


def is_hub(url: str) -> bool:
    """Whether a target is a repository of the hub."""
    return url.startswith("hf://")


def _check(url: str, repo: str) -> None:
    if not url.startswith(_PREFIX) or not _is_repo(repo):
        shown = "one with other parts" if re.search("[@?#]", url) else url
        raise ConfigError(
            f"a target on the hub must be {_PREFIX}OWNER/NAME, got {shown}; a branch is named by "
            "--revision"
        )
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"{url}: HF_HUB_OFFLINE must not be set, it is; unset it to publish")
    if get_token() is None:
        raise ConfigError(f"{url}: a token must be there, none is; {_RIGHTS}")


def _is_repo(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _git_oid(content: bytes) -> str:
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
