"""Segments of long files as clips of their own: cut, encoded as FLAC, handed over in order.

A segment can't keep the bytes it came in, so it is stored as FLAC: the same samples, 16 bit,
at the native rate. Only a segment that is all of its file keeps the file's bytes.

1. The segments of a part are sorted by file and time; each file is opened once and gone
   through from its beginning to its end.
2. The cuts go to a file without a name, since rows stand in another order: by audio_id.
3. They are read back one by one.

Memory: one cut, and some 300 bytes a segment of the part. A kill leaves nothing behind.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import IO

from sllm_data.audio.decode import OverlongAudioError, UndecodableAudioError
from sllm_data.audio.segments import BeyondEndError, SegmentReader, as_flac
from sllm_data.audio.window import FileWindow
from sllm_data.corpora.audio_file import AudioFile, Unfit
from sllm_data.corpora.options import Bounds
from sllm_data.corpora.sources import long_file, read_file
from sllm_data.errors import OutputError
from sllm_data.records import Candidate, Reason
from sllm_data.units import Seconds

_IN_MEMORY_BYTES = 4 * 2**20  # the cuts of a smaller part never touch the disk


def cut_file(
    root: Path, segments: Sequence[Candidate], bounds: Bounds
) -> Iterator[AudioFile | Unfit]:
    """Cuts segments out of one file, in the order given; by rising start it is read once.

    Args:
        root: The corpus folder.
        segments: Candidates with one `audio_path`, each with its `start_s`.
        bounds: What a usable clip is.

    Raises:
        CorpusError: The storage failed while reading, or an archive as a whole is unreadable.
    """
    relative = segments[0].audio_path
    with long_file(root, relative, max_bytes=bounds.max_file_bytes) as source:
        if not isinstance(source, FileWindow):
            yield from (source for _ in segments)
            return
        try:
            reader = SegmentReader(source)
        except UndecodableAudioError as error:
            yield from ((Reason.UNREADABLE_AUDIO, str(error)) for _ in segments)
            return
        with reader:
            for segment in segments:
                cut = _cut(reader, segment, bounds)
                yield _whole(root, segment, bounds) if cut is None else cut


def _cut(reader: SegmentReader, segment: Candidate, bounds: Bounds) -> AudioFile | Unfit | None:
    """Cuts one segment; None where it is all of the file."""
    duration_s = segment.duration_s
    if duration_s is not None and duration_s < bounds.min_duration_s:
        rule = f"must last at least {bounds.min_duration_s:g} s"
        return Reason.TOO_SHORT, f"{rule}, the segment lasts {duration_s:g} s"
    try:
        cut = reader.cut(
            Seconds(segment.start_s or 0.0),
            None if duration_s is None else Seconds(duration_s),
            max_duration_s=bounds.max_duration_s,
        )
        if cut.is_whole:
            return None
        content = as_flac(cut.samples, reader.sampling_rate)
    except BeyondEndError as error:
        return Reason.BEYOND_END, str(error)
    except OverlongAudioError as error:
        return Reason.TOO_LONG, str(error)
    except UndecodableAudioError as error:
        return Reason.UNREADABLE_AUDIO, str(error)
    return AudioFile(
        content=content,
        name=f"{segment.audio_id.rpartition('/')[2]}.flac",
        extra={
            "segment_of": segment.audio_path,
            "segment_start_s": repr(segment.start_s),
            "segment_codec": reader.codec,
        },
    )


def _whole(root: Path, segment: Candidate, bounds: Bounds) -> AudioFile | Unfit:
    return read_file(root, segment.audio_path, max_bytes=bounds.max_file_bytes)


class Cuts:
    """The cuts of a part by the audio_id of their candidates, in a file without a name."""

    def __init__(self, file: IO[bytes], scratch: Path) -> None:
        self._file = file
        self._scratch = scratch
        self._places: dict[str, tuple[AudioFile, int, int]] = {}
        self._unfit: dict[str, Unfit] = {}

    def put(self, audio_id: str, cut: AudioFile | Unfit) -> None:
        """Keeps a cut, or why there is none.

        Raises:
            OutputError: There is no room.
        """
        if not isinstance(cut, AudioFile):
            self._unfit[audio_id] = cut
            return
        try:
            place = self._file.tell()
            self._file.write(cut.content)
        except OSError as error:
            raise OutputError(
                f"{self._scratch}: segments can't be put aside there: {error.strerror or error}; "
                "make room, then run the same command again"
            ) from error
        self._places[audio_id] = replace(cut, content=b""), place, len(cut.content)

    def get(self, audio_id: str) -> AudioFile | Unfit:
        """Returns what was put; after the first of these nothing may be put."""
        if audio_id in self._unfit:
            return self._unfit[audio_id]
        cut, place, num_bytes = self._places[audio_id]
        self._file.seek(place)
        return replace(cut, content=self._file.read(num_bytes))


@contextmanager
def cut_part(
    segments: Iterable[Candidate], entries: Sequence[tuple[Path, Bounds]], *, scratch: Path
) -> Iterator[Cuts]:
    """Cuts the segments of a part, file by file, and lets them be fetched in any order.

    Args:
        segments: Candidates with a `start_s`, in any order.
        entries: Folder and bounds of each corpus entry.
        scratch: A folder on a disk with room for the cuts.

    Raises:
        CorpusError: As for `cut_file`.
        OutputError: There is no room.
    """
    in_order = sorted(segments, key=lambda s: (s.entry, s.audio_path, s.start_s or 0.0))
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(scratch)) as file:
        cuts = Cuts(file, scratch)
        for (entry, _), of_file in groupby(in_order, key=lambda s: (s.entry, s.audio_path)):
            root, bounds = entries[entry]
            group = list(of_file)
            for segment, cut in zip(group, cut_file(root, group, bounds), strict=True):
                cuts.put(segment.audio_id, cut)
        yield cuts
