import struct

from hypothesis import given
from hypothesis import strategies as st

from sllm_data.audio.claims import flac_claim, is_flac, missing_wav_bytes, mp3_has_count

FLAC_HEADER = b"fLaC\x00\x00\x00\x22" + bytes(13) + b"\xf1\x00\x00\x00\x02" + bytes(16)


def wav(data: bytes, *, claimed: int | None = None, before: bytes = b"") -> bytes:
    size = len(data) if claimed is None else claimed
    format_chunk = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + format_chunk + before + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_the_claim_of_a_flac_header_is_its_36_bits_without_the_bits_before_them() -> None:
    assert is_flac(FLAC_HEADER)
    assert flac_claim(FLAC_HEADER) == 0x1_0000_0002


def test_a_flac_header_with_zero_samples_claims_nothing() -> None:
    assert flac_claim(FLAC_HEADER[:21] + bytes(21)) is None


@given(st.binary(max_size=64))
def test_short_or_other_bytes_are_judged_without_an_error(content: bytes) -> None:
    for start in (b"", b"fLaC", b"ID3", b"RIFF1234WAVE", b"RIFF1234WAVEdata"):
        is_flac(start + content)
        mp3_has_count(start + content)
        missing_wav_bytes(start + content)


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=40))
def test_a_wav_misses_exactly_the_bytes_that_were_cut_off(data: bytes, cut: int) -> None:
    cut = min(cut, len(data))
    content = wav(data, before=b"LIST\x03\x00\x00\x00abc\x00")
    assert missing_wav_bytes(content[: len(content) - cut]) == cut


def test_sizes_that_mean_unknown_are_not_taken_for_missing_bytes() -> None:
    assert missing_wav_bytes(wav(b"ab", claimed=0xFFFF_FFFF)) == 0
    assert missing_wav_bytes(wav(b"ab", claimed=0x7FFF_F000)) == 0


def test_a_wav_without_a_data_chunk_misses_nothing() -> None:
    assert missing_wav_bytes(b"RIFF\x04\x00\x00\x00WAVE") == 0


def test_a_frame_count_is_found_behind_an_id3_tag() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    assert mp3_has_count(tag + b"\xff\xfb" + bytes(34) + b"Xing")
    assert not mp3_has_count(tag + bytes(300) + b"Xing")
