"""Small tokenizers in the manner of the families that are used as backbones, built here.

Each function writes a model folder: tokenizer.json, tokenizer_config.json, a chat template.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from sllm_data.chat import ChatRenderer
from sllm_data.records import Message

PROSE = """
The harbour was quiet when the ferry came in, and nobody on the pier had expected it so early.
She put the letters back into the drawer, closed the window, and went down to the kitchen.
"Is there any bread left?" he asked. There was, but it was three days old, hard as a stone.
A user may ask for help; the system answers, and the assistant writes down what was said.
Translate the sentence into German, list its keywords, and say whether it sounds happy or sad.
Die Straße war leer, das Gemüse frisch und der Bäcker müde. Où est la gare, s'il vous plaît ?
今天天气很好，我们去公园散步吧。Сегодня хорошая погода. 12 apples, 345 pears, 6,789 plums.
Signs that people write: < > | [ ] / _ # : ; + = * & % $ @ ~ ( ) { } - ' \\ ^ ` ö
"""
UNKNOWN = "<unk>"
_LETTERS = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

LLAMA_TEMPLATE = """{{ bos_token }}
{%- for m in messages -%}
<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>
{%- endfor -%}
{%- if add_generation_prompt -%}
<|start_header_id|>assistant<|end_header_id|>{{ '\\n\\n' }}
{%- endif -%}"""
CHATML_TEMPLATE = """
{%- if messages[0].role != 'system' -%}
{{- '<|im_start|>system\\nYou are a careful helper.<|im_end|>\\n' -}}
{%- endif -%}
{%- for m in messages -%}
{{- '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""
THINKING_TEMPLATE = """
{%- for m in messages -%}
{%- set said = m.content -%}
{%- if '</think>' in said -%}
{%- set said = said.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>' ~ m.role ~ '\\n' ~ said ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and not enable_thinking -%}
{{- '<think>\\n\\n</think>\\n\\n' -}}
{%- endif -%}"""
INST_TEMPLATE = """{{ bos_token }}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('roles must alternate: user, assistant') -}}
{%- endif -%}
{%- if m.role == 'user' -%}{{- '[INST] ' ~ m.content ~ ' [/INST]' -}}
{%- else -%}{{- ' ' ~ m.content | trim ~ eos_token -}}{%- endif -%}
{%- endfor -%}"""
LATER_INST_TEMPLATE = """{{ bos_token }}
{%- if messages[0].role == 'system' -%}
{%- set said = messages[0].content ~ '\\n\\n' -%}{%- set rest = messages[1:] -%}
{%- else -%}{%- set said = '' -%}{%- set rest = messages -%}{%- endif -%}
{%- for m in rest -%}
{%- if m.role == 'user' -%}
{{- '[INST] ' ~ (said if loop.last else '') ~ m.content ~ '[/INST]' -}}
{%- else -%}{{- ' ' ~ m.content ~ eos_token -}}{%- endif -%}
{%- endfor -%}"""
TIGHT_INST_TEMPLATE = """{{ bos_token }}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{- '[SYSTEM_PROMPT]' ~ m.content ~ '[/SYSTEM_PROMPT]' -}}
{%- elif m.role == 'user' -%}{{- '[INST]' ~ m.content ~ '[/INST]' -}}
{%- else -%}{{- m.content ~ eos_token -}}{%- endif -%}
{%- endfor -%}"""
PLAIN_TEMPLATE = """
{%- if messages[0].role == 'system' -%}{%- set rest = messages[1:] -%}
{{- messages[0].content ~ ' ' -}}
{%- else -%}{%- set rest = messages -%}{{- 'A friendly talk about speech. ' -}}{%- endif -%}
{%- for m in rest -%}
{%- if m.role == 'user' -%}{{- 'USER: ' ~ m.content.strip() ~ ' ' -}}
{%- else -%}{{- 'ASSISTANT: ' ~ m.content ~ eos_token -}}{%- endif -%}
{%- endfor -%}
{{- 'ASSISTANT:' -}}"""
SHORT_TEMPLATE = """
{%- for m in messages -%}{{- '<|' ~ m.role ~ '|>\\n' ~ m.content ~ '<|end|>\\n' -}}{%- endfor -%}
{{- '<|assistant|>\\n' -}}"""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A way of building tokenizers and templates."""

    name: str
    tokenizer: Callable[[], Tokenizer]
    template: str | None
    config: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    controls: Sequence[str] = ()
    """Texts of control tokens."""
    roles: Sequence[str] = ("system", "user", "assistant", "user")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A family's folder, its renderer, and transformers' tokenizer as the reference."""

    family: Family
    folder: Path
    renderer: ChatRenderer
    reference: Any

    def reference_ids(self, conversation: Sequence[Message]) -> list[int]:
        turns = [{"role": m.role, "content": m.content} for m in conversation]
        ids: list[int] = self.reference.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=False, **self.family.arguments
        )
        return ids


def byte_level(*, ignore_merges: bool = False) -> Tokenizer:
    """Byte-level BPE, as Llama-3 and Qwen have it, without added tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LETTERS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PROSE], trainer)
    return tokenizer


def sentencepiece_bpe(specials: Sequence[str], *, legacy: bool = False) -> Tokenizer:
    """BPE with byte fallback whose model vocabulary also holds the control tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True))
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.pre_tokenizer = metaspace
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", *specials], show_progress=False
    )
    tokenizer.train_from_iterator(PROSE.split(" "), trainer)
    spec = json.loads(tokenizer.to_str())
    vocab, merges = spec["model"]["vocab"], spec["model"]["merges"]
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    # Converters of SentencePiece models derive merges from the vocabulary, also these:
    for piece in ("<s>", "</s>"):
        for size in range(2, len(piece)):
            vocab.setdefault(piece[:size], len(vocab))
            vocab.setdefault(piece[size - 1], len(vocab))
        merges += [[piece[:size], piece[size]] for size in range(1, len(piece))]
        vocab.setdefault("<", len(vocab))
        vocab.setdefault(">", len(vocab))
    if legacy:
        spec["pre_tokenizer"] = None
        spec["normalizer"] = json.loads(
            normalizers.Sequence(
                [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
            ).__getstate__()
        )
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
    )
    return tokenizer


