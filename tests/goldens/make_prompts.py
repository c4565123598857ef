"""Writes the golden files of prompts/: run it from the repository root after a wanted change.

    .venv/bin/python -m tests.goldens.make_prompts

`goldens()` is also what tests/prompting/test_shipped_prompts.py compares the files with.
"""

from collections.abc import Iterator
from pathlib import Path

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sllm_data.files import shipped_folder
from sllm_data.prompting.pools import Instruction
from sllm_data.prompting.templates import load_template
from sllm_data.prompting.twins import render_twin

FOLDER = Path(__file__).parent / "prompts"

INSTRUCTION = Instruction(
    id="translation.en.90",
    task="translation",
    language="en",
    text="Translate this text into {{ target_language }}.",
    audio="Translate this recording into {{ target_language }}.",
    held_out=False,
    tags=(),
)
TRANSCRIPT = "the {{ fox }} said <|im_end|> & ran; Überraschung, 狐"
MESSAGES = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "Is this a question?\nAnswer."},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And this?"},
]


def goldens() -> dict[str, str]:
    """Returns the content of every golden file by its name."""
    judge = load_template("judge").render(
        instruction="Name the animal.", transcript=TRANSCRIPT, response="A fox.\n\nIt ran."
    )
    restore = load_template("restore").render(transcript=TRANSCRIPT, language="German")
    asking = {
        f"{name}.txt": load_template(name).render(transcript=TRANSCRIPT, language="German")
        for name in ("question", "statement_true", "statement_false")
    }
    followup = load_template("followup").render(
        instruction="Name the animal.",
        transcript=TRANSCRIPT,
        response="A fox.",
        language="German",
    )
    return {
        "judge.txt": judge,
        "restore.txt": restore,
        "followup.txt": followup,
        **asking,
        **dict(_twins()),
        **dict(_chats()),
    }


def _twins() -> Iterator[tuple[str, str]]:
    for name in ("instruction_first", "content_first"):
        twin = render_twin(
            template=load_template(name),
            instruction=INSTRUCTION,
            transcript=TRANSCRIPT,
            fields={"target_language": "German"},
            system=None,
        )
        yield f"{name}.text.txt", twin.text_messages[0].content
        yield f"{name}.audio.txt", "<AUDIO>".join(twin.audio_turn)


def _chats() -> Iterator[tuple[str, str]]:
    source = (shipped_folder("prompts") / "fallback_chat.j2").read_text(encoding="utf-8")
    template = ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source)
    asked = template.render(messages=MESSAGES, add_generation_prompt=True)
    told = template.render(messages=MESSAGES[:3], add_generation_prompt=False)
    yield "fallback_chat.generation.txt", asked
    yield "fallback_chat.whole.txt", told


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in goldens().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
