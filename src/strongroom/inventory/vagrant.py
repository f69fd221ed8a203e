"""Machines that Vagrant started, as pyinfra hosts: asked of Vagrant itself each time, never copied by hand.

``vagrant status`` says which machines run, ``vagrant ssh-config`` how to reach them. Vagrant trusts any host key (its SSH
configuration says ``StrictHostKeyChecking no``); we pin the keys, see :mod:`strongroom.inventory.pins`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from strongroom.errors import ConfigError
from strongroom.inventory import pins, yamltext
from strongroom.model.explain import explain, gathered
from strongroom.model.frozen import Frozen

SETTINGS = "vagrant-hosts.yaml"
#: Vagrant is slow, and slower on a machine that emulates its guests.
_PATIENCE_SECONDS = 300
_INSTALL = "install vagrant and vagrant-libvirt, then: vagrant up --provider libvirt"


class _Machine(Frozen):
    """What a machine may say of itself; the Vagrantfile reads the same."""

    box: str = Field(description="a Vagrant box with a build for libvirt")
    memory: int = Field(ge=512, description="how much memory it has, in MiB")
    cpus: int = Field(ge=1, description="how many CPUs it has")
    disk_gb: int = Field(ge=1, description="how large its disk is, in GB")
    nested: bool = Field(description="whether it can virtualise, true or false")
    uefi: bool = Field(description="whether it has OVMF in place of a BIOS, true or false")
    tpm: bool = Field(description="whether it has a TPM in software, true or false")
    address: str = Field(description="its fixed address in the private network")
    group: Literal["control_plane", "workers"] = Field(description="its group, control_plane or workers")

    @model_validator(mode="after")
    def _measured(self) -> _Machine:
        if self.tpm and not self.uefi:
            raise ValueError("tpm with uefi: a BIOS's measurements are none that strongroom reads")
        return self


def hosts(folder: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Group -> ``(name, data)`` pairs, the form of a pyinfra inventory, of the machines in ``folder``'s settings.

    Raises:
        ConfigError: the settings are wrong, Vagrant is missing or fails, or a machine is not running.
    """
    folder = folder.resolve()
    machines = settings(folder / SETTINGS)
    vagrant = shutil.which("vagrant")
    if vagrant is None:
        raise ConfigError("vagrant: no such program on the PATH", hint=_INSTALL)
    states = parse_states(_run(folder, vagrant, "status", "--machine-readable"))
    idle = [
        (name, f"{states.get(name, 'unknown to Vagrant')}, allowed is running")
        for name in machines
        if states.get(name) != "running"
    ]
    if idle:
        raise ConfigError(*(f"vagrant: {line}" for line in gathered(idle)), hint=f"in {folder}: vagrant up")
    reached = parse_ssh_config(_run(folder, vagrant, "ssh-config"))
    if missing := [(name, "not in what `vagrant ssh-config` says") for name in machines if name not in reached]:
        raise ConfigError(*(f"vagrant: {line}" for line in gathered(missing)))
    data = {name: _data(name, reached[name]) for name in machines}
    known_hosts = pins.pin(
        folder,
        {name: (own["ssh_hostname"], own["ssh_port"]) for name, own in data.items()},
        lambda name: _run(folder, vagrant, "ssh", name, "--no-tty", "-c", pins.READ),
    )
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {"control_plane": [], "workers": []}
    for name, machine in machines.items():
        own = {**data[name], "ssh_known_hosts_file": str(known_hosts), "ssh_strict_host_key_checking": "yes"}
        # A box's user is not root, and has sudo without a password (Vagrant's rules for base boxes).
        groups[machine.group].append((name, {**own, "_sudo": True, "address": machine.address}))
    return groups


def settings(file: Path) -> dict[str, _Machine]:
    """The machines of a settings file by name.

    Raises:
        ConfigError: a line for each thing in it that is wrong.
    """
    content = yamltext.load(file)
    if not isinstance(content, dict) or set(content) != {"defaults", "hosts"}:
        raise ConfigError(f"{file}: allowed are the keys defaults and hosts, both of them")
    machines, problems = {}, list[str]()
    defaults, hosts = (_keys(f"{file}: {key}", content[key], problems) for key in ("defaults", "hosts"))
    for name, own in hosts.items():
        where = f"{file}: {name}"
        try:
            machines[str(name)] = _Machine.model_validate({**defaults, **_keys(where, own, problems)})
        except ValidationError as error:
            problems += explain(where, _Machine, error)
    if not machines and not problems:
        problems.append(f"{file}: hosts: none")
    if problems:
        raise ConfigError(*problems)
    return machines


def _keys(where: str, value: Any, problems: list[str]) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    problems.append(f"{where}: found {value!r}, allowed are keys")
    return {}


def parse_states(text: str) -> dict[str, str]:
    """Machine -> state, of ``vagrant status --machine-readable`` (lines of time, target, kind, data)."""
    states = {}
    for line in text.splitlines():
        _, _, rest = line.partition(",")
        target, _, rest = rest.partition(",")
        kind, _, state = rest.partition(",")
        if kind == "state" and target:
            states[target] = state.strip()
    return states


def parse_ssh_config(text: str) -> dict[str, dict[str, list[str]]]:
    """Machine -> option in lower case -> its values, of ``vagrant ssh-config``."""
    reached: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in text.splitlines():
        found = re.fullmatch(r"\s*(\w+)[\s=]+(.*\S)\s*", line)
        if not found:
            continue
        option, value = found[1].lower(), found[2].strip('"')
        if option == "host":
            current = reached.setdefault(value, {})
        else:
            current.setdefault(option, []).append(value)
    return reached


def _data(name: str, options: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """pyinfra's data of one machine."""
    if "proxycommand" in options:
        raise ConfigError(
            f"vagrant: {name}: reached through ProxyCommand, allowed are machines of this machine's own libvirt"
        )
    wanted = {"ssh_hostname": "hostname", "ssh_port": "port", "ssh_user": "user", "ssh_key": "identityfile"}
    if lacking := [option for option in wanted.values() if option not in options]:
        raise ConfigError(f"vagrant: {name}: `vagrant ssh-config` does not say {', '.join(lacking)}")
    data: dict[str, Any] = {key: options[option][0] for key, option in wanted.items()}
    if not data["ssh_port"].isdigit():
        raise ConfigError(f"vagrant: {name}: found port {data['ssh_port']!r}, allowed is a number")
    return {**data, "ssh_port": int(data["ssh_port"])}


def _run(folder: Path, *words: str) -> str:
    command = shlex.join(["vagrant", *words[1:]])
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{command}: no end after {_PATIENCE_SECONDS} s in {folder}") from error
    except OSError as error:
        raise ConfigError(f"{command}: cannot be started: {error.strerror}") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:300] or "said nothing"
        raise ConfigError(f"{command}: failed with {done.returncode}: {said}", hint=_INSTALL)
    return done.stdout
