"""Reads an inventory file, pyinfra's or Ansible's, and validates it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyinfra_cli.inventory
from pyinfra.api.inventory import Inventory as PyinfraInventory
from pyinfra.api.state import State
from pyinfra.context import ctx_state

from strongroom.catalog.load import checks as catalogue
from strongroom.engine import host_data
from strongroom.errors import ConfigError, StrongroomError
from strongroom.inventory import ansible
from strongroom.model.cluster import ROLES, STRICT, Inventory, validate
from strongroom.model.explain import nearest
from strongroom.report.progress import progress


def load(path: Path) -> tuple[PyinfraInventory, Inventory]:
    """pyinfra's inventory and ours, from one file.

    Raises:
        ConfigError: the file cannot be read or run, or says something that is not allowed.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: a folder; name the inventory file in it")
    if not path.is_file():
        raise ConfigError(f"{path}: no such inventory", hint="strongroom init writes a commented sample")
    inventory = _READERS.get(path.suffix, _refuse)(path)
    # Not what a host offers first, which is pyinfra's own default.
    inventory.data.setdefault(STRICT, "yes")
    return inventory, from_pyinfra(inventory, str(path))


def _refuse(path: Path) -> PyinfraInventory:
    raise ConfigError(
        f"{path}: found {path.suffix or 'no suffix'!r}, allowed are {', '.join(_READERS)}",
        hint="Ansible's other forms: ansible-inventory -i THIS_FILE --list --yaml --export --output hosts.yml",
    )


def _ansible(path: Path) -> PyinfraInventory:
    read = ansible.read(path)
    if read.ignored:
        progress.say(f"{path}: left alone, because they are not strongroom's: {', '.join(read.ignored)}")
    names = {name for own, _ in read.hosts.values() for name in own} - _TAKEN_NAMES
    groups: dict[str, Any] = {name: (read.group(name), {}) for name in sorted(names)}
    hosts = [(name, data) for name, (_, data) in read.hosts.items()]
    return PyinfraInventory((hosts, {} if read.cluster is None else {"cluster": read.cluster}), **groups)


def _pyinfra(path: Path) -> PyinfraInventory:
    try:
        # pyinfra's loader notes the file it runs in the current state, so there has to be one.
        with ctx_state.use(State()), _no_host_twice():
            inventory: PyinfraInventory = pyinfra_cli.inventory.make_inventory_from_files(str(path))
        return inventory
    except (Exception, SystemExit) as caught:
        # pyinfra wraps what the file itself raised.
        error = getattr(caught, "exception", caught)
        if isinstance(error, _Refused):
            raise ConfigError(f"{path}: {error}", hint=error.hint) from caught
        if isinstance(error, StrongroomError):
            raise error from caught
        if isinstance(error, SyntaxError):
            raise ConfigError(f"{path}:{error.lineno}: {error.msg}") from caught
        if isinstance(error, UnicodeDecodeError):
            raise ConfigError(f"{path}: no Python: byte {error.start} is not UTF-8") from caught
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), None
        )
        said = "the inventory ended the program: " if isinstance(error, SystemExit) else ""
        raise ConfigError(f"{path}{f':{line}' if line else ''}: {said}{type(error).__name__}: {error}") from caught


class _Refused(ConfigError):
    """Entries of a file that pyinfra would merge, or leave out, without a word."""


class _Once(PyinfraInventory):
    """Refuses two entries of one name that contradict each other, and one that ``all`` lacks: one server would be gone."""

    def make_hosts_and_groups(self, names: Any, groups: Any) -> None:
        """As pyinfra does, after a look at the entries."""
        said: dict[str, dict[str, Any]] = {}
        entries = [entry for group, _ in (*groups.values(), (names, None)) for entry in group]
        for name, data in (entry for entry in entries if isinstance(entry, tuple)):
            known = said.setdefault(name, dict(data))
            if key := next((key for key in data if key in known and known[key] != data[key]), None):
                first, second = (host_data.shown(key, one[key]) for one in (known, data))
                raise _Refused(
                    f"host {name}: is there twice, with {key} {first} and {second}; give each host its own name"
                )
            known.update(data)
        # pyinfra makes the hosts of `all` alone: a server that was added to its group and not there would be none.
        named = {_name(entry) for entry in names}
        for group in (one for one in ROLES if one in groups):
            if left := [name for name in map(_name, groups[group][0]) if name not in named]:
                raise _Refused(
                    f"group {group}: {left[0]} is not among the hosts of all, which names every host that there is",
                    hint="all = (control_plane + workers, {…})",
                )
        super().make_hosts_and_groups(names, groups)


def _name(entry: Any) -> str:
    """Of an entry of a group: a name, or one with data."""
    return str(entry[0] if isinstance(entry, tuple) else entry)


@contextmanager
def _no_host_twice() -> Iterator[None]:
    # pyinfra's loader has no other place where the entries of a file can be seen before they are merged.
    module: Any = pyinfra_cli.inventory
    kept, module.Inventory = module.Inventory, _Once
    try:
        yield
    finally:
        module.Inventory = kept


#: `all` is the first argument of pyinfra's inventory, in which groups are further ones by their names.
_TAKEN_NAMES = {"all", "self", "names_data", "override_data"}
_READERS = {".py": _pyinfra, **dict.fromkeys(ansible.SUFFIXES, _ansible)}


def from_pyinfra(inventory: PyinfraInventory, where: str = "inventory") -> Inventory:
    """Our inventory, from pyinfra's."""
    shared = {**inventory.get_data(), **inventory.get_group_data("all")}
    hosts, clusters = {}, {}
    for name, host in inventory.hosts.items():
        own = {**shared, **inventory.get_groups_data(host.groups), **inventory.get_host_data(name)}
        clusters[name] = own.pop("cluster", None)
        hosts[name] = (host.groups, own)
    if not hosts and isinstance(shared.get("cluster"), dict):
        raise ConfigError(f"{where}: no hosts", hint="all names every host: all = (control_plane + workers, {…})")
    first = next(iter(sorted(clusters)), None)
    cluster = clusters[first] if first else shared.get("cluster")
    try:
        if other := next((name for name in sorted(clusters) if clusters[name] != cluster), None):
            raise ConfigError(
                f"host {other}: cluster: differs from that of host {first}; set it once, in the data of all"
            )
        valid = validate(cluster, hosts, host_data.problems)
        _refuse_unknown_waivers(valid)
        return valid
    except ConfigError as error:
        raise ConfigError(*(f"{where}: {line}" for line in str(error).splitlines()), hint=error.hint) from error


def _refuse_unknown_waivers(inventory: Inventory) -> None:
    """A waiver of a check that there is not would look as if something had been accepted, and accept nothing."""
    known = [check.id for check in catalogue().checks]
    if unknown := [name for name in inventory.cluster.waive if name not in known]:
        raise ConfigError(
            *(
                f"cluster: waive: found {name!r}, allowed is the id of a check{nearest(name, known)}"
                for name in unknown
            ),
            hint="docs/checks/README.md lists them",
        )
