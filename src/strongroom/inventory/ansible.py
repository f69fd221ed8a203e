"""An Ansible inventory in YAML, with the ``group_vars`` and ``host_vars`` beside it, as groups and data for pyinfra.

What it means, and what of it counts here, is in docs/inventories.md; no code of Ansible's is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.errors import ConfigError
from strongroom.inventory import yamltext
from strongroom.inventory.groups import Vars, parse, variables_of
from strongroom.inventory.variables import to_pyinfra
from strongroom.model.explain import gathered

SUFFIXES = (".yml", ".yaml", ".json")


@dataclass(frozen=True)
class AnsibleInventory:
    """What strongroom and pyinfra need of it."""

    cluster: Any
    """The ``cluster`` variable, None if there is none."""
    hosts: dict[str, tuple[tuple[str, ...], dict[str, Any]]]
    """Host -> (its groups, its data in pyinfra's words), in the order of the names."""
    ignored: tuple[str, ...]
    """Variables that are left alone, of all hosts."""

    def group(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """The hosts of a group in the form of a pyinfra inventory."""
        return [(host, data) for host, (groups, data) in self.hosts.items() if name in groups]


def read(path: Path) -> AnsibleInventory:
    """Read a whole inventory.

    Raises:
        ConfigError: a line for every thing in it that cannot be read, is encrypted, or is not allowed.
    """
    document = yamltext.load(path)
    try:
        tree = parse(document)
    except ConfigError as error:
        raise _at(path, error) from error
    group_file, host_file = files_of(path)
    clusters: dict[str, Any] = {}
    hosts, ignored, problems = {}, set[str](), list[tuple[str, str]]()
    for name in sorted(tree.hosts):
        mapped = to_pyinfra(variables_of(tree, name, group_file, host_file))
        problems += [(name, problem) for problem in mapped.problems]
        ignored |= mapped.ignored
        clusters[name] = mapped.data.pop("cluster", None)
        hosts[name] = (tuple(group.name for group in tree.groups_of(name)), mapped.data)
    lines = gathered(problems)
    first = next(iter(clusters.values()), None)
    if other := next((name for name, found in clusters.items() if found != first), None):
        lines.append(
            f"host {other}: cluster: differs from that of host {next(iter(clusters))}; set it in the vars of all"
        )
    if lines:
        raise _at(path, ConfigError(*lines))
    if not hosts:
        raise ConfigError(f"{path}: no hosts", hint="docs/inventories.md has a sample")
    return AnsibleInventory(first, hosts, tuple(sorted(ignored)))


def from_environment(variable: str) -> AnsibleInventory:
    """The inventory whose path is in an environment variable.

    Raises:
        ConfigError: as :func:`read`, or the variable is not set.
    """
    value = os.environ.get(variable, "")
    if not value:
        raise ConfigError(f"{variable}: not set; it says which Ansible inventory in YAML to read")
    return read(Path(value))


def _at(path: Path, error: ConfigError) -> ConfigError:
    return ConfigError(*(f"{path}: {line}" for line in str(error).splitlines()), hint=error.hint)


def files_of(path: Path) -> tuple[Callable[[str], Vars], Callable[[str], Vars]]:
    """What the files beside an inventory say of a group, and of a host."""
    return _folder(path.parent / "group_vars"), _folder(path.parent / "host_vars")


def _folder(folder: Path) -> Callable[[str], Vars]:
    """What ``group_vars`` or ``host_vars`` says of a name; every file is read once."""
    known: dict[str, Vars] = {}

    def find(name: str) -> Vars:
        if name not in known:
            known[name] = {}
            if "/" not in name and name not in ("", ".", ".."):
                for file in _files(folder, name):
                    known[name].update(_variables(file))
        return known[name]

    return find


def _files(folder: Path, name: str) -> Sequence[Path]:
    """The first that exists of ``NAME`` (a file, or a folder with all below it), ``NAME.yml``, ``.yaml`` and ``.json``."""
    for suffix in ("", *SUFFIXES):
        place = folder / f"{name}{suffix}"
        if place.is_dir() and not suffix:
            return list(_below(place))
        if place.is_file():
            return [place]
    return []


def _below(folder: Path) -> Iterator[Path]:
    for place in sorted(folder.iterdir(), key=lambda place: place.name):
        if place.name.startswith(".") or place.name.endswith("~"):
            continue
        if place.is_dir():
            yield from _below(place)
        elif place.suffix in ("", *SUFFIXES):
            yield place


def _variables(file: Path) -> Vars:
    content = yamltext.load(file)
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{file}: found {type(content).__name__}, allowed are variables: a name, a colon, a value")
    return content
