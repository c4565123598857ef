"""Word alignment by pocketsphinx: how much aligns, how exactly, how fast, what is found wrong.

    python benchmarks/bench_align.py --corpus data/LibriSpeech --timed data/timed

aligned     share of the utterances of the corpus (LibriSpeech's layout) whose words are found
wrong       the same audio with the transcript of another utterance, the nearest in length, and
            with only the second half of another: share that is refused
boundaries  absolute error of starts and ends, over synthesised speech whose times are known to
            the sample (docs/testbed.md), and over clips with times in JSON beside them
            (`words`: `word`, `start`, `end`)
speed       seconds of audio for each second of CPU time of one process, decoding included
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import header, machine, row

from sllm_data.alignment.aligner import Aligner, Spoken
from sllm_data.alignment.config import AlignmentConfig
from sllm_data.alignment.sphinx import SPHINX_RATE_HZ
from sllm_data.alignment.timing import NotAlignedError
from sllm_data.audio.decode import DecodedClip, decode
from sllm_data.records import AlignedWord
from sllm_data.testbed.clips import speak_clip
from sllm_data.testbed.events import stories
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES


@dataclass(frozen=True, slots=True)
class _Timed:
    text: str
    clip: DecodedClip
    times_s: Sequence[tuple[float, float]]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, help="a corpus in LibriSpeech's layout")
    parser.add_argument("--timed", type=Path, help="a folder of clips with word times in JSON")
    parser.add_argument("--stories", type=int, default=160, help="synthesised ones")
    options = parser.parse_args()
    if options.corpus:
        _corpus(options.corpus)
    print()
    print(header("boundaries of", "clips", "aligned", "words", "median", "90 % below"))
    _boundaries("synthesised speech, 16 voices", list(_synthesised(options.stories)))
    if options.timed:
        _boundaries(f"{options.timed.name}", list(_from_json(options.timed)))
    print(f"\n{machine('pocketsphinx')}")


def _corpus(folder: Path) -> None:
    utterances = list(_librispeech(folder))
    start = time.process_time()
    duration_s = 0.0
    done = 0
    aligner = _aligner()
    for text, path in utterances:
        clip = decode(path.read_bytes())
        duration_s += len(clip.samples) / clip.sampling_rate
        done += _align(aligner, text, clip) is not None
    speed = duration_s / (time.process_time() - start)
    texts = [text for text, _ in utterances]
    refused = {"another transcript": 0, "another second half": 0}
    for text, path in utterances:
        other = min((t for t in texts if t != text), key=lambda t: abs(len(t) - len(text)))
        own, foreign = text.split(), other.split()
        half = own[: len(own) // 2] + foreign[len(foreign) // 2 :]
        clip = decode(path.read_bytes())
        for name, wrong in (
            ("another transcript", other),
            ("another second half", " ".join(half)),
        ):
            refused[name] += _align(aligner, wrong, clip) is None
    total = len(utterances)
    print(header("of the corpus", "share"))
    print(row("aligned", f"{done} of {total}"))
    for name, count in refused.items():
        print(row(f"refused: {name}", f"{count} of {total}"))
    print(row("speed, times real time", f"{speed:.0f}"))


def _boundaries(name: str, clips: Sequence[_Timed]) -> None:
    aligner = _aligner()
    errors: list[float] = []
    aligned = 0
    for timed in clips:
        words = _align(aligner, timed.text, timed.clip)
        if words is None:
            continue
        aligned += 1
        rate = timed.clip.sampling_rate
        for word, (start_s, end_s) in zip(words, timed.times_s, strict=True):
            errors.append(abs(word.start_sample / rate - start_s))
            errors.append(abs((word.start_sample + word.num_samples) / rate - end_s))
    median, high = np.quantile(errors, [0.5, 0.9])
    print(
        row(
            name,
            len(clips),
            aligned,
            len(errors) // 2,
            f"{1000 * median:.0f} ms",
            f"{1000 * high:.0f} ms",
        )
    )


def _aligner() -> Aligner:
    return Aligner(AlignmentConfig(backend="pocketsphinx"), None)


def _align(aligner: Aligner, text: str, clip: DecodedClip) -> tuple[AlignedWord, ...] | None:
    spoken = Spoken(
        name="",
        transcript=text,
        language="en",
        sampling_rate=clip.sampling_rate,
        num_samples=len(clip.samples),
        decoded=lambda: clip,
    )
    try:
        return aligner.align(spoken).words
    except NotAlignedError:
        return None


def _librispeech(folder: Path) -> Iterator[tuple[str, Path]]:
    for table in sorted(folder.rglob("*.trans.txt")):
        for line in table.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            audio = table.parent / f"{name}.flac"
            if audio.is_file():
                yield text, audio


def _synthesised(count: int) -> Iterator[_Timed]:
    synthesizer, voices = Synthesizer(), (*WORLD_VOICES, *HELD_OUT_VOICES)
    for number, story in enumerate(stories(count, seed=11)):
        made = speak_clip(synthesizer, story.text, voices[number % len(voices)], SPHINX_RATE_HZ)
        yield _Timed(
            text=story.text,
            clip=DecodedClip(
                samples=made.samples[:, None], sampling_rate=SPHINX_RATE_HZ, codec="synthetic"
            ),
            times_s=[
                (word.start_sample / SPHINX_RATE_HZ, word.end_sample / SPHINX_RATE_HZ)
                for word in made.words
            ],
        )


def _from_json(folder: Path) -> Iterator[_Timed]:
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        yield _Timed(
            text=document["text"],
            clip=decode((folder / document["audio"]).read_bytes()),
            times_s=[(word["start"], word["end"]) for word in document["words"]],
        )


if __name__ == "__main__":
    main()
