import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import PoolError
from sllm_data.prompting.sandbox import MAX_OUTPUT_CHARS, MAX_SOURCE_CHARS
from sllm_data.prompting.templates import Template


@pytest.mark.parametrize(
    ("source", "construct"),
    [
        ("{{ ''.__class__ }}", "access to an attribute"),
        ("{{ ''['__class__'] }}", "access to an item"),
        ("{{ a[1:2] }}", "access to an item"),
        ("{{ x|attr('__class__') }}", "the filter attr"),
        ("{{ x|map('upper') }}", "the filter map"),
        ("{{ x|format(1) }}", "the filter format"),
        ("{{ x|center(1000000000) }}", "the filter center"),
        ("{{ f() }}", "a call"),
        ("{{ x.format(1) }}", "a call"),
        ("{{ range(10) }}", "a call"),
        ("{{ 'a' * 1000000000 }}", "mul in an expression"),
        ("{{ 9 ** 999999999 }}", "pow in an expression"),
        ("{{ a + b }}", "add in an expression"),
        ("{{ 'x' % a }}", "mod in an expression"),
        ("{{ -a }}", "neg in an expression"),
        ("{{ {'a': 1} }}", "a dictionary"),
        ("{{ _private }}", "the name _private"),
        ("{{ self }}", "the name self"),
        ("{{ a is divisibleby(2) }}", "the test divisibleby"),
        ("{% for a in b %}{{ a }}{% endfor %}", "a loop (for)"),
        ("{% set a = 1 %}", "an assignment (set)"),
        ("{% set a %}b{% endset %}", "an assignment (set)"),
        ("{% macro a() %}{% endmacro %}", "a macro"),
        ("{% call a() %}{% endcall %}", "a call block"),
        ("{% filter upper %}{% endfilter %}", "a filter block"),
        ("{% include 'judge.j2' %}", "an include"),
        ("{% import 'a' as b %}", "an import"),
        ("{% from 'a' import b %}", "an import"),
        ("{% extends 'a' %}", "inheritance (extends)"),
        ("{% block a %}{% endblock %}", "inheritance (block)"),
        ("{% with a = 1 %}{% endwith %}", "a with block"),
        ("{% autoescape true %}{% endautoescape %}", "an autoescape block"),
        ("{{ a|length(1) }}", "the filter length with 1 arguments"),
        ("{{ a|replace('b') }}", "the filter replace with 1 arguments"),
        ("{{ a|default('b', boolean=true) }}", "a named or spread argument"),
        ("{{ a|trim(*b) }}", "a named or spread argument"),
        ("{{ a|trim(**b) }}", "a named or spread argument"),
        ("{{ a if b }}", "an if without else"),
        (r"{{ '\ud800' }}", "half a surrogate pair"),
        ("{{ 0x" + "f" * 4_000 + " }}", "a number of so many digits"),
        ("{{ 1e400 }}", "a number without end"),
        ("{{ " + "a ~ " * 500 + "a }}", "a template of more than 400 nodes"),
        ("{{ a" + "|trim" * 50 + " }}", "or 40 levels"),
    ],
)
def test_a_construct_that_could_escape_is_refused_with_its_line(
    source: str, construct: str
) -> None:
    with pytest.raises(PoolError) as caught:
        Template("mine", f"first line\n{source}")
    assert str(caught.value).startswith("template mine, line 2: ")
    assert construct in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% if a %}", "line 1: Unexpected end of template"),
        ("\n{{ a", "line 2: unexpected"),
        ("{% trans %}", "line 1: Encountered unknown tag"),
        ("{{ " + "9" * 5_000 + " }}", "holds an impossible value"),
        ("{{ " + "(" * 5_000, "nested too deeply"),
        ("{{ " + "not " * 5_000 + "a }}", "nested too deeply"),
        ("a" * (MAX_SOURCE_CHARS + 1), "must be at most 50,000 characters"),
    ],
)
def test_what_is_no_template_is_refused(source: str, said: str) -> None:
    with pytest.raises(PoolError) as caught:
        Template("mine", source)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["range", "lipsum", "cycler", "dict", "namespace", "joiner"])
def test_nothing_of_jinja_is_in_scope(name: str) -> None:
    template = Template("mine", f"{{{{ {name} }}}}")
    assert template.variables == {name}
    with pytest.raises(PoolError, match=f"variable {name} is undefined"):
        template.render()


@pytest.mark.parametrize(
    "chain",
    ["{{ 'aaaaaaaaaa'" + "|replace('a', 'aaaaaaaaaa')" * 20 + " }}", "{{ [a, a, a]|join(a) }}"],
)
def test_a_filter_can_not_grow_without_bound(chain: str) -> None:
    with pytest.raises(PoolError, match="makes more than 200,000 characters"):
        Template("mine", chain).render(a="b" * (MAX_OUTPUT_CHARS // 3))


def test_a_prompt_can_not_be_longer_than_its_bound() -> None:
    template = Template("mine", "{{ a }}{{ a }}")
    assert len(template.render(a="b" * (MAX_OUTPUT_CHARS // 2))) == MAX_OUTPUT_CHARS
    with pytest.raises(PoolError, match="must be at most 200,000"):
        template.render(a="b" * (MAX_OUTPUT_CHARS // 2 + 1))
    with pytest.raises(PoolError, match="must be at most 200,000"):
        template.render(a="b" * (MAX_OUTPUT_CHARS + 1))


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{{ a|trim }}", "Ab c"),
        ("{{ a|lower }}", " ab c "),
        ("{{ a|upper }}", " AB C "),
        ("{{ a|trim|capitalize }}", "Ab c"),
        ("{{ a|length }}", "6"),
        ("{{ a|replace('b', '-') }}", " A- c "),
        ("{{ b|default('none') }}", "none"),
        ("{{ ''|default('none') }}", ""),
        ("{{ ''|default('none', true) }}", "none"),
        ("{{ ['x', a|trim]|join(', ') }}", "x, Ab c"),
        ("{{ ('x', 'y')|join }}", "xy"),
        ("{{ 'x' ~ a ~ 1 }}", "x Ab c 1"),
        ("{{ 'long' if a|length > 5 else 'short' }}", "long"),
        ("{% if b is defined and b %}b{% elif a in ['x', ' Ab c '] %}a{% endif %}", "a"),
        ("{% if not (a == 'b' or b is undefined) %}no{% else %}yes{% endif %}", "yes"),
        ("{% raw %}{{ a }}{% endraw %}{# note #}", "{{ a }}"),
        ("{% if true %}\nline\n{% endif %}\nend\n", "line\nend"),
        ("one\r\n{{ a }}", "one\n Ab c "),
    ],
)
def test_what_a_prompt_needs_is_there(source: str, rendered: str) -> None:
    assert Template("mine", source).render(a=" Ab c ") == rendered


def test_a_filter_that_does_not_fit_its_value_is_named() -> None:
    for source in ("{{ a|join(', ') }}", "{{ 'x' if a < 1 else 'y' }}"):
        with pytest.raises(PoolError, match="template mine: can't be rendered"):
            Template("mine", source).render(a="b")


@given(st.text(alphabet="{}%#ab.|()[]'_* ~0\n", max_size=30))
def test_any_text_either_renders_within_bounds_or_is_refused(source: str) -> None:
    try:
        template = Template("mine", source)
        text = template.render(**dict.fromkeys(template.variables, "x"))
    except PoolError:
        return
    assert len(text) <= MAX_OUTPUT_CHARS
