"""The part of Jinja2 that a prompt may use: it can't loop, call or reach out.

The syntax tree of a template is read before it is compiled, and every construct but text,
variables, conditions, `~` and a few filters is refused with its line. What is left has no
way to name an attribute, to call anything or to repeat itself, and its work is bounded by
three sizes: of the fields, of the tree, and of what a filter returns. The sandbox of Jinja2
stands behind that as a second wall.

Loading and rendering are in `templates`. Chat templates loop over messages and are not
prompts; `chat` renders those.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sllm_data.errors import PoolError

MAX_OUTPUT_CHARS = 200_000
"""Of one rendered prompt, of all its fields together, and of what one filter returns."""
MAX_SOURCE_CHARS = 50_000
MAX_NODES = 400
"""Of a template's tree. With the bound on filters, a render holds 80 million characters at
most before it is measured, and that only for a template made to do so."""
MAX_DEPTH = 40

_REFUSED = {
    nodes.For: "a loop (for)",
    nodes.Call: "a call",
    nodes.Getattr: "access to an attribute (a.b)",
    nodes.Getitem: "access to an item (a[b])",
    nodes.Assign: "an assignment (set)",
    nodes.AssignBlock: "an assignment (set)",
    nodes.Macro: "a macro",
    nodes.CallBlock: "a call block",
    nodes.FilterBlock: "a filter block",
    nodes.Include: "an include",
    nodes.Import: "an import",
    nodes.FromImport: "an import",
    nodes.Extends: "inheritance (extends)",
    nodes.Block: "inheritance (block)",
    nodes.With: "a with block",
    nodes.Dict: "a dictionary",
    nodes.ScopedEvalContextModifier: "an autoescape block",
}
_ALLOWED = (
    nodes.Template,
    nodes.Scope,  # only ever around an autoescape block, which is the one with a line
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.CondExpr,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Filter,
    nodes.Test,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
)
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")
_LARGEST = 2**63
_RESERVED = frozenset({"self", "super", "caller", "loop", "varargs", "kwargs"})
"""Names that Jinja2 gives a meaning of its own: printing `self` shows a memory address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A template that passed: compiled, with what is known about its variables."""

    compiled: jinja2.Template
    variables: frozenset[str]
    """Names that it reads."""
    verbatim: frozenset[str]
    """Those of them that are only ever printed: never filtered, never tested."""
    constant: str | None
    """The text of a template without variables, conditions and filters."""


@lru_cache(maxsize=4_096)
def checked(template_id: str, source: str) -> Checked:
    """Parses, checks and compiles; cached, since every render comes through here.

    Raises:
        PoolError: The source is too long, no Jinja2, or uses what a prompt may not use.
    """
    where = f"template {template_id}"
    if len(source) > MAX_SOURCE_CHARS:
        raise PoolError(f"{where}: must be at most {MAX_SOURCE_CHARS:,} characters long")
    environment = _environment()
    try:
        tree = environment.parse(source)
        names = _variables(where, tree)
        compiled = environment.from_string(tree)
    except jinja2.TemplateSyntaxError as error:
        raise PoolError(f"{where}, line {error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise PoolError(f"{where}: is nested too deeply to be meant") from error
    except ValueError as error:  # an integer with thousands of digits
        raise PoolError(f"{where}: holds an impossible value: {error}") from error
    shape = {type(node) for node, _, _ in _walk(tree)}
    constant = shape <= {nodes.Template, nodes.Output, nodes.TemplateData}
    return Checked(
        compiled=compiled,
        variables=frozenset(names),
        verbatim=frozenset(name for name, printed in names.items() if printed),
        constant=compiled.render() if constant else None,
    )


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # a prompt is plain text, not a page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.globals.clear()
    environment.tests = {name: environment.tests[name] for name in ("defined", "undefined")}
    environment.filters = {name: call for name, (call, _, _) in _filters().items()}
    return environment


def _variables(where: str, tree: nodes.Template) -> dict[str, bool]:
    """Returns the variables, each with whether it is only ever printed.

    Raises:
        PoolError: The first construct that a template may not use, with its line.
    """
    names: dict[str, bool] = {}
    for number, (node, parent, depth) in enumerate(_walk(tree), start=1):
        refusal = _refusal(node)
        if number > MAX_NODES or depth > MAX_DEPTH:
            refusal = f"a template of more than {MAX_NODES} nodes or {MAX_DEPTH} levels"
        if refusal is not None:
            raise PoolError(
                f"{where}, line {node.lineno}: {refusal} is not allowed; a prompt may use "
                "variables, conditions, ~, and the filters " + ", ".join(_filters())
            )
        if isinstance(node, nodes.Name):
            names[node.name] = names.get(node.name, True) and isinstance(parent, nodes.Output)
    return names


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, nodes.Node, int]]:
    """Yields (node, its parent, its depth) in the order of the source, without recursion."""
    waiting = [(tree, tree, 0)]
    while waiting:
        node, parent, depth = waiting.pop()
        yield node, parent, depth
        children = list(node.iter_child_nodes())
        waiting.extend((child, node, depth + 1) for child in reversed(children))


def _refusal(node: nodes.Node) -> str | None:
    match node:
        case nodes.Name() if node.name.startswith("_") or node.name in _RESERVED:
            return f"the name {node.name}"
        case nodes.Const():
            return _constant_refusal(node.value)
        case nodes.CondExpr(expr2=None):
            return "an if without else in an expression"
        case nodes.Filter():
            return _filter_refusal(node)
        case nodes.Test() if node.name not in ("defined", "undefined"):
            return f"the test {node.name}"
        case _:
            kind = type(node)
            known = isinstance(node, _ALLOWED)
            return (
                None if known else _REFUSED.get(kind, f"{kind.__name__.lower()} in an expression")
            )


def _constant_refusal(value: object) -> str | None:
    """Refuses what Jinja2 reads and then can't print, or prints as what is no text."""
    if isinstance(value, str) and not value.isascii() and _HALF_A_PAIR.search(value):
        return "half a surrogate pair"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "a number of so many digits"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number without end"
    return None


