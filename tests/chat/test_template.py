"""Which template is used, which ones are refused, and what identifies it."""

import json
import shutil

import pytest

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ModelError
from sllm_data.records import Message

_USER = [Message(role="user", content="hello")]


def _turns(content):
    """A template that writes each turn's content in a way of its own."""
    turn = "{{ '<|im_start|>' ~ m.role ~ '\n' }}" + content + "{{ '<|im_end|>\n' }}"
    return "{% for m in messages %}" + turn + "{% endfor %}"


@pytest.fixture
def load(load_family, tmp_path):
    """Loads the Qwen-like model with a template of the test's own."""

    def load(template, **arguments):
        file = tmp_path / "template.jinja"
        file.write_text(template)
        folder = str(load_family("qwen").folder)
        return ChatRenderer.load(folder, chat_template=file, template_kwargs=arguments)

    return load


def test_a_file_takes_the_place_of_the_models_template(load, load_family):
    renderer = load(_turns("{{ m.content }}"))
    assert renderer.render(_USER) == "<|im_start|>user\nhello<|im_end|>\n"
    own = load_family("qwen").renderer
    assert renderer.chat_template_sha256 != own.chat_template_sha256
    assert not renderer.is_fallback


def test_arguments_reach_the_template_and_its_hash(load):
    template = "{{ mood }}: " + _turns("{{ m.content }}")
    calm, wild = load(template, mood="calm"), load(template, mood="wild")
    assert calm.render(_USER).startswith("calm: ")
    assert calm.chat_template_sha256 != wild.chat_template_sha256


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{{ m.content | upper }}", "edits contents"),
        ("{{ m.content | tojson }}", "edits contents|changes the whitespace"),
        ("{{ m.content | replace('  ', ' ') }}", "edits contents"),
        ("{{ m.content | truncate(9) }}", "leaves out|edits|moves|changes"),
        ("{{ m.content | replace('\n', ' ') }}", "changes the whitespace"),
        ("{{ m.content if m.content == m.content.strip() else '' }}", "moves contents"),
        ("nothing", "leaves out the content of a user turn"),
        ("{{ m.content + 1 }}", "fails"),
        ("{{ raise_exception('no, thanks') }}", r"fails \(no, thanks\)"),
        ("{{ m.content }}{{ strftime_now('%d %b %Y') }}", "writes today's date"),
        ("{{ m.content }}{% if %}", "fails"),
        ("{{ m.content }}{% macro x() %}{% break %}{% endmacro %}", "fails"),
        ("{{ m.content }}{% if m.content == 1e400 %}{% endif %}", "fails"),
        ("{{ m.content }}{% macro x() %}{{ x() }}{% endmacro %}{{ x() }}", "fails"),
        (r"{{ m.content }}{{ '\ud800' }}", "writes half a surrogate pair"),
        ("{{ m.content }}{{ 1" + " | tojson" * 200 + " }}", "puts a value through more than 12"),
        ("{{ m.content }}{{ " + "-" * 250 + "1 }}", "is nested more than 100 levels"),
        ("{{ m.content }}{{ " + "(" * 5_000 + "1", "fails"),
    ],
)
def test_a_template_that_can_not_serve_is_an_error(load, content, complaint):
    with pytest.raises(ModelError, match=f"its chat template ({complaint})"):
        load(_turns(content))


def test_the_tag_of_what_the_model_says_is_known(load):
    plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    tagged = plain.replace(
        "{{ m.content }}",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}",
    )
    assert load(tagged).encode([_USER]) == load(plain).encode([_USER])


def test_a_template_whose_date_is_set_serves(load):
    dated = "{% set day = day if day is defined else strftime_now('%d %b %Y') %}{{ day ~ ' ' }}"
    renderer = load(dated + _turns("{{ m.content }}"), day="1 May 2024")
    assert renderer.render(_USER).startswith("1 May 2024 ")


def test_what_a_template_strips_is_stripped_on_that_side_only(load):
    renderer = load(_turns("{{ m.content.lstrip('\n') }}|{{ m.content.rstrip() }}"))
    turn = Message(role="user", content="\n hello \n")
    assert renderer.render([turn]) == "<|im_start|>user\n hello \n|\n hello<|im_end|>\n"


@pytest.mark.parametrize("name", ["messages", "tokenize", "add_generation_prompt"])
def test_arguments_that_rendering_sets_are_refused(load, name):
    with pytest.raises(ModelError, match=f"got '{name}'"):
        load(_turns("{{ m.content }}"), **{name: True})


def test_arguments_must_be_json(load):
    with pytest.raises(ModelError, match="plain JSON values"):
        load(_turns("{{ m.content }}"), mood={1, 2})


def test_a_missing_template_file_is_an_error(load_family, tmp_path):
    with pytest.raises(ModelError, match="must be a readable UTF-8 file"):
        ChatRenderer.load(str(load_family("qwen").folder), chat_template=tmp_path / "none.j2")


def test_several_templates_without_a_default_are_an_error(load_family, tmp_path):
    folder = shutil.copytree(load_family("qwen").folder, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = [
        {"name": "tools", "template": "a"},
        {"name": "rag", "template": "b"},
    ]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="several chat templates"):
        ChatRenderer.load(str(folder))


def test_a_base_model_gets_the_fallback_behind_its_opening_token(load_family):
    loaded = load_family("base")
    turns = [Message(role="system", content="Be brief."), Message(role="user", content="hi")]
    text = "System: Be brief.\n\nUser: hi\n\nAssistant:"
    assert loaded.renderer.is_fallback
    assert loaded.renderer.render(turns) == f"<|begin_of_text|>{text}"
    assert loaded.renderer.encode([turns]) == [loaded.reference(text)["input_ids"]]


def test_a_base_model_without_opening_token_gets_none(load_family, tmp_path):
    folder = shutil.copytree(load_family("qwen").folder, tmp_path / "model")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    renderer = ChatRenderer.load(str(folder))
    assert renderer.is_fallback
    assert renderer.render(_USER) == "User: hello\n\nAssistant:"


def test_only_the_fallback_needs_a_stop_string(load_family):
    assert load_family("base").renderer.stop == ("\nUser:",)
    assert load_family("vicuna").renderer.stop == ()
    assert load_family("qwen").renderer.stop == ()


def test_a_template_for_single_turns_serves_them(load):
    single = "{% if messages|length > 2 %}{{ raise_exception('one turn') }}{% endif %}"
    renderer = load(single + _turns("{{ m.content }}"))
    assert renderer.supports_system
    assert renderer.role_markers == ()
