"""The decoded clips of rows, each read from its part of `audio/` without its neighbours."""

from collections.abc import Sequence
from pathlib import Path

from sllm_data.audio.decode import DecodedClip, decode
from sllm_data.shards.pages import StoredClips


class Clips:
    """The clips of a dataset; the parts of `audio/` that were read last stay open."""

    def __init__(self, root: Path) -> None:
        self._stored = StoredClips(root)

    def clips_of(self, audio_refs: Sequence[tuple[int, str]]) -> tuple[DecodedClip, ...]:
        """Returns the decoded clips of a row, in the order in which it names them.

        Raises:
            ShardError: A clip is not there.
            UndecodableAudioError: Its bytes are no audio.
        """
        return tuple(decode(self._stored.bytes_of(*ref)) for ref in audio_refs)

    def close(self) -> None:
        """Closes all parts."""
        self._stored.close()