def unigram() -> Tokenizer:
    """A Unigram model whose vocabulary holds its control tokens as pieces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first", split=True)]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>", "<|user|>", "<|end|>", "<|assistant|>"],
        unk_token=UNKNOWN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(PROSE.split("\n"), trainer)
    tokenizer.add_special_tokens(["<|system|>"])
    tokenizer.add_tokens([AddedToken("ö", normalized=False)])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer


def llama() -> Tokenizer:
    tokenizer = byte_level(ignore_merges=True)
    tokenizer.add_special_tokens(
        [
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        special_tokens=[("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))],
    )
    return tokenizer


def qwen(*plain: str) -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in plain])
    return tokenizer


def tekken() -> Tokenizer:
    """Byte-level BPE with the control tokens of later Mistrals."""
    tokenizer = byte_level(ignore_merges=True)
    marks = ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", *marks])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def short() -> Tokenizer:
    """Control tokens that eat whitespace, and added tokens that are mere text."""
    tokenizer = byte_level()
    tokenizer.add_special_tokens(
        [
            AddedToken("<|system|>"),
            AddedToken("<|user|>", rstrip=True),
            AddedToken("<|assistant|>", rstrip=True),
            AddedToken("<|end|>", rstrip=True, lstrip=True),
        ]
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("    ", "ö", "ferry")])
    return tokenizer


def chatml_on_sentencepiece() -> Tokenizer:
    """A fine-tune that added ChatML tokens to a legacy tokenizer: matched after normalising."""
    tokenizer = sentencepiece_bpe(["<s>", "</s>"], legacy=True)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"])
    return tokenizer


CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
SENTENCEPIECE = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
FAMILIES = (
    Family(
        name="llama",
        tokenizer=llama,
        template=LLAMA_TEMPLATE,
        config={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        controls=("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>"),
    ),
    Family(
        name="qwen",
        tokenizer=lambda: qwen("<tool_call>"),
        template=CHATML_TEMPLATE,
        config={"eos_token": "<|im_end|>"},
        controls=(*CHATML, "<tool_call>"),
    ),
    Family(
        name="qwen_thinking",
        tokenizer=lambda: qwen("<think>", "</think>"),
        template=THINKING_TEMPLATE,
        config={"eos_token": "<|im_end|>"},
        arguments={"enable_thinking": False},
        controls=(*CHATML, "<think>", "</think>"),
    ),
    Family(
        name="mistral",
        tokenizer=lambda: sentencepiece_bpe(["<s>", "</s>", "[INST]", "[/INST]"]),
        template=INST_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "[INST]", "[/INST]", "<unk>"),
        roles=("user", "assistant", "user"),
    ),
    Family(
        name="mistral_plain",
        tokenizer=lambda: sentencepiece_bpe(["<s>", "</s>"], legacy=True),
        template=INST_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "<unk>"),
        roles=("user", "assistant", "user"),
    ),
    Family(
        name="mistral_later",
        tokenizer=lambda: sentencepiece_bpe(["<s>", "</s>", "[INST]", "[/INST]"]),
        template=LATER_INST_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "[INST]", "[/INST]", "<unk>"),
    ),
    Family(
        name="mistral_tekken",
        tokenizer=tekken,
        template=TIGHT_INST_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    ),
    Family(
        name="vicuna",
        tokenizer=lambda: sentencepiece_bpe(["<s>", "</s>"], legacy=True),
        template=PLAIN_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "<unk>"),
    ),
    Family(
        name="unigram",
        tokenizer=unigram,
        template=SHORT_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "<|user|>", "<|end|>", "<|assistant|>"),
    ),
    Family(
        name="short",
        tokenizer=short,
        template=SHORT_TEMPLATE,
        controls=("<|user|>", "<|end|>", "<|assistant|>"),
    ),
    Family(
        name="chatml_on_sentencepiece",
        tokenizer=chatml_on_sentencepiece,
        template=CHATML_TEMPLATE,
        config=SENTENCEPIECE,
        controls=("<s>", "</s>", "<|im_start|>", "<|im_end|>"),
    ),
)
BASE = Family(name="base", tokenizer=llama, template=None, config=FAMILIES[0].config)


def write_model(folder: Path, family: Family) -> Path:
    """Writes a model folder without weights."""
    folder.mkdir(parents=True)
    family.tokenizer().save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **family.config}
    if family.template is not None:
        config["chat_template"] = family.template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return folder


@pytest.fixture(scope="session")
def load_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    """Builds and loads a family once."""
    from transformers import AutoTokenizer

    loaded: dict[str, Loaded] = {}
    root = tmp_path_factory.mktemp("models")

    def load(name: str) -> Loaded:
        if name not in loaded:
            (family,) = (f for f in (*FAMILIES, BASE) if f.name == name)
            folder = write_model(root / name, family)
            loaded[name] = Loaded(
                family=family,
                folder=folder,
                renderer=ChatRenderer.load(str(folder), template_kwargs=family.arguments),
                reference=AutoTokenizer.from_pretrained(str(folder)),
            )
        return loaded[name]

    return load


@pytest.fixture(scope="session", params=[family.name for family in FAMILIES])
def loaded(request: pytest.FixtureRequest, load_family: Callable[[str], Loaded]) -> Loaded:
    """Each family in turn."""
    return load_family(request.param)
