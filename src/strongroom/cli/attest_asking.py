"""The connection of ``attest collect``. Apart from the verb, for it needs pyinfra and verifying does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.engine import inventory as inventories
from strongroom.engine.ask import ask, require_pinned
from strongroom.engine.session import connect
from strongroom.errors import ConfigError
from strongroom.model.cluster import Host
from strongroom.model.explain import nearest
from strongroom.probe import evidence
from strongroom.report.progress import progress


@contextmanager
def connected(inventory: Path, name: str, seconds: float) -> Iterator[tuple[Host, Callable[[str], bytes]]]:
    """A host of an inventory, and how to have it run the evidence command with these words.

    Raises:
        ConfigError: no such inventory or host.
        StrongroomError: the host's key is not pinned, or it can't be reached.
    """
    pyinfra_inventory, ours = inventories.load(inventory)
    names = [host.name for host in ours.hosts]
    if name not in names:
        raise ConfigError(f"{inventory}: found no host {name!r}, it has {', '.join(names)}{nearest(name, names)}")
    host = ours.host(name)
    require_pinned(pyinfra_inventory.get_host(name))
    with (
        progress.step(f"Evidence of {name}"),
        connect(pyinfra_inventory, ours, lock=False, only=name) as session,
    ):
        remote = session.remote(host)
        script = evidence.evidence_script()
        yield host, lambda command: ask(remote, command, script, largest=evidence.LARGEST, seconds=seconds)
