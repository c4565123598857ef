"""The doors of manifest corpora: their lines, and the archives that hold their audio.

Every line must come back as a candidate or as a rejection. What a damaged archive still gives
is opened as ingest does; each of its members is a clip or a rejection.
"""

import io
import json
import random
import tarfile
import zipfile
from itertools import count
from pathlib import Path

import numpy as np
import soundfile as sf
from fuzzing.corpora_doors import listed
from fuzzing.documents import Document, as_json, changed
from fuzzing.mutating import Mutator
from fuzzing.stored_doors import JSON
from fuzzing.trial import Door, Taken, Target, must, taken_from

from sllm_data.corpora.config import Bounds, ManifestConfig
from sllm_data.corpora.opening import open_candidate
from sllm_data.records import Candidate, Rejection

_BOM = b"\xef\xbb\xbf"
_TAR_BLOCK = 512


def _clip(seed: int) -> bytes:
    target = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 800)
    sf.write(target, noise, 16_000, format="WAV")
    return target.getvalue()


def _open_lines(folder: Path) -> Door:
    path = folder / "talks.jsonl"
    (folder / "wavs").mkdir()
    (folder / "wavs/a.wav").write_bytes(_clip(1))
    (folder / "talks.tar").write_bytes(_tar())
    (folder / "out.wav").symlink_to("/etc/hosts")
    configs = [
        ManifestConfig(kind="manifest", path=path, **fields)
        for fields in ({"language": "en"}, {"language": None}, {"archive": "{shard}.tar"})
    ]

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        rows = listed(configs[content.count(b"a") % len(configs)], unique=False)
        lines = content.split(b"\n")
        lines[0] = lines[0].removeprefix(_BOM)
        num_lines = sum(bool(line.removesuffix(b"\r").strip()) for line in lines)
        must(len(rows) == num_lines, f"{num_lines} lines gave {len(rows)} rows")
        return taken_from(rows)

    return door


def _open_archive(folder: Path) -> Door:
    bounds = Bounds(min_duration_s=0.01)
    numbers = count()
    names = ("a.wav", "b.wav", "sub/c.wav", "link.wav", "../d.wav", "none.wav")

    def door(content: bytes) -> Taken:
        # an index of an archive is kept by path, time and size: each input is a new file
        suffix = ".zip" if b"PK" in content[:8] or content[-22:].startswith(b"PK") else ".tar"
        archive = folder / f"{next(numbers)}{suffix}"
        manifest = folder / "talks.jsonl"
        lines = [{"audio_filepath": f"{archive.name}:{name}", "text": "x"} for name in names]
        manifest.write_text("\n".join(map(json.dumps, lines)))
        archive.write_bytes(content)
        config = ManifestConfig(kind="manifest", path=manifest, language="en")
        try:
            rows = listed(config, unique=False)
            must(len(rows) == len(names), f"{len(names)} lines gave {len(rows)} rows")
            opened = [
                open_candidate(row, config=config, bounds=bounds)
                if isinstance(row, Candidate)
                else row
                for row in rows
            ]
        finally:
            archive.unlink()
        for row in opened:
            if not isinstance(row, Rejection):
                must(row.content in content or suffix == ".zip", "bytes that are not there")
        return taken_from(opened)

    return door


def _tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, name in enumerate(("./a.wav", "b.wav", "sub/c.wav", f"{'long' * 40}.wav")):
            info = tarfile.TarInfo(name)
            clip = _clip(number)
            info.size = len(clip)
            archive.addfile(info, io.BytesIO(clip))
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hosts"
        archive.addfile(link)
    return target.getvalue()[: -16 * _TAR_BLOCK]


def _zip(compression: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for number, name in enumerate(("a.wav", "b.wav", "sub/c.wav")):
            archive.writestr(name, _clip(number))
    return target.getvalue()


def _archives() -> list[bytes]:
    return [_tar(), _zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_DEFLATED)]


def _craft_tar(rng: random.Random) -> bytes:
    """A tar whose headers were changed and then given the right checksums."""
    tar = bytearray(_ARCHIVES.mutate(rng, _TAR, _TAR))
    for at in range(0, len(tar) - _TAR_BLOCK + 1, _TAR_BLOCK):
        if tar[at + 257 : at + 262] == b"ustar":
            tar[at + 148 : at + 156] = b" " * 8
            total = sum(tar[at : at + _TAR_BLOCK])
            tar[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(tar)


_TAR = _tar()
_ARCHIVES = Mutator(
    tokens=(
        *(b"ustar", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"),
        *("0000000", "7777777", "path=../x\n", "size=-1\n", "GNU.sparse.map=0,1\n", "L", "x", "K"),
        *(b"\x80\x00\x00\x00\x00\x00\x00\x01", b"\xff" * 12, "12 size=99\n", "a.wav", "sub/c.wav"),
    ),
    max_bytes=1 << 15,
)
_LINES: tuple[Document, ...] = (
    {"audio_filepath": "wavs/a.wav", "text": "hello", "duration": 1.5, "offset": 0.25, "id": "a"},
    {
        "audio_filepath": "talks.tar:a.wav",
        "text": "é",
        "lang": "zh_CN",
        "speaker": 7,
        "gender": "F",
        "age": "20",
        "split": "dev",
        "more": {"x": [1, None]},
    },
    {"audio_filepath": "b.wav", "text": "x", "shard_id": "talks", "duration": 1, "language": "en"},
)


def _craft_lines(rng: random.Random) -> bytes:
    lines = rng.choices(_LINES, k=rng.randint(1, 5))
    lines[0] = changed(rng, lines[0], words=_VALUES)
    return rng.choice((b"\n", b"\r\n")).join(as_json(rng, line) for line in lines)


_VALUES: tuple[Document, ...] = (
    *(
        "wavs/a.wav",
        "talks.tar:b.wav",
        "talks.tar:../x",
        "talks.tar:link.wav",
        "out.wav",
        "a.tgz:x",
    ),
    *("talks", "train", "female", "xx-YY", 1e7, 1e8, -0.0, 0, "1.5", [1.5], "talks.zip:x", "wavs"),
)
TARGETS = (
    Target(
        name="manifest",
        open=_open_lines,
        seeds=lambda: [b"\n".join(json.dumps(line).encode() for line in _LINES), b"{}\n"],
        mutator=Mutator(tokens=(*JSON.tokens, *map(str, _VALUES), '"text"'), max_bytes=1 << 12),
        craft=_craft_lines,
    ),
    Target(
        name="archive",
        open=_open_archive,
        seeds=_archives,
        mutator=_ARCHIVES,
        craft=_craft_tar,
        in_child=True,
    ),
)
