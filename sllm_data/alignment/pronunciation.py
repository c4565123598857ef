"""How English words sound that a dictionary lacks: by espeak-ng, in the dictionary's phonemes."""

# ruff: noqa: RUF001 - IPA looks like Latin

import ctypes
import re
from collections.abc import Sequence

from sllm_data.audio.espeak import espeak_data, fresh_espeak

_UTF8 = 1
_IPA = 0x02
_BETWEEN = "_"  # stands between two phonemes, so that `tʃ` is one
_STRESS = str.maketrans("", "", "\u02c8\u02cc")

# ARPAbet as in CMU's dictionary, without stress, for each phoneme of espeak-ng's American English
_ARPABET = {
    "ɑː": "AA", "ɑ": "AA", "ɑ̃": "AA N", "æ": "AE", "ɐ": "AH", "ʌ": "AH", "ə": "AH", "ɔ": "AO",
    "ɔː": "AO", "aʊ": "AW", "aɪ": "AY", "aɪɚ": "AY ER", "aɪə": "AY AH", "ɛ": "EH", "ɚ": "ER",
    "ɜː": "ER", "eɪ": "EY", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "iː": "IY", "iə": "IY AH",
    "oʊ": "OW", "ɔɪ": "OY", "ʊ": "UH", "uː": "UW", "əl": "AH L", "n̩": "AH N", "ɑːɹ": "AA R",
    "ɔːɹ": "AO R", "oːɹ": "AO R", "ɪɹ": "IH R", "ʊɹ": "UH R", "ɛɹ": "EH R",
    "b": "B", "tʃ": "CH", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "h": "HH", "dʒ": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "nʲ": "N Y", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R",
    "s": "S", "ʃ": "SH", "t": "T", "ɾ": "T", "ʔ": "T", "θ": "TH", "v": "V", "w": "W", "x": "K",
    "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip


def pronounce(words: Sequence[str]) -> list[str]:
    """Returns the phonemes of each word in ARPAbet, such as `N EY T OW`; empty for no sound.

    Numbers and abbreviations are read out as espeak-ng does: `1984`, `Mr.`, `3.5%`.

    Raises:
        ModelError: espeak-ng is missing.
    """
    with fresh_espeak(espeak_data()) as (library, _):
        library.espeak_SetVoiceByName(b"en-us")
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        return [_arpabet(_phonemes(library, word)) for word in words]


def _phonemes(library: ctypes.CDLL, word: str) -> str:
    text = ctypes.c_char_p(word.replace("\0", "").encode())
    rest = ctypes.cast(text, ctypes.c_void_p)
    clauses = []
    while rest.value:
        said = library.espeak_TextToPhonemes(
            ctypes.byref(rest), _UTF8, _IPA | (ord(_BETWEEN) << 8)
        )
        clauses.append(said.decode())
    return " ".join(clauses)


def _arpabet(phonemes: str) -> str:
    """Translates phoneme by phoneme; one that is unknown is left out."""
    named = re.split(rf"[{_BETWEEN} ]+", phonemes.translate(_STRESS))
    return " ".join(_ARPABET[name] for name in named if name in _ARPABET)
