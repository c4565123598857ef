"""Small corpora on disk, in the layouts of the archives, for the tests of this folder."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

CV_COLUMNS = (
    "client_id",
    "path",
    "sentence_id",
    "sentence",
    "sentence_domain",
    "up_votes",
    "down_votes",
    "age",
    "gender",
    "accents",
    "variant",
    "locale",
    "segment",
)


@pytest.fixture(scope="session")
def speech_bytes() -> Callable[..., bytes]:
    """Makes an audio file: noise at a level, of a length, in a container."""

    def make(
        duration_s: float = 1.0, *, peak: float = 0.5, rate: int = 16_000, container: str = "FLAC"
    ) -> bytes:
        noise = np.random.default_rng(7).uniform(-peak, peak, (round(duration_s * rate), 1))
        target = io.BytesIO()
        sf.write(target, noise, rate, format=container)
        return target.getvalue()

    return make


@pytest.fixture
def librispeech(tmp_path: Path) -> Callable[..., Path]:
    """Writes files below a LibriSpeech folder, by their path; returns the folder."""
    root = tmp_path / "LibriSpeech"

    def write(files: Mapping[str, bytes | str]) -> Path:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


@pytest.fixture
def common_voice(tmp_path: Path) -> Callable[..., Path]:
    """Writes one table of a locale and its clips (empty files); returns the release's folder."""
    root = tmp_path / "cv-corpus-17.0-2024-03-15"

    def write(
        rows: Sequence[Mapping[str, str]],
        *,
        locale: str = "en",
        table: str = "validated",
        columns: Sequence[str] = CV_COLUMNS,
        clips: Sequence[str] | None = None,
        newline: str = "\n",
    ) -> Path:
        folder = root / locale
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(columns)]
        lines += ["\t".join(cell(row, column, locale) for column in columns) for row in rows]
        text = newline.join(lines) + newline
        (folder / f"{table}.tsv").write_bytes(text.encode())
        for clip in [row["path"] for row in rows] if clips is None else clips:
            (folder / "clips" / clip).touch()
        return root

    def cell(row: Mapping[str, str], column: str, locale: str) -> str:
        defaults = {
            "client_id": "f00d",
            "sentence": "Hello.",
            "up_votes": "2",
            "down_votes": "0",
            "locale": locale,
        }
        return row.get(column, defaults.get(column, ""))

    return write