def _filter_refusal(node: nodes.Filter) -> str | None:
    known = _filters().get(node.name)
    if known is None:
        return f"the filter {node.name}"
    _, fewest, most = known
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        return f"a named or spread argument of the filter {node.name}"
    if not fewest <= len(node.args) <= most:
        return f"the filter {node.name} with {len(node.args)} arguments"
    return None


@lru_cache(maxsize=1)
def _filters() -> Mapping[str, tuple[Callable[..., object], int, int]]:
    """The filters by name, with the fewest and the most arguments that each takes."""
    return {
        "trim": (lambda value: str(value).strip(), 0, 0),
        "lower": (lambda value: str(value).lower(), 0, 0),
        "upper": (lambda value: str(value).upper(), 0, 0),
        "capitalize": (lambda value: str(value).capitalize(), 0, 0),
        "length": (lambda value: len(str(value)), 0, 0),
        "default": (_default, 1, 2),
        "replace": (_replace, 2, 2),
        "join": (_join, 0, 1),
    }


def _default(value: object, instead: object, empty_too: object = None) -> object:
    missing = isinstance(value, jinja2.Undefined) or (bool(empty_too) and not value)
    return instead if missing else value


def _replace(value: object, old: object, new: object) -> str:
    text, sought, substitute = str(value), str(old), str(new)
    size = len(text) + text.count(sought) * (len(substitute) - len(sought))
    if size > MAX_OUTPUT_CHARS:  # a chain of replacements can grow a letter beyond all memory
        raise OverflowError(f"replace makes more than {MAX_OUTPUT_CHARS:,} characters")
    return text.replace(sought, substitute)


def _join(value: object, separator: object = "") -> str:
    if not isinstance(value, (list, tuple)):
        raise TypeError("join must be given a list such as [a, b]")
    words, between = [str(item) for item in value], str(separator)
    if sum(map(len, words)) + len(words) * len(between) > MAX_OUTPUT_CHARS:
        raise OverflowError(f"join makes more than {MAX_OUTPUT_CHARS:,} characters")
    return between.join(words)
