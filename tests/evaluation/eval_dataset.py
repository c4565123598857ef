"""A dataset of the spoken world written down row by row, in all splits and eval groups."""

import io
from pathlib import Path
from typing import Any

import soundfile

from sllm_data.shards import TABLES, part_name, write_part
from sllm_data.testbed.events import endless_stories
from sllm_data.testbed.lessons import TASKS
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.voices import WORLD_VOICES
from tests.shards.random_rows import some_rows

Row = dict[str, Any]

INSTRUCTIONS = {
    "transcription": (
        "Write the text down word by word.",
        "Write down what is said, word by word.",
    ),
    "keywords": ("List the keywords of the text.", "List the keywords of the recording."),
    "sentiment": (
        "Is the text positive, negative or neutral?",
        "Is the speech positive, negative or neutral?",
    ),
    "topic": ("What is the topic of the text?", "What is the topic of the speech?"),
    "who": ("Who did it?", "Who did what you hear of?"),
}
"""Wordings of text and audio side that the shipped backbone was taught."""
GROUPS = {"who": "held_out_task", "topic": "held_out_instruction"}
STORIES_PER_PART = 2


def write_dataset(root: Path, *, parts: int = 2) -> Path:
    """Writes a story's five tasks as rows of `test`, and its transcription as one of `train`."""
    stories = endless_stories(seed=5, half="test", num_events=1)
    for part in range(parts):
        clips, rows = [], []
        for number in range(part * STORIES_PER_PART, (part + 1) * STORIES_PER_PART):
            story = next(stories)
            clip = _clip(number, story.text)
            clips.append(clip)
            rows += [
                _sample(f"{task[:4]}{number:028}", task, clip, part, TASKS[task](story))
                for task in INSTRUCTIONS
            ]
            train = _sample(f"{number:032}", "transcription", clip, part, story.text)
            rows.append(train | {"split": "train"})
        for table, found in (("audio", clips), ("samples", rows)):
            file = f"{table}/{part_name(part)}"
            write_part(root, file, found, table=TABLES[table], identity="i")
    return root


def _clip(number: int, text: str) -> Row:
    voice = WORLD_VOICES[number % len(WORLD_VOICES)]
    speech = Synthesizer().speak(text, voice=voice.name)
    content = io.BytesIO()
    soundfile.write(content, speech.samples, speech.rate_hz, format="FLAC", subtype="PCM_16")
    return some_rows(TABLES["audio"])[2] | {
        "audio_id": f"world/{number}",
        "audio": {"bytes": content.getvalue(), "path": f"{number}.flac"},
        "sampling_rate": speech.rate_hz,
        "num_channels": 1,
        "num_samples": len(speech.samples),
        "transcript": text,
        "language": "en",
    }


def _sample(sample_id: str, task: str, clip: Row, part: int, response: str) -> Row:
    read, heard = INSTRUCTIONS[task]
    text = clip["transcript"]
    return some_rows(TABLES["samples"])[2] | {
        "sample_id": sample_id,
        "kind": "instruct",
        "task": task,
        "task_params": "{}",
        "variant": "instruction_first",
        "audio_refs": [{"audio_part": part, "audio_id": clip["audio_id"]}],
        "messages": [
            {
                "role": "user",
                "content": [
                    _span(type="text", text=f"{heard}\n\n"),
                    _span(
                        type="audio",
                        audio_index=0,
                        start_sample=0,
                        num_samples=clip["num_samples"],
                    ),
                ],
            },
            {"role": "assistant", "content": [_span(type="text", text=response, supervised=True)]},
        ],
        "text_messages": [
            {"role": "user", "content": f"{read}\n\n{text}"},
            {"role": "assistant", "content": response},
        ],
        "response": response,
        "response_language": "en",
        "finish_reason": "stop",
        "instruction_id": f"{task}.en-testbed.01",
        "split": "test",
        "eval_group": GROUPS.get(task, "train"),
        "language": "en",
        "transcript": text,
        "transcript_prepared": text,
    }


def _span(**fields: Any) -> Row:
    names = ("type", "text", "audio_index", "start_sample", "num_samples", "gain_db", "units")
    return dict.fromkeys(names) | {"supervised": False} | fields
