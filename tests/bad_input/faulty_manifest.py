"""A manifest with every fault of its lines, over a file of three hours and a tar."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sllm_data.records import Reason
from tests.bad_input.planted import Planted
from tests.bad_input.spoken_clips import clip, tar_of


def write_faulty_manifest(folder: Path, planted: Planted, *, three_hours: str) -> None:
    (folder / "talk.flac").write_bytes(clip(300))
    (folder / "talks.tar").write_bytes(
        tar_of({"in.flac": clip(301), "../out.flac": clip(302), "link.flac": "../secret.flac"})
    )
    lines = [
        _line("tar", "talks.tar:in.flac"),
        _line("segment", three_hours, offset=10_000.25, duration=2.0),
    ]
    planted.good += ["talks/1/en/tar", "talks/1/en/segment"]
    for name, reason, line in _spoilt_objects():
        lines.append(line)
        where = f"talks/1/talks.jsonl:{len(lines)}"
        planted.fault(name, "candidates", reason, where)
    for name, reason, line in (
        (
            "a segment beyond the end of its file",
            Reason.BEYOND_END,
            _line("beyond", three_hours, offset=10_799.5, duration=2.0),
        ),
        (
            "a duration that is not the file's",
            Reason.WRONG_DURATION,
            _line("wrong", "talk.flac", duration=9.5),
        ),
    ):
        lines.append(line)
        planted.fault(name, "ingest", reason, f"talks/1/en/{json.loads(line)['id']}")
    lines.append(lines[0])
    planted.fault("an id of a manifest twice", "candidates", Reason.DUPLICATE_ID, "talks/1/en/tar")
    lines.append(lines[0][:-20])
    planted.fault(
        "a torn last line of a manifest",
        "candidates",
        Reason.MALFORMED_ROW,
        f"talks/1/talks.jsonl:{len(lines)}",
    )
    (folder / "talks.jsonl").write_bytes(b"\r\n".join(lines))


def _spoilt_objects() -> Iterator[tuple[str, Reason, bytes]]:
    outside, malformed = Reason.PATH_OUTSIDE_CORPUS, Reason.MALFORMED_ROW
    missing = Reason.AUDIO_MISSING
    yield "a path out of the manifest's folder", outside, _line("a", "../secret.flac")
    yield "a tar member with .. in its name", outside, _line("b", "talks.tar:../out.flac")
    yield "a tar member that is a link", missing, _line("c", "talks.tar:link.flac")
    yield "a tar member that is not there", missing, _line("d", "talks.tar:no.flac")
    yield "a line without its text", Reason.TRANSCRIPT_MISSING, _line("e", "talk.flac", text=None)
    yield "a line without its audio", malformed, _line("f", None)
    yield "half a surrogate pair as JSON", malformed, _line("g", "talk.flac", text="\ud800")
    yield "a NUL as JSON", malformed, _line("h", "talk.flac", text="\x00")
    yield "a duration that is no number", malformed, _line("i", "talk.flac", duration=float("nan"))
    yield "a line that is no object", malformed, b'["talk.flac", "Hello."]'
    yield "a manifest in Latin-1", malformed, _line("j", "talk.flac").replace(b"j", b"\xfc")


def _line(own_id: str, path: str | None, **fields: Any) -> bytes:
    row = {"id": own_id, "audio_filepath": path, "text": "This one is spoken."} | fields
    return json.dumps(row).encode()
