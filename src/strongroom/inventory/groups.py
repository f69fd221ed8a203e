"""Groups, hosts and variables of one Ansible inventory in YAML, and whose word counts.

Pure: a document in, a tree out. The order in which one source overrides another is Ansible's ("How variables are merged",
and the list "Understanding variable precedence" in its guide, numbers 3 to 10 without the ones of playbooks):

1. variables in the inventory file: of ``all``, then of the other groups;
2. ``group_vars/all``;
3. ``group_vars/GROUP`` of the other groups;
4. variables of a host in the inventory file;
5. ``host_vars/HOST``.

Among groups a child overrides its parents; among groups of one depth the higher ``ansible_group_priority`` (1 unless it is
set) overrides, and with the same priority the later name in the alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strongroom.errors import ConfigError
from strongroom.inventory.ranges import expand, split_port
from strongroom.model.explain import nearest

_SECTIONS = ("children", "hosts", "vars")
_PRIORITY = "ansible_group_priority"
Vars = dict[str, Any]


@dataclass
class Group:
    """One group, with what all places that mention it say together."""

    name: str
    vars: Vars = field(default_factory=dict)
    parents: set[str] = field(default_factory=set)
    hosts: list[str] = field(default_factory=list)
    priority: int = 1


@dataclass
class Tree:
    """An inventory as its file has it. Hosts are in the order in which they were met."""

    groups: dict[str, Group] = field(default_factory=lambda: {"all": Group("all")})
    hosts: dict[str, Vars] = field(default_factory=dict)

    def groups_of(self, host: str) -> list[Group]:
        """Every group of a host, those that override the others last; ``all`` is the first."""
        names = [group.name for group in self.groups.values() if host in group.hosts]
        found = {"all"}
        while names:
            name = names.pop()
            if name not in found:
                found.add(name)
                names.extend(self.groups[name].parents)
        # Ansible's own group of those that are in no other one.
        found = {"all", "ungrouped"} if found <= {"all", "ungrouped"} else found - {"ungrouped"}
        groups = [self.groups.get(name) or Group(name) for name in found]
        return sorted(groups, key=lambda group: (self._depth(group.name), group.priority, group.name))

    def _depth(self, name: str) -> int:
        if name == "all":
            return 0
        group = self.groups.get(name)
        return 1 + max((self._depth(parent) for parent in (group.parents if group else ())), default=0)

    def circle(self) -> list[str]:
        """Groups each of which is a child of the one before it, and the first a child of the last; empty if there are none."""
        done: set[str] = set()

        def climb(name: str, path: list[str]) -> list[str]:
            if name in path:
                return path[path.index(name) :][::-1]
            if name not in done:
                for parent in sorted(self.groups[name].parents):
                    if found := climb(parent, [*path, name]):
                        return found
                done.add(name)
            return []

        found = next(filter(None, (climb(name, []) for name in sorted(self.groups))), [])
        first = found.index(min(found)) if found else 0
        return [*found[first:], *found[:first]]


def variables_of(tree: Tree, host: str, group_file: Callable[[str], Vars], host_file: Callable[[str], Vars]) -> Vars:
    """All variables of a host, as Ansible would have them.

    Args:
        group_file: what ``group_vars`` says of a group.
        host_file: what ``host_vars`` says of a host.
    """
    groups = tree.groups_of(host)
    merged: Vars = {}
    for group in groups:
        merged.update(group.vars)
    for group in groups:
        merged.update(group_file(group.name))
    return {**merged, **tree.hosts[host], **host_file(host)}


def parse(document: Any) -> Tree:
    """The tree of an inventory file's content.

    Raises:
        ConfigError: a line for each thing that is no inventory.
    """
    tree, problems = Tree(), list[str]()
    if not isinstance(document, Mapping):
        raise ConfigError(
            f"found {_kind(document)} at the top, allowed are groups: `all:` with hosts, children and vars"
        )
    if isinstance(document.get("plugin"), str):
        raise ConfigError(
            f"plugin: {document['plugin']}: the settings of an inventory plugin, not an inventory",
            hint="let Ansible write it out: ansible-inventory -i THIS_FILE --list --yaml --export --output hosts.yml",
        )
    for name, content in document.items():
        _group(tree, name, content, None, problems)
    if not problems and (circle := tree.circle()):
        problems.append(f"group {circle[0]}: a child of itself, through {' > '.join([*circle, circle[0]])}")
    if problems:
        raise ConfigError(*problems)
    return tree


def _group(tree: Tree, name: Any, content: Any, parent: str | None, problems: list[str]) -> None:
    if not isinstance(name, str):
        problems.append(f"group {name}: found {_kind(name)} for its name, allowed is a text; put it into quotes")
        return
    where = f"group {name}"
    group = tree.groups.setdefault(name, Group(name))
    if parent not in (None, "all"):
        group.parents.add(str(parent))
    if name == "all" and parent is not None:
        problems.append(f"group {parent}: children: found 'all', which has every group for a child")
        return
    if content is None:
        return
    if not isinstance(content, Mapping):
        problems.append(f"{where}: found {_kind(content)}, allowed are {', '.join(_SECTIONS)}")
        return
    for section, inner in content.items():
        if section not in _SECTIONS:
            problems.append(
                f"{where}: {section}: unknown key; allowed are {', '.join(_SECTIONS)}{_nearest_section(section)}"
            )
        elif inner is None:
            continue
        elif isinstance(inner, str) and section != "vars":
            _SECTION[section](tree, group, {inner: None}, problems)
        elif not isinstance(inner, Mapping):
            hint = "; end each line with a colon instead of starting it with a dash" if isinstance(inner, list) else ""
            problems.append(f"{where}: {section}: found {_kind(inner)}, allowed are keys{hint}")
        else:
            _SECTION[section](tree, group, inner, problems)


def _children(tree: Tree, group: Group, inner: Mapping[Any, Any], problems: list[str]) -> None:
    for name, content in inner.items():
        _group(tree, name, content, group.name, problems)


def _hosts(tree: Tree, group: Group, inner: Mapping[Any, Any], problems: list[str]) -> None:
    for pattern, variables in inner.items():
        where = f"group {group.name}: hosts: {pattern}"
        if not isinstance(pattern, str):
            problems.append(f"{where}: found {_kind(pattern)}, allowed is a text; put it into quotes")
            continue
        if variables is not None and not isinstance(variables, Mapping):
            problems.append(f"{where}: found {_kind(variables)}, allowed are variables of the host, or nothing")
            continue
        bare, port = split_port(pattern)
        try:
            names = expand(bare)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        own = _named(where, variables or {}, problems)
        for name in names:
            if name not in group.hosts:
                group.hosts.append(name)
            tree.hosts.setdefault(name, {}).update({**({"ansible_port": port} if port is not None else {}), **own})


def _vars(tree: Tree, group: Group, inner: Mapping[Any, Any], problems: list[str]) -> None:
    where = f"group {group.name}: vars"
    own = _named(where, inner, problems)
    if _PRIORITY in own:
        found = own.pop(_PRIORITY)
        try:
            group.priority = int(found)
        except (TypeError, ValueError):
            problems.append(f"{where}: {_PRIORITY}: found {found!r}, allowed is a whole number")
    group.vars.update(own)


_SECTION = {"children": _children, "hosts": _hosts, "vars": _vars}


def _named(where: str, variables: Mapping[Any, Any], problems: list[str]) -> Vars:
    for key in variables:
        if not isinstance(key, str):
            problems.append(f"{where}: {key}: found {_kind(key)} for a variable's name, allowed is a text")
    return {key: value for key, value in variables.items() if isinstance(key, str)}


def _nearest_section(found: Any) -> str:
    near = nearest(str(found), _SECTIONS)
    return near or "; a host stands below hosts, a group below children, a variable below vars"


def _kind(value: Any) -> str:
    """What a value is, in a user's words."""
    if value is None:
        return "nothing"
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list", dict: "keys"}
    return (
        f"{names.get(type(value), type(value).__name__)} ({value})"
        if not isinstance(value, (list, dict))
        else names[type(value)]
    )
