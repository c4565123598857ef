"""Inputs that Hypothesis builds to each format's own shape, with anything at all in its places.

Changed bytes mostly break a format; these keep it and fill it: tables with any cells, lines with
any text, documents with any values, headers with any numbers.
"""

import json
import struct
from collections.abc import Iterator

import pytest
import yaml
from fuzzing.targets import TARGETS
from fuzzing.trial import Door, attempt, close
from hypothesis import given, settings
from hypothesis import strategies as st

ANY_TEXT = st.text(max_size=12) | st.sampled_from(["\x00", "\ud800", "\x1b[31m", "a\nb", "9" * 30])
CELLS = st.text(st.characters(codec="utf-8"), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def joined(lines: st.SearchStrategy[list[str]]) -> st.SearchStrategy[bytes]:
    newlines = st.sampled_from(["\n", "\r\n"])
    return st.builds(lambda rows, newline: newline.join(rows).encode(), lines, newlines)


def document(**fields: st.SearchStrategy) -> st.SearchStrategy[dict]:
    """A mapping whose fields are what they should be, but for one at most: anything, or gone."""

    def edited(values: dict, edit: dict) -> dict:
        merged = values | edit
        return {name: value for name, value in merged.items() if value is not ...}

    one = st.builds(lambda name, value: {name: value}, st.sampled_from(sorted(fields)), JSON)
    none = st.sampled_from(sorted(fields)).map(lambda name: {name: ...})
    nothing = st.just({})
    return st.builds(
        edited, st.fixed_dictionaries(fields), st.one_of(nothing, nothing, nothing, one, none)
    )


def as_yaml(documents: st.SearchStrategy[dict]) -> st.SearchStrategy[bytes]:
    return documents.map(
        lambda fields: yaml.safe_dump(fields, sort_keys=False).encode("utf-8", "surrogatepass")
    )


def as_json(documents: st.SearchStrategy) -> st.SearchStrategy[bytes]:
    return documents.map(lambda fields: json.dumps(fields).encode())


COLUMNS = ("client_id", "path", "sentence", "up_votes", "down_votes", "gender", "locale")
TABLE = joined(
    st.lists(
        st.tuples(
            CELLS,
            st.sampled_from(["a.mp3", "b", "../x.mp3", "sub/c.MP3"]) | CELLS,
            CELLS,
            st.integers(-1, 99).map(str) | CELLS,
            st.integers(0, 9).map(str) | CELLS,
            st.sampled_from(["male", "female_feminine", ""]) | CELLS,
            st.sampled_from(["en", "zh-CN", ""]) | CELLS,
        ).map("\t".join),
        max_size=6,
    ).map(lambda rows: ["\t".join(COLUMNS), *rows])
)
TRANSCRIPT = joined(
    st.lists(
        st.builds("19-198-{}{}{}".format, st.integers(0, 9), st.sampled_from(" \t-"), CELLS)
        | CELLS
    )
)
READERS = joined(
    st.lists(st.lists(st.sampled_from(["19", "F", "M", ";"]) | CELLS, max_size=9).map(" | ".join))
)
DURATIONS = joined(
    st.lists(st.builds("{}\t{}".format, st.sampled_from(["a.mp3", "b.mp3"]) | CELLS, CELLS)).map(
        lambda rows: ["clip\tduration[ms]", *rows]
    )
)
LINE = document(
    audio_filepath=st.sampled_from(["wavs/a.wav", "talks.tar:a.wav", "talks.tar:../x"]),
    text=ANY_TEXT,
    offset=st.floats(0, 9),
    duration=st.floats(0, 9),
    lang=st.sampled_from(["en", "de_AT"]),
    speaker=st.integers(0, 9),
    shard_id=st.sampled_from(["talks", "../x"]),
)
MANIFEST = st.lists(as_json(LINE), max_size=4).map(b"\n".join)
WORDING = document(
    id=st.from_regex(r"translation\.en\.[0-9]{2}", fullmatch=True),
    text=st.sampled_from(["Put it into {{ target_language }}.", "{% if a %}b{% endif %}"]),
    audio=st.sampled_from(["Say it in {{ target_language }}.", "{{ content }}"]),
    held_out=st.booleans(),
    tags=st.lists(st.sampled_from(["short"]), max_size=1),
)
POOL = document(
    task=st.just("translation"),
    language=st.just("en"),
    licence=st.just("CC0-1.0"),
    source=st.just("x"),
    instructions=st.lists(WORDING, max_size=3),
)
PIECES = st.sampled_from(
    [
        *("{% if instruction %}a{% endif %}", "{{ 'a' ~ instruction }}", "{# #}", "\n", "{{ x }}"),
        *("{{ [1, instruction]|join }}", "{{ content|trim }}", "{{ content if 0 else 1 }}", "{%"),
        *(
            "{{ instruction|replace('S', content) }}",
            "{{ 1e400 }}",
            "{{ 'a' if 0 }}",
            "{{ '\x00' }}",
        ),
    ]
)
PROMPT = st.lists(PIECES | CELLS, max_size=3).map(
    lambda pieces: "{{ instruction }}".join(["", *pieces, "\n{{ content }}"]).encode()
)
TURNS = (
    "{{% for m in messages %}}<|turn|>{{{{ m.role }}}}{}{{{{ m.content }}}}<|end|>{{% endfor %}}{}"
)
CHAT_PIECES = st.sampled_from(
    [
        *("", "\n", "{{ bos_token }}", "{% if mild %}a{% endif %}", "{{ m.content | trim }}"),
        *(
            "{{ strftime_now('%d') }}",
            "{% break %}",
            "{{ range(3) | list }}",
            "{{ x.y }}",
            "\ue0000",
        ),
    ]
)
CHAT = st.builds(TURNS.format, CHAT_PIECES | CELLS, CHAT_PIECES | CELLS).map(str.encode)
RUN = document(
    seed=st.integers(0, 9),
    output=st.just("out"),
    corpora=st.lists(
        document(kind=st.sampled_from(["librispeech", "common_voice"]), path=st.just("x")),
        min_size=1,
        max_size=2,
    ),
    backbone=document(
        engine=st.just("scripted"), template_kwargs=document(a=JSON), top_p=st.just(0.5)
    ),
    tasks=st.dictionaries(
        st.sampled_from(["intent", "x"]),
        document(weight=st.floats(0, 2), max_tokens=st.integers()),
    ),
    draw=document(mode=st.sampled_from(["draw", "quota"]), multi_task_share=st.floats(0, 1)),
    prompts=document(
        templates=st.dictionaries(ANY_TEXT, st.floats(0.1, 9), min_size=1),
        pools=st.lists(ANY_TEXT, max_size=1),
    ),
    splits=document(validation=st.floats(0, 0.6), test=st.floats(0, 0.6)),
    filters=document(languages=st.just(["en", "de"]), copy_max_rate_by_task=st.just({})),
)
EXTENSION = document(
    tasks=st.just({}), corpora=st.lists(document(limit=st.integers()), max_size=2), seed=JSON
)
KINDS = st.sampled_from(["string", "int", "int32", "list", ""]) | CELLS
CONTRACT = document(
    extra_columns=st.dictionaries(st.just("samples"), st.dictionaries(CELLS, KINDS)),
    tasks=st.lists(CELLS, max_size=2),
    response_tokens=st.dictionaries(CELLS, document(min=st.floats(0), max=st.floats(0))),
    rules=st.dictionaries(ANY_TEXT, st.sampled_from(["error", "off"])),
    min_duration_s=st.floats(0, 9),
)
PART = document(
    file=st.sampled_from(["audio/part-00000.parquet", "../x", "/x"]),
    rows=st.integers(0, 2**64),
    bytes=st.integers(0, 9),
    sha256=CELLS,
    footer_sha256=CELLS,
)
STEP_MANIFEST = document(
    step=CELLS,
    identity=CELLS,
    inputs=st.dictionaries(CELLS, CELLS, max_size=2),
    parts=st.lists(PART, max_size=2),
    counts=st.dictionaries(CELLS, st.dictionaries(CELLS, st.integers(0, 2**64), max_size=2)),
    code_version=CELLS,
    extra=st.dictionaries(CELLS, ANY_TEXT, max_size=2),
)
CHOICE = document(
    finish_reason=st.sampled_from(["stop", "length", "content_filter", "error"]),
    text=ANY_TEXT,
    token_ids=st.lists(st.integers(0, 9) | st.just(2**33), max_size=3),
    logprobs=document(token_logprobs=st.lists(st.floats(max_value=0), max_size=3)),
)
ANSWER = document(
    data=st.lists(document(id=st.just("m"), owned_by=ANY_TEXT), min_size=1, max_size=2),
    choices=st.lists(CHOICE, min_size=1, max_size=2),
    usage=document(prompt_tokens=st.just(3) | st.just(2**33), completion_tokens=st.just(3)),
    error=document(message=ANY_TEXT),
)
HEAD = "HTTP/1.1 {} x\r\nretry-after: {}\r\ncontent-length: {}\r\n\r\n"
HTTP = st.builds(
    lambda status, after, body: HEAD.format(status, after, len(body)).encode() + body,
    st.sampled_from([*[200] * 9, 400, 404, 429, 500, 302, 204]),
    st.sampled_from(
        ["0", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 400, "Wed, 21 Oct 99999999999 0"]
    ),
    as_json(st.one_of(ANSWER, ANSWER, ANSWER, JSON)),
)
WAV = st.builds(
    lambda form, samples, claimed: b"".join(
        (
            *(b"RIFF", struct.pack("<I", 36 + len(samples)), b"WAVEfmt ", struct.pack("<I", 16)),
            *(struct.pack("<HHIIHH", *form), b"data", struct.pack("<I", claimed), samples),
        )
    ),
    st.tuples(
        st.sampled_from([1, 2, 3, 6, 7, 17, 0xFFFE]),
        st.integers(0, 2**16 - 1) | st.just(1),
        st.integers(0, 2**32 - 1) | st.just(16_000),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**16 - 1) | st.just(2),
        st.sampled_from([0, 1, 8, 12, 16, 24, 32, 64]),
    ),
    st.binary(max_size=600),
    st.integers(0, 2**32 - 1) | st.integers(0, 700),
)
REPLY = st.lists(
    st.sampled_from(
        ["Score: 4", "4/5", "no ", "As an AI, I can't ", "{}", "```", "USER:", "İ", "ก"]
    )
    | CELLS,
    max_size=8,
).map(lambda pieces: " ".join(pieces).encode())
TIMES = st.sampled_from(
    ["0", "0.5", "1.0", "2.9", "3.04", "-1", "1e400", "nan", "NA", "0x1", "\u0663"]
)
SAID = st.sampled_from(["go", "ON,", "well", "known", "well-known", "friend", "<unk>", "sil", ""])
NAMED = st.sampled_from(["u1", "84-1-0000", "u1.wav", ";;", ""])
CTM = st.lists(
    st.tuples(NAMED, st.sampled_from(["1", "A"]), TIMES, TIMES, SAID | CELLS, TIMES).map(" ".join),
    max_size=8,
).map(lambda lines: "\n".join(lines).encode())
CONDENSED = st.lists(
    st.tuples(NAMED, st.lists(SAID, max_size=6), st.lists(TIMES, max_size=6)).map(
        lambda row: f'{row[0]} "{",".join(row[1])}" "{",".join(row[2])}"'
    ),
    max_size=5,
).map(lambda lines: "\n".join(lines).encode())
INTERVAL = st.tuples(TIMES, TIMES, SAID | CELLS).map(
    lambda row: f'{row[0]}\n{row[1]}\n"{row[2]}"\n'
)
TEXTGRID = st.lists(
    st.tuples(st.sampled_from(["words", "phones", "w"]), st.lists(INTERVAL, max_size=5)),
    max_size=3,
).map(
    lambda tiers: (
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n<exists>\n{len(tiers)}\n'
        + "".join(
            f'"IntervalTier"\n"{name}"\n0\n3\n{len(rows)}\n{"".join(rows)}' for name, rows in tiers
        )
    ).encode()
)
ANSWER = document(
    sample_id=st.sampled_from(["0" * 32, "1" * 32]),
    prediction=ANY_TEXT,
    side=st.sampled_from(["speech", "text", "mine"]),
    finish_reason=st.sampled_from(["stop", "length"]),
    nll=st.none() | st.floats(),
    nll_tokens=st.none() | st.integers(),
    judge_score=st.none() | st.integers(0, 6),
    reference=st.just("ferry, fog"),
)
ANSWERS = st.lists(as_json(ANSWER), max_size=4).map(b"\n".join)
MADE = document(name=ANY_TEXT, digest=st.just("a" * 64))
BENCHMARK = document(
    benchmark_version=st.sampled_from([1, 2]),
    name=ANY_TEXT,
    sllm_data=st.just("0.1.0"),
    source=MADE,
    against=st.lists(MADE, max_size=2),
    split=st.just("test"),
    backbones=st.lists(ANY_TEXT, max_size=2),
    cells=st.dictionaries(ANY_TEXT, st.dictionaries(ANY_TEXT, st.integers()), max_size=2),
    left_out=st.dictionaries(ANY_TEXT, st.integers(), max_size=2),
    rows=st.integers(),
    clips=st.integers(),
    hours=st.floats(),
    speakers=st.integers(),
    languages=st.lists(ANY_TEXT, max_size=2),
    scoring=st.just({}),
    files=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=2),
)
SHAPES = {
    "answers": ANSWERS,
    "benchmark": as_json(BENCHMARK),
    "librispeech": TRANSCRIPT,
    "librispeech_tables": READERS,
    "tsv": TABLE,
    "durations": DURATIONS,
    "condensed": CONDENSED,
    "ctm": CTM,
    "textgrid": TEXTGRID,
    "manifest": MANIFEST,
    "pools": as_yaml(POOL),
    "templates": PROMPT,
    "chat_template": CHAT,
    "run_yaml": as_yaml(RUN),
    "dataset_yaml": as_yaml(
        document(extensions=st.lists(EXTENSION, min_size=1, max_size=2), identity=JSON)
    ),
    "contract": as_yaml(CONTRACT),
    "step_manifest": as_json(STEP_MANIFEST),
    "server": HTTP,
    "replies": REPLY,
    "audio": WAV,
    "segments": WAV,
}


@pytest.fixture(scope="module")
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    opened = TARGETS[request.param].open(tmp_path_factory.mktemp(request.param))
    yield opened
    close(opened)


@pytest.mark.parametrize(("door", "shape"), SHAPES.items(), indirect=["door"], ids=SHAPES)
@settings(max_examples=40)
@given(data=st.data())
def test_whatever_stands_in_its_places_nothing_else_comes_out(door, shape, data):
    outcome = attempt(door, data.draw(shape))
    assert outcome.failure is None, outcome.failure.story


def test_every_door_but_containers_has_a_shape():
    assert TARGETS.keys() - SHAPES.keys() == {"archive", "parquet"}
