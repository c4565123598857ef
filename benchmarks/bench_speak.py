"""Synthetic speech: seconds of speech per second, on one core.

    python benchmarks/bench_speak.py

espeak        espeak-ng alone: samples at 22,050 Hz with the word times, in memory
librispeech   `testbed speak`: as espeak, resampled to 16 kHz, FLAC, transcripts, word times
common-voice  espeak-ng's own rate, MP3, tables
dialogues     two voices mixed at 16 kHz, FLAC, manifest, RTTM, CTM

All ways take turns in one process. Of `testbed speak` the blocks and the tables count, with
their fsyncs, and the start of the process does not. CPU time is what the target is for: on a
machine that does nothing else it is the wall time.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from measuring import Timing, alternate, header, machine, row, spread, timed

from sllm_data.testbed.events import stories
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.spoken_world import WorldCorpus, WorldLayout, finish_world, world_blocks
from sllm_data.testbed.voices import WORLD_VOICES

TARGET = 100


class _Ways:
    """What is measured; each call leaves the seconds of speech that it made."""

    def __init__(self, folder: Path, hours: float) -> None:
        self._folder, self._hours = folder, hours
        self.speech_s: dict[str, float] = {}
        self._runs = 0

    def ways(self) -> dict[str, Callable[[], Timing]]:
        layouts = {layout: self._layout(layout) for layout in get_args(WorldLayout)}
        return {"espeak": lambda: timed(self._espeak)} | layouts

    def _espeak(self) -> None:
        synthesizer, speech_s, number = Synthesizer(), 0.0, 0
        told = stories(round(self._hours * 700), seed=1)
        for number, story in enumerate(told):
            voice = WORLD_VOICES[number % len(WORLD_VOICES)]
            speech = synthesizer.speak(
                story.text, voice=voice.name, rate_wpm=voice.rate_wpm, pitch=voice.pitch
            )
            speech_s += len(speech.samples) / speech.rate_hz
        self.speech_s["espeak"] = speech_s

    def _layout(self, layout: WorldLayout) -> Callable[[], Timing]:
        corpus = WorldCorpus(hours=self._hours, layout=layout, seed=1)

        def write() -> None:
            self._runs += 1
            folder = self._folder / f"{layout}-{self._runs}"
            receipts = (block.write(folder) for block in world_blocks(corpus))
            amounts = finish_world(folder, corpus, receipts)
            self.speech_s[layout] = sum(amount.duration_s for amount in amounts.values())

        return lambda: timed(write)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="sllm-data-bench-") as scratch:
        ways = _Ways(Path(scratch), options.hours)
        timings = alternate(ways.ways(), repeats=options.repeats)
    print(
        f"{options.hours:g} hours in each way; {options.repeats} rounds; target {TARGET} times "
        "real time per core\n"
    )
    print(header("way", "speech s", "CPU s", "times real time (CPU)", "(wall)"))
    for name, runs in timings.items():
        speech_s = ways.speech_s[name]
        print(
            row(
                name,
                f"{speech_s:,.0f}",
                spread([run.cpu_s for run in runs]),
                spread([speech_s / run.cpu_s for run in runs], 0),
                spread([speech_s / run.wall_s for run in runs], 0),
            )
        )
    print(f"\n{machine('espeakng-loader', 'soundfile', 'lameenc', 'numpy')}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=0.25, help="in each way (default 0.25)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
