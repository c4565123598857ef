"""The audio of a row of a Hugging Face dataset: its own bytes, or the file that it names.

A file must belong to the dataset: it lies in its folder, in its place in the cache of the
hub, or among what the library unpacked.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from datasets import config as library
from datasets.utils.file_utils import xopen
from huggingface_hub.constants import HF_HUB_CACHE

from sllm_data.corpora.audio_file import AudioFile, Unfit
from sllm_data.corpora.folders import stays_inside
from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.corpora.huggingface_errors import reading
from sllm_data.corpora.huggingface_rows import changed, row_reader
from sllm_data.corpora.huggingface_splits import Address
from sllm_data.corpora.sources import read_file
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason


def expect_rows(config: HuggingFaceConfig, addresses: Iterable[str], *, scratch: Path) -> None:
    """Says which rows will be asked for next, in any order: those of one part.

    Args:
        config: The corpus entry.
        addresses: `Candidate.audio_path` of each.
        scratch: A folder on a disk with room for their audio.
    """
    row_reader(config).expect(map(Address.parse, addresses), scratch=scratch)


def read_row_audio(
    candidate: Candidate, config: HuggingFaceConfig, *, max_bytes: int
) -> AudioFile | Unfit:
    """Returns the audio of a candidate's row as it is stored, or says why it can't be used.

    Raises:
        CorpusError: `datasets` can't read it, or the row is not the one that was listed.
        OutputError: Rows that were read before their turn have no room.
    """
    address = Address.parse(candidate.audio_path)
    row = row_reader(config).read(address)
    if row is None:
        return Reason.AUDIO_MISSING, "the path of the audio must be UTF-8, it is not"
    if row.transcript != candidate.transcript:
        raise CorpusError(changed(config, address, "has another transcript now"))
    if row.content is not None:
        if len(row.content) > max_bytes:
            return Reason.TOO_LONG, f"must have at most {max_bytes} bytes, got {len(row.content)}"
        name = PurePosixPath(row.path or "").name or PurePosixPath(candidate.audio_id).name
        return AudioFile(content=row.content, name=name)
    if not row.path:
        return Reason.AUDIO_MISSING, "the row must hold audio or the path of it, it holds neither"
    return _file_of(config, row.path, max_bytes)


def _file_of(config: HuggingFaceConfig, path: str, max_bytes: int) -> AudioFile | Unfit:
    """Reads a file that a row names.

    In a chain such as `zip://a.wav::/data/x/clips.zip` the last link is the file.
    """
    source = path.rsplit("::", 1)[-1]
    if "://" in source:
        own = f"hf://datasets/{config.hub_id}"
        is_own = config.hub_id is not None and source.startswith((f"{own}@", f"{own}/"))
        return _linked(path, max_bytes) if is_own else _outside(path)
    for root in _roots(config):
        relative = _relative(source, root)
        if relative is None:
            continue
        if source == path:
            return read_file(root, relative, max_bytes=max_bytes)
        return _outside(path) if stays_inside(root, relative) is None else _linked(path, max_bytes)
    return _outside(path)


def _roots(config: HuggingFaceConfig) -> tuple[Path, ...]:
    """The dataset's own folder first, then where the library keeps what it unpacked."""
    if config.hub_id is None:
        own = Path(config.where)
    else:
        own = Path(HF_HUB_CACHE, f"datasets--{config.hub_id.replace('/', '--')}")
    return own, own.resolve(), Path(library.EXTRACTED_DATASETS_PATH)


def _relative(path: str, root: Path) -> str | None:
    """The path from a folder on, None where it is absolute and of another folder."""
    if not path.startswith("/"):
        return path
    return path[len(f"{root}/") :] if path.startswith(f"{root}/") else None


def _linked(path: str, max_bytes: int) -> AudioFile | Unfit:
    """Reads a file of the hub, or a member of an archive."""
    try:
        with reading(path), xopen(path, "rb") as audio:
            content = audio.read(max_bytes + 1)
    except CorpusError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return Reason.AUDIO_MISSING, f"{path[-80:]} must be a file, there is none"
        raise
    if len(content) > max_bytes:
        return Reason.TOO_LONG, f"must have at most {max_bytes} bytes, has more"
    return AudioFile(content=content, name=PurePosixPath(path.split("::", 1)[0]).name)


def _outside(path: str) -> Unfit:
    return Reason.PATH_OUTSIDE_CORPUS, f"{path[:80]!r} must stay in the dataset's folder"
