"""Which column of a Hugging Face dataset holds what, told by names and types alone.

No row is looked at here: a dataset that lacks audio or transcripts ends at once, with the
columns that it has.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from sllm_data.corpora.folders import named
from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.corpora.huggingface_library import Features
from sllm_data.corpora.huggingface_splits import Row
from sllm_data.errors import CorpusError

_OF_THE_ENTRY = ("language", "licence", "attribution")
_NOT_KEPT = ("client_id", "__url__")  # a person; a path of this machine
_TEXTS = ("string", "large_string")
_BYTES = ("binary", "large_binary")
_PLAIN = ("bool", "int", "uint", "float", "string", "large_string", "date", "time", "decimal")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column, or a field within one of structs."""

    keys: tuple[str, ...]
    """The column's name, then those of the fields down to the value."""
    labels: tuple[str, ...] | None
    """The names that its numbers stand for, where they do."""

    @property
    def name(self) -> str:
        """The column to read from the dataset."""
        return self.keys[0]

    def value(self, row: Row) -> Any:  # Any: as Arrow has it
        """Returns the value in a row as it is, labels by their names; None for none."""
        value: Any = row
        for key in self.keys:
            value = None if value is None else value[key]
        if self.labels is None or value is None:
            return value
        return self.labels[value] if 0 <= value < len(self.labels) else None

    def text(self, row: Row) -> str | None:
        """Returns the value in a row as text without outer space; None for none."""
        value = self.value(row)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return str(value).strip() or None


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The columns of one split by what they mean."""

    audio: Column
    transcript: Column
    known: Mapping[str, Column]
    """By field of HuggingFaceColumns: speaker, language, ...; those that there are."""
    extra: tuple[Column, ...]
    """All other columns of plain values."""

    @property
    def listed(self) -> list[str]:
        """Columns that listing reads: all that count, without the audio."""
        columns = (self.transcript, *self.known.values(), *self.extra)
        return list(dict.fromkeys(column.name for column in columns))

    @property
    def opened(self) -> list[str]:
        """Columns that opening reads: the audio, and the transcript to tell the row by."""
        return list(dict.fromkeys([self.audio.name, self.transcript.name]))


def find_columns(config: HuggingFaceConfig, features: Features) -> Columns:
    """Finds out what the columns of a split mean.

    Raises:
        CorpusError: There is no audio, no transcript, or no column of a name that was set.
    """
    finder = _Finder(config, features)
    audio, transcript = finder.audio(), finder.named_column("transcript")
    if transcript is None or finder.type_of(transcript) not in _TEXTS:
        found = "" if transcript is None else f"{_written(transcript)} is no text; "
        raise CorpusError(
            f"{config.where}: must have a column of transcripts; {found}"
            f"it has: {finder.described()}; name it in columns.transcript"
        )
    fields = [
        name for name in type(config.columns).model_fields if name not in ("audio", "transcript")
    ]
    known = {name: column for name in fields if (column := finder.named_column(name)) is not None}
    taken = {column.keys for column in (audio, transcript, *known.values())}
    extra = [
        finder.column((name,))
        for name in features
        if (name,) not in taken and name not in _NOT_KEPT and finder.is_plain((name,))
    ]
    return Columns(audio=audio, transcript=transcript, known=known, extra=tuple(extra))


class _Finder:
    def __init__(self, config: HuggingFaceConfig, features: Features) -> None:
        self._config = config
        self._features = features

    def audio(self) -> Column:
        """The column that holds encoded audio."""
        column = self.named_column("audio", plain=False)
        if column is not None:
            if _holds_audio(self._feature(column.keys)):
                return column
            raise CorpusError(self._no_audio(column))
        found = [name for name, kind in self._features.items() if isinstance(kind, datasets.Audio)]
        if not found and _holds_audio(self._features.get("audio")):
            found = ["audio"]
        if len(found) > 1:
            raise CorpusError(
                f"{self._config.where}: must have one column of audio, it has: {named(found)}; "
                "name it in columns.audio"
            )
        if not found:
            decoded = Column(keys=("audio",), labels=None) if "audio" in self._features else None
            raise CorpusError(self._no_audio(decoded))
        return self.column((found[0],))

    def named_column(self, field: str, *, plain: bool = True) -> Column | None:
        """The first column that the configuration names for a field, None where none is there."""
        columns = self._config.columns
        is_set = field in columns.model_fields_set
        if not is_set and field in _OF_THE_ENTRY and getattr(self._config, field) is not None:
            return None
        names = getattr(columns, field)
        for name in names:
            keys = self._keys(name)
            if keys is not None and (self.is_plain(keys) or not plain):
                return self.column(keys)
        if is_set and names:
            raise CorpusError(
                f"{self._config.where}: must have a column {named(names)}, as columns.{field} "
                f"says; it has: {self.described()}"
            )
        return None

    def column(self, keys: tuple[str, ...]) -> Column:
        kind = self._feature(keys)
        is_label = isinstance(kind, datasets.ClassLabel)
        return Column(keys=keys, labels=tuple(kind.names) if is_label else None)

    def is_plain(self, keys: tuple[str, ...]) -> bool:
        """Tells whether the values are text, numbers, truth values, dates or labels."""
        kind = self._feature(keys)
        if isinstance(kind, datasets.ClassLabel):
            return True
        return isinstance(kind, datasets.Value) and kind.dtype.startswith(_PLAIN)

    def type_of(self, column: Column) -> str | None:
        return getattr(self._feature(column.keys), "dtype", None)

    def described(self) -> str:
        return named(f"{name} ({_kind(kind)})" for name, kind in self._features.items())

    def _keys(self, name: str) -> tuple[str, ...] | None:
        """The column of a name, or the field that its dots lead to; None for none."""
        if name in self._features:
            return (name,)
        keys = tuple(name.split("."))
        return keys if self._feature(keys) is not None else None

    def _feature(self, keys: tuple[str, ...]) -> Any:  # Any: a feature of any type, or None
        level: Any = self._features
        for key in keys:
            level = level.get(key) if isinstance(level, dict) else None
        return level

    def _no_audio(self, column: Column | None) -> str:
        has = f"it has: {self.described()}"
        if column is not None and _is_decoded(self._feature(column.keys)):
            return (
                f"{self._config.where}: the column {_written(column)} must hold encoded audio, "
                "bytes or a path; it holds decoded samples, from which the original can't be had"
            )
        if column is not None:
            return (
                f"{self._config.where}: the column {_written(column)} must hold encoded audio, "
                f"bytes or a path; {has}"
            )
        return (
            f"{self._config.where}: must have a column of audio; {has}; name it in columns.audio, "
            "or another configuration in config_name"
        )


def _holds_audio(kind: Any) -> bool:  # Any: a feature of any type, or None
    match kind:
        case datasets.Audio():
            return True
        case dict():
            return "array" not in kind and bool({"bytes", "path"} & set(kind))
        case datasets.Value():
            return kind.dtype in (*_TEXTS, *_BYTES)
        case _:
            return False


def _is_decoded(kind: Any) -> bool:  # Any: as above
    if isinstance(kind, dict):
        return "array" in kind
    inner = getattr(kind, "feature", None)
    return getattr(inner, "dtype", "").startswith("float")


def _kind(feature: Any) -> str:  # Any: as above
    if isinstance(feature, datasets.Value):
        return str(feature.dtype)
    return "struct" if isinstance(feature, dict) else type(feature).__name__


def _written(column: Column) -> str:
    return ".".join(column.keys)
