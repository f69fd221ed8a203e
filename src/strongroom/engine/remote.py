"""One host over pyinfra's connection: run a script, put a file; every failure is one line that names the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from strongroom.errors import ConnectionLost, StrongroomError
from strongroom.fetch.packing import ASK, packed
from strongroom.plan.resource import Observed, Resource, Step, Upload
from strongroom.plan.script import STATE, carry_out, observe, parse_observation

_STEP = "#strongroom-step:"
_KEEPALIVE_SECONDS = 10


@dataclass
class Remote:
    """A host and its connection. ``executions`` counts SSH executions, for the tests that hold the design to its budget."""

    state: State
    host: Host
    executions: int = 0
    uploads: int = 0
    log: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the resources seen last have told and will not do."""
    held: Callable[[], None] | None = None
    """Takes what this connection holds of the host again, after a new one was made."""

    def __post_init__(self) -> None:
        self._keep_alive()

    def _keep_alive(self) -> None:
        client = getattr(self.host.connector, "client", None)
        transport = client.get_transport() if client else None
        if transport is not None:
            # A host whose plug was pulled sends no goodbye.
            transport.set_keepalive(_KEEPALIVE_SECONDS)

    @property
    def name(self) -> str:
        """The host's name in the inventory."""
        return str(self.host.name)

    def _arguments(self) -> dict[str, Any]:
        arguments, _ = pop_global_arguments(self.state, self.host, {})
        return {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}

    def run(self, script: str, *, doing: str, timeout: int = 900) -> list[str]:
        """Run a POSIX sh script, given on stdin, and return its output's lines.

        Raises:
            StrongroomError: it failed, took longer than ``timeout`` seconds, or the host went away.
        """
        self.executions += 1
        if not self._alive():  # a closed connection has not even an error to give
            raise ConnectionLost(f"{self.name}: {doing}: connection lost", hint="apply again when it is back")
        arguments = {**self._arguments(), "_stdin": script, "_timeout": timeout}
        try:
            ok, output = self.host.run_shell_command(StringCommand("sh", "-s"), **arguments)
        except TimeoutError as error:
            raise StrongroomError(f"{self.name}: {doing}: no end after {timeout} s") from error
        except (OSError, SSHException, EOFError) as error:
            raise ConnectionLost(
                f"{self.name}: {doing}: connection lost ({error})", hint="apply again when it is back"
            ) from error
        if ok:
            return list(output.stdout_lines)
        errors = [line for line in output.stderr_lines if not line.startswith(_STEP)]
        at = [line.removeprefix(_STEP) for line in output.stderr_lines if line.startswith(_STEP)]
        if not errors and not self._alive():
            raise ConnectionLost(
                f"{self.name}: {at[-1] if at else doing}: connection lost", hint="apply again when it is back"
            )
        text = "; ".join(errors[-3:]) or "failed and said nothing"
        raise StrongroomError(f"{self.name}: {at[-1] if at else doing}: {text}")

    def _alive(self) -> bool:
        client = getattr(self.host.connector, "client", None)
        if client is None:  # no SSH: a local or fake host
            return True
        transport = client.get_transport()
        return transport is not None and transport.is_active()

    def connect(self) -> None:
        """Connect, where that was not done yet.

        Raises:
            ConnectionLost: the host does not answer, is not the pinned one, or does not let this user in.
        """
        if self.host.connected:
            return
        try:
            self.host.connect(show_errors=False, raise_exceptions=True)
        except (PyinfraError, OSError, SSHException, EOFError, ValueError) as error:
            # Not ConnectError alone: a private key that is not there, or is none, is no matter of the connection to pyinfra.
            said = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, UnicodeError):
                said = "a file named in the inventory (ssh_key, ssh_known_hosts_file) is no text"
            raise ConnectionLost(f"{self.name}: cannot connect: {said}") from error
        self.state.activate_host(self.host)  # pyinfra disconnects those alone
        self._keep_alive()

    def reconnect(self) -> None:
        """Connect anew; what the old connection held is taken again.

        Raises:
            ConnectionLost: the host does not answer.
            StrongroomError: somebody else has taken the host meanwhile.
        """
        try:
            self.host.disconnect()
        except (OSError, SSHException, EOFError):
            self.host.connected = False
        self.connect()
        if self.held is not None:
            self.held()

    def carry_out(self, step: Step) -> None:
        """One step by itself."""
        self.perform([step])

    def observe(self, resources: Sequence[Resource]) -> dict[str, Observed]:
        """What is there of each resource; one execution for all of them."""
        lines = self.run(observe(resources), doing="reading the host", timeout=2400)
        try:
            return parse_observation(resources, lines)
        except ValueError as error:
            raise StrongroomError(f"{self.name}: reading the host: {error}") from error

    def put(self, upload: Upload, *, doing: str, pack: bool = False) -> None:
        """Copy a file to its incoming place, packed where the host can unpack it."""
        self.uploads += 1
        source, target = str(upload.source), upload.incoming
        if pack and (smaller := packed(upload.source, upload.sha256)):
            source, target = str(smaller), f"{upload.incoming}.zst"
        try:
            ok = self.host.put_file(source, target, **self._arguments())
        except (OSError, SSHException, EOFError) as error:
            # SFTP says no more than "Failure" when the disk is full.
            detail = "the disk is full or not writable" if str(error) == "Failure" else str(error)
            raise StrongroomError(f"{self.name}: {doing}: copying {upload.source.name}: {detail}") from error
        if not ok:
            raise StrongroomError(f"{self.name}: {doing}: copying {upload.source.name} failed")

    def perform(self, steps: Sequence[Step], given: str | None = None) -> None:
        """Carry out steps in one execution, their uploads first."""
        uploads = [upload for step in steps for upload in step.uploads]
        if uploads:
            size = sum(upload.size for upload in uploads)
            # Room for the file, packed and not, what unpacks from it, and a margin: checked before a byte is sent.
            need = (4 * size >> 10) + (64 << 10)
            said = self.run(
                # What a run has left that was cut off takes room, and nothing goes on with it.
                f"set -eu; umask 077; mkdir -p {STATE}/incoming; rm -f {STATE}/incoming/*; {ASK}\n"
                f"free=$(df -Pk {STATE}/incoming | sed -n '2s/  */ /gp' | cut -d' ' -f4)\n"
                f'[ "$free" -ge {need} ] || {{ echo "{STATE} has $((free >> 10)) MiB free and {need >> 10} are needed;'
                ' make room on the disk" >&2; exit 1; }',
                doing=steps[0].sentence,
            )
            for upload in uploads:
                self.put(upload, doing=steps[0].sentence, pack="packed=zstd" in said)
        named = [
            Step(**{**step.__dict__, "script": f"echo '{_STEP}'{_shell_words(step.sentence)} >&2\n{step.script}"})
            for step in steps
        ]
        self.run(carry_out(named, given), doing=steps[0].sentence, timeout=max(step.timeout for step in steps))


def _shell_words(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
