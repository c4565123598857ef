"""The sound of rows as files: a whole clip as it came, a stretch of one cut out as FLAC.

    audio/<audio_id>.<codec>          a clip; the same bytes as in the dataset
    cuts/<audio_id>/<from>-<to>.flac  frames [from, to) of it, 16 bit, at its own rate

Each is written once, however many rows use it: that it is there is what tells, so nothing has
to be remembered. Ids whose parts are no plain names stand as hashes below `audio/_`.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from sllm_data.audio.decode import DecodedClip, UndecodableAudioError, decode
from sllm_data.audio.segments import Samples as Frames
from sllm_data.audio.segments import as_flac
from sllm_data.errors import ShardError
from sllm_data.exporting.rows import ClipFacts, ClipRef, Heard
from sllm_data.seeding import hash128
from sllm_data.shards.pages import StoredClips

_PLAIN = re.compile(
    r"(?!_/)(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,99}/)*[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
)
_EXTENSIONS = {"ogg/opus": "opus", "ogg/vorbis": "ogg"}


class ClipSource:
    """The clips of a dataset, as bytes and as samples."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stored = StoredClips(root)
        self._last: tuple[ClipRef, DecodedClip] | None = None

    def bytes_of(self, clip: ClipRef) -> bytes:
        """Returns a clip as it is stored.

        Raises:
            ShardError: Its part can't be read, or lacks it.
        """
        return self._stored.bytes_of(*clip)

    def stretch(self, heard: Heard) -> Frames:
        """Returns a stretch, int16 (num_samples, num_channels), with its change of level.

        Raises:
            ShardError: The clip can't be read or decoded.
        """
        clip: Frames = self._decoded(heard.clip).samples
        samples = clip[heard.start : heard.start + heard.num_samples]
        if not heard.gain_db:
            return samples
        limits = np.iinfo(np.int16)
        louder = np.rint(samples * 10.0 ** (heard.gain_db / 20.0))
        clipped: Frames = np.clip(louder, limits.min, limits.max).astype(np.int16)
        return clipped

    def flac(self, heard: Heard) -> bytes:
        """Returns a stretch as FLAC.

        Raises:
            ShardError: The clip can't be read, or FLAC has no room for its channels or rate.
        """
        try:
            return as_flac(self.stretch(heard), heard.facts.rate_hz)
        except UndecodableAudioError as error:
            raise ShardError(f"{self._root}: {heard.clip.audio_id}: {error}") from error

    def close(self) -> None:
        """Closes all parts."""
        self._stored.close()

    def _decoded(self, clip: ClipRef) -> DecodedClip:
        if self._last is None or self._last[0] != clip:  # a row's stretches are of one clip
            try:
                self._last = clip, decode(self.bytes_of(clip))
            except UndecodableAudioError as error:
                raise ShardError(
                    f"{self._root}: {clip.audio_id} must be audio: {error}; "
                    "`sllm-data validate --level 2` tells what else is wrong"
                ) from error
        return self._last[1]


class ClipFiles:
    """Clips and stretches as files below a folder."""

    def __init__(self, folder: Path, source: ClipSource) -> None:
        self._folder = folder
        self._source = source

    def clip(self, clip: ClipRef, facts: ClipFacts) -> str:
        """Writes a whole clip, where it is not there yet.

        Returns:
            Its path below the folder, with forward slashes.
        """
        name = f"audio/{_stem(clip.audio_id)}.{extension(facts.codec)}"
        path = self._folder / name
        if not path.exists():
            _write(path, self._source.bytes_of(clip))
        return name

    def heard(self, heard: Heard) -> str:
        """Writes what is heard: the clip, or a file of the stretch alone.

        Returns:
            Its path below the folder, with forward slashes.
        """
        if heard.is_whole:
            return self.clip(heard.clip, heard.facts)
        level = f"_{heard.gain_db:+g}dB" if heard.gain_db else ""
        end = heard.start + heard.num_samples
        name = f"cuts/{_stem(heard.clip.audio_id)}/{heard.start}-{end}{level}.flac"
        path = self._folder / name
        if not path.exists():
            _write(path, self._source.flac(heard))
        return name


def extension(codec: str) -> str:
    """Returns the end of a file's name for a codec, without the dot.

    >>> extension("flac/pcm_16"), extension("mp3/mpeg_layer_iii"), extension("ogg/opus")
    ('flac', 'mp3', 'opus')
    >>> extension("../x")
    'audio'
    """
    container = codec.partition("/")[0]
    name = _EXTENSIONS.get(codec) or {"wavex": "wav", "rf64": "wav"}.get(container, container)
    return name if name.isalnum() else "audio"


def _stem(audio_id: str) -> str:
    if _PLAIN.fullmatch(audio_id):
        return str(PurePosixPath(audio_id))
    return f"_/{hash128(audio_id)}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
