"""Corpora in the layouts of LibriSpeech, Common Voice and NeMo with every fault among good rows.

What is planted is returned, so that a test can look for each fault under its reason: the
names are those of the table in docs/faults.md.
"""

from pathlib import Path
from typing import Any

from tests.bad_input.faulty_common_voice import write_faulty_common_voice
from tests.bad_input.faulty_librispeech import CHAPTER, write_faulty_librispeech
from tests.bad_input.faulty_manifest import write_faulty_manifest
from tests.bad_input.planted import Planted
from tests.bad_input.spoken_clips import clip


def entries(folder: Path) -> list[dict[str, Any]]:
    """The corpora of a run.yaml over what `write_faulty_corpora` wrote."""
    return [
        {"kind": "librispeech", "path": str(folder / "LibriSpeech")},
        {"kind": "common_voice", "path": str(folder / "cv-corpus-9")},
        {
            "kind": "manifest",
            "path": str(folder / "talks.jsonl"),
            "name": "talks",
            "language": "en",
        },
    ]


def write_faulty_corpora(folder: Path) -> Planted:
    """Writes the three corpora below the folder."""
    planted = Planted()
    (folder / "secret.flac").write_bytes(clip(1))  # what no path or link may reach
    write_faulty_librispeech(folder, planted)
    write_faulty_common_voice(folder, planted)
    write_faulty_manifest(folder, planted, three_hours=f"LibriSpeech/{CHAPTER}/9990-1-0040.flac")
    return planted
