"""What `datasets.load_dataset` reads as a corpus: rows in, candidates and rejections out.

The audio column is found here but not read: a row without usable audio is rejected when it
is opened. So the list is the same whether the dataset is streamed or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sllm_data.corpora.folders import named
from sllm_data.corpora.huggingface_columns import Columns, find_columns
from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.corpora.huggingface_library import Features
from sllm_data.corpora.huggingface_rows import row_reader
from sllm_data.corpora.huggingface_splits import (
    Address,
    Row,
    features_by_split,
    forget_opened,
    is_streamed,
    num_shards,
    read_rows,
    rows_of,
)
from sllm_data.corpora.ids import MAX_ID_CHARACTERS, as_id
from sllm_data.corpora.options import is_language_tag
from sllm_data.corpora.wordings import gender_of, split_of
from sllm_data.errors import CorpusError
from sllm_data.records import Candidate, Reason, Rejection, Source, Speaker
from sllm_data.seeding import hash128

_STEP = "candidates"
_BATCH_ROWS = 1_000


def read_huggingface(
    config: HuggingFaceConfig, *, entry: int, speaker_salt: str
) -> Iterator[Candidate | Rejection]:
    """Lists the rows of the chosen splits in their order.

    Columns are found before this returns; memory holds a batch of rows without their audio.

    Raises:
        CorpusError: `datasets` can't read it, a split or a column is missing, or nothing tells
            the language.
    """
    row_reader.cache_clear()
    forget_opened()
    features = features_by_split(config, streamed=is_streamed(config))
    unknown = [split for split in config.splits if split not in features]
    if unknown:
        raise CorpusError(
            f"{config.where}: has no split {named(unknown)}; it has: {named(features)}"
        )
    # a dataset that was never split is all `train` to the library: that says nothing
    is_split = set(features) != {"train"}
    readers = [
        _Reader(
            config=config,
            entry=entry,
            speaker_salt=speaker_salt,
            split=split,
            corpus_split=split_of(split) if is_split else None,
            columns=_columns(config, features[split]),
            source=_source(config),
        )
        for split in config.splits or features
    ]
    return (row for reader in readers for row in reader.read())


def _columns(config: HuggingFaceConfig, features: Features) -> Columns:
    columns = find_columns(config, features)
    if config.language is None and "language" not in columns.known:
        raise CorpusError(
            f"{config.where}: language must be set in this corpus entry, no column tells it; "
            f"the columns are: {named(features)}"
        )
    return columns


def _source(config: HuggingFaceConfig) -> Source:
    return Source(
        corpus=config.corpus,
        version=config.audio_version,
        licence=config.licence or "unknown",
        attribution=config.attribution or config.hub_id or config.corpus,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """Reads one split."""

    config: HuggingFaceConfig
    entry: int
    speaker_salt: str
    split: str
    corpus_split: str | None
    """Of rows that do not say it themselves."""
    columns: Columns
    source: Source
    """Of rows that do not say it themselves."""

    def read(self) -> Iterator[Candidate | Rejection]:
        number = 0
        for first in self._beginnings():
            for batch in read_rows(
                self.config, first, self.columns.listed, batch_rows=_BATCH_ROWS
            ):
                for offset, row in enumerate(rows_of(self.config, batch.table)):
                    address = replace(first, row=batch.first.row + offset)
                    yield self._judged(number, address, row)
                    number += 1

    def _beginnings(self) -> Iterator[Address]:
        if not is_streamed(self.config):
            yield Address(split=self.split, row=0)
            return
        for shard in range(num_shards(self.config, self.split)):
            yield Address(split=self.split, shard=shard, row=0)

    @property
    def _prefix(self) -> str:
        name = self.config.config_name
        level = self.split if name is None else f"{as_id(name)}-{self.split}"
        return f"{self.source.corpus}/{self.source.version}/{level}"

    def _judged(self, number: int, address: Address, row: Row | None) -> Candidate | Rejection:
        place = f"{self._prefix}:{number}"
        if row is None:
            detail = "the row must hold text in UTF-8, some of it is not"
            return _rejected(place, None, Reason.MALFORMED_ROW, detail)
        own_id = self._text("id", row) if "id" in self.columns.known else f"{number:09d}"
        language = (self._text("language", row) or self.config.language or "").replace("_", "-")
        problem = _problem(own_id, language)
        if own_id is None or problem is not None:
            return _rejected(place, None, Reason.MALFORMED_ROW, str(problem))
        audio_id = f"{self._prefix}/{as_id(own_id)}"
        transcript = self.columns.transcript.value(row)
        if transcript is None:
            detail = "the row must have a transcript, it has none"
            return _rejected(audio_id, audio_id, Reason.TRANSCRIPT_MISSING, detail)
        if not isinstance(transcript, str):  # tables without types may change them half-way
            detail = f"the transcript must be text, got {transcript!r}"
            return _rejected(audio_id, audio_id, Reason.MALFORMED_ROW, detail)
        return Candidate(
            audio_id=audio_id,
            entry=self.entry,
            audio_path=str(address),
            transcript=transcript,
            language=language,
            speaker=self._speaker(row),
            corpus_split=self._corpus_split(row),
            source=self._source(row),
            extra=self._extra(row),
        )

    def _text(self, field: str, row: Row) -> str | None:
        column = self.columns.known.get(field)
        return None if column is None else column.text(row)

    def _speaker(self, row: Row) -> Speaker:
        speaker = self._text("speaker", row)
        if speaker is not None and self.config.hash_speakers:
            speaker = hash128(self.speaker_salt, speaker)
        return Speaker(
            id=speaker,
            gender=gender_of(self._text("gender", row)),
            age=self._text("age", row),
            accent=self._text("accent", row),
            emotion=self._text("emotion", row),
        )

    def _corpus_split(self, row: Row) -> str | None:
        if "split" not in self.columns.known:
            return self.corpus_split
        return split_of(self._text("split", row) or "")

    def _source(self, row: Row) -> Source:
        licence, attribution = self._text("licence", row), self._text("attribution", row)
        if licence is None and attribution is None:
            return self.source
        return replace(
            self.source,
            licence=licence or self.source.licence,
            attribution=attribution or self.source.attribution,
        )

    def _extra(self, row: Row) -> dict[str, str]:
        texts = {column.name: column.text(row) for column in self.columns.extra}
        return {name: text for name, text in texts.items() if text is not None}


def _problem(own_id: str | None, language: str) -> str | None:
    """Tells what is wrong with a row, None where it can be used."""
    if own_id is None or len(own_id) > MAX_ID_CHARACTERS:
        found = "nothing" if own_id is None else f"{len(own_id)} characters"
        return f"the id must be of 1 to {MAX_ID_CHARACTERS} characters, got {found}"
    if not is_language_tag(language):
        return f"the language must be a tag such as zh-CN, got {language[:40]!r}"
    return None


def _rejected(row_id: str, audio_id: str | None, reason: Reason, detail: str) -> Rejection:
    return Rejection(row_id=row_id, audio_id=audio_id, step=_STEP, reason=reason, detail=detail)
