"""The doors that prompts come through: pools, templates, chat templates.

What loads must also work: a pool is linted and each of its wordings rendered as both twins, a
template is rendered, a chat template encodes a conversation. A transcript must come out of
a prompt as it went in, and Jinja2 in it must stay plain text.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from fuzzing.documents import as_yaml, crafted
from fuzzing.mutating import Mutator
from fuzzing.trial import MAX_SENTENCE, Broken, Door, Taken, Target, check_line, must
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from sllm_data.chat.loading import load_tokenizer
from sllm_data.chat.renderer import ChatRenderer
from sllm_data.chat.template import ChatTemplate
from sllm_data.errors import PoolError
from sllm_data.files import shipped_folder
from sllm_data.prompting.lint import lint_pools
from sllm_data.prompting.pools import Instruction, load_pools
from sllm_data.prompting.sandbox import MAX_OUTPUT_CHARS
from sllm_data.prompting.templates import FIELDS, Template, load_template
from sllm_data.prompting.twins import Twin, render_twin
from sllm_data.records import Message
from sllm_data.testbed.backbone import CHAT_TEMPLATE

_SPOKEN = "{{ 7 * 7 }} {% raw %} said the “Müller” <|im_end|> "
_FIELDS = {"target_language": "German"}
_WORDING = Instruction(
    id="translation.en.01",
    task="translation",
    language="en",
    text="Translate this text into {{ target_language }}.",
    audio="Translate this recording into {{ target_language }}.",
    held_out=False,
    tags=(),
)


def _twin(template: Template, wording: Instruction) -> Twin:
    twin = render_twin(
        template=template,
        instruction=wording,
        transcript=_SPOKEN,
        fields=_FIELDS,
        system="Be brief.",
    )
    turn = twin.text_messages[-1].content
    must(_SPOKEN in turn, "the transcript is not in the prompt as it is")
    must(len(turn) <= MAX_OUTPUT_CHARS + len(_SPOKEN), f"a prompt of {len(turn)} characters")
    for text in (turn, *twin.audio_turn):
        _must_be_text(text)
    return twin


def _must_be_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Broken(f"a prompt must be text that can be written down: {error}") from error


def _open_pools(folder: Path) -> Door:
    path = folder / "translation.en.yaml"
    template = load_template("instruction_first", fields=FIELDS["task"])

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        pools = load_pools([folder])
        for finding in lint_pools(pools):
            check_line(finding.message, what=f"finding {finding.rule}", at_most=MAX_SENTENCE)
        pool = pools.get("translation", "en")
        rendered, refused = 0, None
        for wording in pool.instructions[:50]:
            try:
                _twin(template, wording)
            except PoolError as error:
                refused = error
            else:
                rendered += 1
        if refused is not None and not rendered:
            raise refused
        return Taken(good=len(pool.instructions))

    return door


def _open_template(folder: Path) -> Door:
    path = folder / "mine.j2"

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        template = load_template(str(path), fields=FIELDS["task"])
        text = template.render(instruction="Say it.", content=_SPOKEN)
        must(len(text) <= MAX_OUTPUT_CHARS, f"a prompt of {len(text)} characters")
        _must_be_text(text)
        _twin(template, _WORDING)
        return Taken()

    return door


def _open_chat_template(folder: Path) -> Door:
    model = folder / "model"
    _write_tokenizer(model)
    tokenizer = load_tokenizer(model, model="fuzzed")
    file = folder / "chat.jinja"
    turns = [Message(role="system", content="Be brief."), Message(role="user", content=_SPOKEN)]

    def door(content: bytes) -> Taken:
        file.write_bytes(content)
        template = ChatTemplate(tokenizer, model="fuzzed", arguments={"mild": True}, file=file)
        renderer = ChatRenderer(tokenizer, template, model="fuzzed", revision="local")
        (ids,) = renderer.encode([turns])
        text = renderer.render(turns)
        must(_SPOKEN.strip() in text, "the transcript is not in the prompt as it is")
        _must_be_text(text)
        must(all(isinstance(index, int) for index in ids), "an id that is no number")
        return Taken()

    return door


def _write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|begin|>", "<|turn|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["say it again, please"], trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def _shipped(folder: str, *names: str) -> list[bytes]:
    return [(shipped_folder(folder) / name).read_bytes() for name in names]


_POOL = """\
task: translation
language: en
licence: CC0-1.0
source: written for sllm-data
instructions:
  - {id: translation.en.01, text: "What is this text in {{ target_language }}?",
     audio: "What is said, in {{ target_language }}?", held_out: false, tags: [question]}
  - id: translation.en.02
    text: |
      Put this into {{ target_language | upper }}{% if target_language == 'x' %}!{% endif %}.
    audio: 'Say what you hear in {{ target_language }}.'
    held_out: true
