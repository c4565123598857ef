"""What the header of a clip claims about its length, where libsndfile can't be trusted.

Decoding is not done here. libsndfile believes a FLAC header that claims too little, repairs
a WAV file that was cut off without a word, and guesses the length of an MP3 without a frame
count; a transcript must not be paired with half of its audio on the strength of that.
"""

import struct

_FLAC_TOTAL = slice(21, 26)  # the low 4 bits of byte 21 and bytes 22-25: total samples
_UNKNOWN_WAV_SIZE = 0x7FFF_0000  # writers into pipes put 0x7fff.... or 0xffffffff
_MP3_COUNT_TAGS = (b"Xing", b"Info", b"VBRI")
_FIRST_FRAME = 256  # the tags stand within the first 44 bytes of the first frame


def is_flac(content: bytes) -> bool:
    """Tells whether the bytes begin as native FLAC with a stream description."""
    return content[:4] == b"fLaC" and len(content) >= _FLAC_TOTAL.stop and content[4] & 0x7F == 0


def flac_claim(content: bytes) -> int | None:
    """Returns the number of samples that a FLAC header claims, None where it says unknown."""
    return int.from_bytes(content[_FLAC_TOTAL]) & 0xF_FFFF_FFFF or None


def forget_flac_claim(header: memoryview) -> None:
    """Overwrites the claim with "unknown", so that decoding goes on to the true end."""
    header[_FLAC_TOTAL] = bytes([header[_FLAC_TOTAL.start] & 0xF0, 0, 0, 0, 0])


def mp3_has_count(content: bytes) -> bool:
    """Tells whether an MP3 says how many frames it has; otherwise its length is a guess."""
    start = 0
    if content[:3] == b"ID3" and len(content) >= 10:  # noqa: PLR2004 - the tag's own header
        size = content[6] << 21 | content[7] << 14 | content[8] << 7 | content[9]
        start = 10 + size
    frame = content[start : start + _FIRST_FRAME]
    return any(tag in frame for tag in _MP3_COUNT_TAGS)


def missing_wav_bytes(content: bytes) -> int:
    """Returns how many bytes of samples a WAV file announces but does not hold.

    0 for anything that is no RIFF file and for sizes that stand for "unknown".
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return 0
    position = 12
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        position += 8
        if name == b"data":
            return 0 if size >= _UNKNOWN_WAV_SIZE else max(0, position + size - len(content))
        position += size + size % 2
    return 0
