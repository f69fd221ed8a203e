"""YAML files that a user wrote: one line for each mistake, and nothing lost in silence.

The reader is PyYAML's safe one (YAML 1.1, as Ansible reads it) with three differences: a key that stands twice is an error
instead of the last one winning, ``!vault`` becomes :class:`Vaulted`, and ``!unsafe`` is the text that it marks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from strongroom.errors import ConfigError

_VAULT_FILE = "$ANSIBLE_VAULT;"
#: Values with all aliases written out, as whoever walks through them meets them: nine lines can stand for a milliard.
_MOST = 1_000_000


@dataclass(frozen=True)
class Vaulted:
    """A value that Ansible Vault encrypted."""

    where: str
    """``file:line`` of it."""


class _Refused(yaml.MarkedYAMLError):
    """Good YAML that is not allowed here."""


class _Loader(yaml.SafeLoader):
    """One file; ``name`` is the file's."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool, type(None))):
            raise _Refused(
                problem="found a list or keys for a key, allowed is a text", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise _Refused(problem=f"{key!r} is there twice", problem_mark=key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; one inside itself, which is refused later on, counts once."""
    if id(node) not in known:
        known[id(node)] = 1
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = (part for one in inner for part in (one if isinstance(one, tuple) else (one,)))
        known[id(node)] += sum(_size(part, known) for part in parts)
    return known[id(node)]


def _vault(loader: _Loader, node: yaml.Node) -> Vaulted:
    return Vaulted(f"{loader.name}:{node.start_mark.line + 1}")


def _unsafe(loader: _Loader, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
for _tag in ("!vault", "!vault-encrypted"):
    _Loader.add_constructor(_tag, _vault)
_Loader.add_constructor("!unsafe", _unsafe)


def load(path: Path) -> Any:
    """The content of a YAML or JSON file; nothing in it is None.

    Raises:
        ConfigError: it cannot be read, is not YAML, has a key twice, or is encrypted as a whole.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if text.startswith(_VAULT_FILE):
        raise ConfigError(
            f"{path}: encrypted with Ansible Vault, and strongroom has no key for it",
            hint="keep what strongroom reads in plain text, and secrets in a file that it does not read",
        )
    loader = _Loader(text)
    loader.name = str(path)
    try:
        node = loader.get_single_node()
        if node is not None and (size := _size(node, {})) > _MOST:
            raise ConfigError(f"{path}: stands for {size} values with its aliases written out, allowed are {_MOST}")
        return None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        raise ConfigError(f"{path}:{line + 1}: {_problem(error, text.splitlines(), line)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested deeper than any inventory is") from error
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(getattr(error, "reason", error)).split())
        raise ConfigError(f"{path}: not YAML: {said}") from error
    finally:
        loader.dispose()


def _problem(error: yaml.MarkedYAMLError, lines: list[str], line: int) -> str:
    """What is wrong in the words of somebody who writes YAML once a year."""
    if isinstance(error, _Refused):
        return str(error.problem)
    start = lines[line][: len(lines[line]) - len(lines[line].lstrip())] if line < len(lines) else ""
    if "\t" in start or "'\\t'" in str(error.problem):
        return "a tab; YAML is indented with blanks"
    if str(error.problem).startswith("could not determine a constructor"):
        return f"{str(error.problem).rpartition(' ')[2]}: a tag that is not known here"
    if error.problem == "mapping values are not allowed here":
        return "a colon where no key can be; look at the indentation, and put a text with a colon into quotes"
    return f"not YAML: {error.problem}"