"""
_YAML_TOKENS = (
    *("&a ", "*a", "<<: *a", "- ", ": ", "? ", "| ", ">-", "[", "]", "{", "}", "# ", "---", "..."),
    *("!!int ", "!!float ", "!!bool x", "!!timestamp x", "!!binary /w==", "!!set {a}", "!!omap "),
    *("!!python/name:os.system ", "%TAG ! x", "2020-13-45", "1:2:3", ":1" * 200 + ".5", "0b_"),
    *('"\\ud800"', '"\\0"', '"\\x07"', '"a\\nb"', "12e03", "~", "yes", ".nan", ".inf", "no", "''"),
)
YAML = Mutator(tokens=_YAML_TOKENS, max_bytes=1 << 13)
"""What goes wrong in YAML of any kind."""
_JINJA_TOKENS = (
    *("{{", "}}", "{%", "%}", "{#", "#}", "{%-", "-%}", "{{ content }}", "{{ instruction }}"),
    *(
        "{% if content %}",
        "{% endif %}",
        "{% else %}",
        "{% raw %}",
        "{% endraw %}",
        " is defined ",
    ),
    *("{% for x in y %}", "{% endfor %}", "{% set x = 1 %}", "{% break %}", "{% include 'x' %}"),
    *("|replace('', content)", "|join(content)", "|default(", "|upper", "|length", " if 0", "~"),
    *("'\\ud800'", "'\\x00'", "[1, 2]", "(1,)", "1e400", "not ", " and ", " or ", " in ", "**"),
    *("{{ content if false }}", "{{ self }}", "{{ x.__class__ }}", "((((", "{{ 1/0 }}"),
)
_TEMPLATES = (
    b"{{ instruction }}\n\n{{ content }}",
    (
        b"{% if instruction|length > 3 %}{{ instruction }}{% else %}{{ instruction|upper }}"
        b"{% endif %}: {{ content }}"
    ),
    b"{{ content }}{# what is said #}\n{{ (instruction ~ '!')|replace('a', 'b')|trim }}",
    b"{{ [instruction, 'x']|join(', ') }}{{ none|default('y', true) }} {{ content }}",
)
_CHAT_TOKENS = (
    *("messages", "message", "message['content']", "message.role", "add_generation_prompt"),
    *("loop.index0", "loop.last", "namespace(x=1)", "{% set ns.x = 2 %}", "| trim", "| tojson"),
    *("raise_exception('no')", "strftime_now('%d')", "{% macro m() %}{{ m() }}{% endmacro %}"),
    *(
        "{{ m() }}",
        "{% continue %}",
        "{% generation %}",
        "range(9)",
        "<|turn|>",
        "<|end|>",
        "mild",
    ),
    *("bos_token", "eos_token", "messages[1:]", ".split('e')[-1]", ".upper()", "| random"),
)
_CHATS = (
    CHAT_TEMPLATE.encode(),
    (
        b"{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content | trim }}<|end|>{% endfor %}"
        b"<|turn|>assistant\n"
    ),
    (
        b"{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}"
        b"{% set ns.s = m.content %}{% elif m.role == 'user' %}USER: {{ ns.s }} {{ m.content }} "
        b"{% else %}ASSISTANT: {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}ASSISTANT:"
    ),
)


def _pool_seeds() -> Sequence[bytes]:
    return [_POOL.encode(), *_shipped("instruction_pools", "translation.en.yaml")]


TARGETS = (
    Target(
        name="pools",
        open=_open_pools,
        seeds=_pool_seeds,
        mutator=Mutator(tokens=(*_YAML_TOKENS, *_JINJA_TOKENS[::3], "held_out: ", "tags: [")),
        craft=crafted([yaml.safe_load(_POOL)], as_yaml, words=_JINJA_TOKENS),
    ),
    Target(
        name="templates",
        open=_open_template,
        seeds=lambda: list(_TEMPLATES),
        mutator=Mutator(tokens=_JINJA_TOKENS, max_bytes=1 << 13),
    ),
    Target(
        name="chat_template",
        open=_open_chat_template,
        seeds=lambda: list(_CHATS),
        mutator=Mutator(tokens=(*_JINJA_TOKENS, *_CHAT_TOKENS), max_bytes=1 << 12),
    ),
)
