"""YAML at the door: a bounded, plain reading that can say on which line a value stands.

PyYAML's safe loader is safe from code, not from surprise: an alias or a merge key can stand
for a billion nodes, and of two equal keys the last one silently wins. Both are refused here,
and so are values that no file name, table or sentence takes: text with NUL, numbers without
end. The loader is libyaml's, since the one in Python needs seconds for a long list. What the
data must look like is for its reader (`pools`, `languages`, the configuration) to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sllm_data.errors import PoolError

MAX_BYTES = 1_000_000
"""Size of the largest file that is read; a pool of a thousand wordings is a tenth of it."""

_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_MAX_DEPTH = 50
_MAX_NUMBER_CHARACTERS = 100  # Python writes out integers of 4,300 digits, and no larger ones


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlFile:
    """A YAML file that was read: its bytes, its data, and the nodes that know its lines."""

    path: Path
    content: bytes
    data: Any  # the shape of a user's file is unknown until its reader has checked it
    root: yaml.Node

    def line_of(self, location: tuple[int | str, ...]) -> int:
        """Returns the line, from 1, of the deepest node on the way to `location`."""
        node = self.root
        for step in location:
            found = _child(node, step)
            if found is None:
                break
            node = found
        return int(node.start_mark.line) + 1


def read_yaml(path: Path, *, max_bytes: int = MAX_BYTES) -> YamlFile:
    """Reads a YAML file with the safe loader.

    Raises:
        PoolError: The file can't be read, is larger than `max_bytes`, is not UTF-8 or not
            YAML, is empty or too deep, uses an alias, has one key twice, or holds a value
            that nothing can use.
    """
    return yaml_of(path, read_bounded(path, max_bytes))


def yaml_of(path: Path, content: bytes) -> YamlFile:
    """Reads the bytes of a YAML file.

    Raises:
        PoolError: As for `read_yaml`.
    """
    data, root = parse_yaml(decode(path, content), where=str(path))
    if root is None:
        raise PoolError(f"{path}: must hold data, but the file is empty")
    return YamlFile(path=path, content=content, data=data, root=root)


def parse_yaml(text: str, *, where: str) -> tuple[Any, yaml.Node | None]:  # Any: as above
    """Returns the data of a YAML text and the node it was made from; no node where it is empty.

    Args:
        text: All of it.
        where: Its name, for errors.

    Raises:
        PoolError: As for `read_yaml`.
    """
    try:
        _refuse_depth(where, text)
        loader = yaml.CSafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None, None
        _refuse_surprises(where, root)
        return loader.construct_document(root), root
    except yaml.MarkedYAMLError as error:
        # libyaml looks for what is missing on the line behind the last one
        last = text.count("\n") + 1
        line = min(error.problem_mark.line + 1, last) if error.problem_mark else last
        raise PoolError(f"{where}, line {line}: is not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise PoolError(
            f"{where}, line {line}: is not valid YAML: the character U+{error.character:04X} "
            "is not allowed; remove it"
        ) from error
    except ValueError as error:  # a date such as 2020-13-45, found by the constructor
        raise PoolError(f"{where}: holds an impossible value: {error}") from error
    except (LookupError, AttributeError) as error:  # so PyYAML takes `!!bool x`, `!!int ""`
        raise PoolError(
            f"{where}: holds a value that its tag does not allow; write it without a tag"
        ) from error


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Returns the bytes of a file that must not be larger than `max_bytes`.

    Raises:
        PoolError: The file can't be read or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise PoolError(f"{path}: can't be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise PoolError(f"{path}: must be at most {max_bytes:,} bytes; split or shorten it")
    return content


def decode(path: Path, content: bytes) -> str:
    """Returns the bytes of a file as text.

    Raises:
        PoolError: They are not UTF-8, or begin with a byte order mark.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PoolError(
            f"{path}, line {line}: must be UTF-8, found the byte 0x{content[error.start]:02x}"
        ) from error
    if text.startswith("\ufeff"):
        raise PoolError(f"{path}: must be UTF-8 without a byte order mark; save it without one")
    return text


def _refuse_depth(where: str, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):  # flat, where composing is recursive
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise PoolError(
                f"{where}: is nested too deeply, more than {_MAX_DEPTH} levels; look for "
                "brackets that are not closed"
            )


def _child(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        items: list[yaml.Node] = node.value
        return items[step] if step < len(items) else None
    if isinstance(node, yaml.MappingNode):
        pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
        return next((value for key, value in pairs if key.value == step), None)
    return None


def _refuse_surprises(where: str, root: yaml.Node) -> None:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        line = node.start_mark.line + 1
        if id(node) in seen:  # compose() makes an alias the very node that it points to
            raise PoolError(f"{where}, line {line}: an alias points here; write the value out")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(where, node)
        elif isinstance(node, yaml.ScalarNode):
            _refuse_unusable(where, node)
        waiting.extend(_children(node))


def _refuse_unusable(where: str, node: yaml.ScalarNode) -> None:
    line = node.start_mark.line + 1
    if "\x00" in node.value:
        raise PoolError(f"{where}, line {line}: text must not hold '\\x00'; remove it")
    if node.tag in _NUMBERS and len(node.value) > _MAX_NUMBER_CHARACTERS:
        raise PoolError(
            f"{where}, line {line}: a number must have at most {_MAX_NUMBER_CHARACTERS} "
            f"characters, got {len(node.value)}; put it in quotes if it is text"
        )


def _refuse_twice(where: str, node: yaml.MappingNode) -> None:
    keys: set[str] = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            continue  # the constructor or the reader refuses it
        if name in keys:
            line = key.start_mark.line + 1
            raise PoolError(f"{where}, line {line}: the key {name:.60} stands here twice")
        keys.add(name)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
