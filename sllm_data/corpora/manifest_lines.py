"""One line of a manifest: bytes in, what it says of an utterance out, or what is wrong with it.

Files are not looked at, and ids not made: a line is judged by itself alone. Any bytes give
a row or a reason, never an error.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sllm_data.corpora.audio_file import Unfit
from sllm_data.corpora.ids import MAX_ID_CHARACTERS
from sllm_data.corpora.manifest_config import ManifestColumns
from sllm_data.corpora.options import is_language_tag
from sllm_data.records import Reason

_MAX_TIME_S = 1e7  # 115 days
_MAX_FOUND_CHARACTERS = 60

Value = Any  # Any: a JSON value
Keys = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """What a line says, with the types it should have; None is unknown."""

    audio: str
    """Path of a file or of a member; printable."""
    transcript: str
    start_s: float | None
    """None where the row is all of its file."""
    duration_s: float | None
    id: str | None
    language: str | None
    speaker: str | None
    gender: str | None
    age: str | None
    accent: str | None
    emotion: str | None
    split: str | None
    shard: str | None
    extra: Mapping[str, str]
    """All other keys; what is no text as JSON."""


class MalformedLineError(Exception):
    """Says in one line what was expected and what was found."""


def parse_line(content: bytes, columns: ManifestColumns) -> ManifestRow | Unfit:
    """Reads one line, without its end.

    Returns:
        What it says, or why it can't be used.
    """
    try:
        return _row(_Line(read_object(content)), columns)
    except MalformedLineError as error:
        return Reason.MALFORMED_ROW, str(error)
    except RecursionError:
        return Reason.MALFORMED_ROW, "a line must be one JSON object, is nested too deep"


def read_object(content: bytes) -> dict[str, Value]:
    """Reads a line as a JSON object of sound text and finite numbers.

    Raises:
        MalformedLineError: It is none.
        RecursionError: It is nested too deep.
    """
    try:
        text = content.decode("utf-8")
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        # raw NUL bytes are no JSON; these two come in by escapes only
        if "\\u" in text and not all(map(_is_sound, _texts(value))):
            raise MalformedLineError("text must be Unicode without NUL, an escape makes it none")
    except UnicodeDecodeError as error:
        raise MalformedLineError(
            f"a line must be UTF-8, byte {error.start} of it is not"
        ) from error
    except json.JSONDecodeError as error:
        found = f"{error.msg} at character {error.pos + 1}"
        raise MalformedLineError(f"a line must be one JSON object, found: {found}") from error
    except ValueError as error:
        raise MalformedLineError("numbers must be finite and of a usual length") from error
    if not isinstance(value, dict):
        raise MalformedLineError(f"a line must be one JSON object, got {_shown(value)}")
    return value


def _row(line: "_Line", columns: ManifestColumns) -> ManifestRow | Unfit:
    audio = line.text(columns.audio)
    if not audio or not audio.isprintable():
        _expected(columns.audio, "a path in printable text", audio)
    start_s, duration_s = line.seconds(columns.offset), line.seconds(columns.duration)
    if duration_s == 0:
        _expected(columns.duration, "above 0", duration_s)
    language = line.text(columns.language)
    if language is not None and not is_language_tag(language.replace("_", "-")):
        _expected(columns.language, "a tag such as zh-CN", language)
    own_id = line.label(columns.id)
    if own_id is not None and len(own_id) > MAX_ID_CHARACTERS:
        _expected(columns.id, f"of at most {MAX_ID_CHARACTERS} characters", own_id)
    transcript = line.text(columns.transcript)
    if transcript is None:
        return Reason.TRANSCRIPT_MISSING, f"{_named(columns.transcript)} must be there, is not"
    return ManifestRow(
        audio=audio,
        transcript=transcript,
        start_s=None if duration_s is None and not start_s else start_s,
        duration_s=duration_s,
        id=own_id or None,
        language=None if language is None else language.replace("_", "-"),
        speaker=line.label(columns.speaker),
        gender=line.text(columns.gender),
        age=line.label(columns.age),
        accent=line.text(columns.accent),
        emotion=line.text(columns.emotion),
        split=line.text(columns.split),
        shard=line.label(columns.shard),
        extra=line.rest(),
    )


class _Line:
    """The values of one line; those that are asked for are no extra."""

    def __init__(self, document: dict[str, Value]) -> None:
        self._document = {key: value for key, value in document.items() if value is not None}

    def text(self, keys: Keys) -> str | None:
        value = self._take(keys)
        if value is not None and not isinstance(value, str):
            _expected(keys, "text", value)
        return value

    def label(self, keys: Keys) -> str | None:
        """Text, or a whole number as text."""
        value = self._take(keys)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None and not isinstance(value, str):
            _expected(keys, "text or a whole number", value)
        return value

    def seconds(self, keys: Keys) -> float | None:
        value = self._take(keys)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= _MAX_TIME_S:
            _expected(keys, f"a number of seconds from 0 to {_MAX_TIME_S:,.0f}", value)
        return float(value) + 0.0  # no negative zero

    def rest(self) -> dict[str, str]:
        return {
            key: value if isinstance(value, str) else _as_json(value)
            for key, value in self._document.items()
        }

    def _take(self, keys: Keys) -> Value:
        key = next((key for key in keys if key in self._document), None)
        return None if key is None else self._document.pop(key)


def _as_json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


def _texts(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_sound(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _expected(keys: Keys, rule: str, found: Value) -> NoReturn:
    raise MalformedLineError(f"{_named(keys)} must be {rule}, got {_shown(found)}")


def _named(keys: Keys) -> str:
    return " or ".join(keys)


def _shown(value: Value) -> str:
    return repr(value)[:_MAX_FOUND_CHARACTERS]
