"""Connections to all hosts of an inventory, for one run."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from getpass import getuser
from typing import Any, TypeVar

import gevent
from gevent.pool import Pool
from pyinfra.api.config import Config
from pyinfra.api.connect import disconnect_all
from pyinfra.api.inventory import Inventory as PyinfraInventory
from pyinfra.api.state import State
from pyinfra.context import ctx_config, ctx_state

from strongroom.engine.reboot import Reboots
from strongroom.engine.remote import Remote
from strongroom.errors import StrongroomError
from strongroom.model.cluster import Host, Inventory

T = TypeVar("T")
_LOCK = "/run/strongroom.operator"


class Session:
    """All hosts of an inventory, connected and locked for one operator."""

    def __init__(
        self,
        inventory: Inventory,
        state: State,
        remotes: dict[str, Remote],
    ) -> None:
        self.inventory = inventory
        self.state = state
        self.remotes = remotes
        # As many at once as pyinfra takes, but not in its own pool: a plain run sits in that one itself, on one of its
        # places, and would wait for ever for the place of its only host.
        self.pool = Pool(state.pool.size)
        self.reboots = Reboots(inventory.cluster.host.reboot_timeout_minutes)

    def remote(self, host: Host) -> Remote:
        """The connection to a host."""
        return self.remotes[host.name]

    @property
    def leader(self) -> Remote:
        """The connection to the first control plane host."""
        return self.remote(self.inventory.leader)

    def connect(self, hosts: Sequence[Host]) -> None:
        """Connect to all of these hosts, at the same time.

        Raises:
            StrongroomError: a line for each host that cannot be reached.
        """
        try:
            self.each(hosts, lambda _, remote: remote.connect())
        except StrongroomError as error:
            hint = (
                "check address, user, ssh_key and host key (ssh_known_hosts_file) in the inventory; nothing was changed"
            )
            raise StrongroomError(str(error), hint=hint) from error

    def each(self, hosts: Sequence[Host], function: Callable[[Host, Remote], T]) -> list[T]:
        """Call ``function`` for every host at the same time, and return the results in the order of ``hosts``.

        Raises:
            StrongroomError: with a line for every host that failed; the others were carried to their end.
        """
        jobs = [self.pool.spawn(self._guarded, function, host) for host in hosts]
        gevent.joinall(jobs)
        results = [job.get() for job in jobs]
        failed = [result for result in results if isinstance(result, StrongroomError)]
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise StrongroomError("\n".join(map(str, failed)), hint=failed[0].hint)
        return [result for result in results if not isinstance(result, StrongroomError)]

    def _guarded(self, function: Callable[[Host, Remote], T], host: Host) -> T | StrongroomError:
        # Contexts are per greenlet, and an exception must not take the other hosts' work down with it.
        with ctx_state.use(self.state), ctx_config.use(self.state.config):
            try:
                return function(host, self.remote(host))
            except StrongroomError as error:
                return error


@contextmanager
def connect(
    pyinfra_inventory: PyinfraInventory,
    inventory: Inventory,
    *,
    lock: bool = True,
    later: bool = False,
    only: str | None = None,
) -> Iterator[Session]:
    """Connect to every host, or to none; with ``later`` to none yet: who uses a host calls :meth:`Remote.connect` first.

    ``only`` names the one host to connect to; a lock is for all of them, so it does not go with it.

    ``lock`` takes the operator lock on each host: held by the connection, so it ends with it, however that ends.

    Raises:
        StrongroomError: a line for each host that cannot be reached, or that another operator holds.
    """
    logging.getLogger("pyinfra").setLevel(logging.CRITICAL)
    if lock and (later or only is not None):
        raise ValueError("the operator lock is taken on all hosts")
    limit = None if only is None else [pyinfra_inventory.get_host(only)]
    state = State(pyinfra_inventory, Config(CONNECT_TIMEOUT=20), initial_limit=limit)
    session = Session(inventory, state, {host.name: Remote(state, host) for host in pyinfra_inventory})
    channels: list[Any] = []

    def hold(_: Host, remote: Remote) -> None:
        channels.append(_hold(remote))
        remote.held = lambda: channels.append(_hold(remote))

    try:
        if not later:
            session.connect([host for host in inventory.hosts if only in (None, host.name)])
        if lock:
            session.each(inventory.hosts, hold)
        yield session
    finally:
        for channel in channels:
            channel.close()
        disconnect_all(state)


def _hold(remote: Remote) -> Any:
    """Take the operator lock on a host and keep it as long as the returned channel lives."""
    client = getattr(remote.host.connector, "client", None)
    if client is None:  # no SSH: a local or fake host, which nobody else is operating
        return _NoChannel()
    owner = f"{getuser()}@{socket.gethostname()} pid {os.getpid()}"
    channel = client.get_transport().open_session()
    remote.executions += 1
    command = (
        f"exec 8>>{_LOCK}; if flock -n 8; then echo '{owner} since '$(date -u +%FT%TZ) > {_LOCK}; echo held; exec cat;"
        f" else echo busy; cat {_LOCK}; fi"
    )
    sudo = "sudo -n " if remote.host.data.get("_sudo") else ""
    channel.exec_command(f"{sudo}sh -c {_quote(command)}")
    answer = channel.makefile("r").readline().strip()
    if answer == "held":
        return channel
    holder = channel.makefile("r").readline().strip() or "somebody"
    channel.close()
    if answer == "busy":
        raise StrongroomError(
            f"{remote.name}: held by another operator: {holder}", hint="wait for them, or end that run"
        )
    raise StrongroomError(
        f"{remote.name}: the operator lock {_LOCK} cannot be taken", hint="root or passwordless sudo is needed"
    )


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


class _NoChannel:
    def close(self) -> None:
        """Nothing was opened."""
