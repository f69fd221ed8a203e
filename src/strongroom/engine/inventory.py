"""Reads a pyinfra inventory file and validates it."""

from __future__ import annotations

import traceback
from pathlib import Path

from pyinfra.api.inventory import Inventory as PyinfraInventory
from pyinfra.api.state import State
from pyinfra.context import ctx_state
from pyinfra_cli.inventory import make_inventory_from_files

from strongroom.errors import ConfigError, StrongroomError
from strongroom.model.cluster import Inventory, validate

_CONNECTOR_KEYS = ("ssh_", "_")


def load(path: Path) -> tuple[PyinfraInventory, Inventory]:
    """pyinfra's inventory and ours, from one file.

    Raises:
        ConfigError: the file cannot be read or run, or says something that is not allowed.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such inventory", hint="strongroom init writes a commented sample")
    try:
        # pyinfra's loader notes the file it runs in the current state, so there has to be one.
        with ctx_state.use(State()):
            inventory = make_inventory_from_files(str(path))
    except Exception as caught:
        # pyinfra wraps what the file itself raised.
        error = getattr(caught, "exception", caught)
        if isinstance(error, StrongroomError):
            raise error from caught
        if isinstance(error, SyntaxError):
            raise ConfigError(f"{path}:{error.lineno}: {error.msg}") from caught
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), None
        )
        raise ConfigError(f"{path}{f':{line}' if line else ''}: {type(error).__name__}: {error}") from caught
    return inventory, from_pyinfra(inventory, str(path))


def from_pyinfra(inventory: PyinfraInventory, where: str = "inventory") -> Inventory:
    """Our inventory, from pyinfra's."""
    data = {**inventory.get_data(), **inventory.get_group_data("all")}
    hosts = {}
    for name, host in inventory.hosts.items():
        own = {**inventory.get_groups_data(host.groups), **inventory.get_host_data(name)}
        data = {**own, **data} if "cluster" not in data else data
        hosts[name] = (host.groups, own)
    try:
        return validate(data.get("cluster"), hosts)
    except ConfigError as error:
        raise ConfigError(*(f"{where}: {line}" for line in str(error).splitlines()), hint=error.hint) from error
