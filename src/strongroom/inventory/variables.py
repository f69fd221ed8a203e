"""Variables of an Ansible inventory in pyinfra's words: what is taken, what is refused, what is left alone.

The rule, a table below: a variable that says how to reach a host, or how to become root there, is taken or refused, never
dropped; one that says how Ansible itself runs (interpreters, transfers, pipelining) means nothing here and is left alone. A
variable without ``ansible_`` that strongroom does not know belongs to somebody's playbooks and is left alone too, unless it
looks like one of ours misspelt. Values are used as they stand: no template is evaluated and no vault opened.

Sources of the names: ``ansible-doc -t connection ssh``, ``-t become sudo``, and "Connecting to hosts: behavioral inventory
parameters" in Ansible's guide (2.19).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from strongroom.inventory.yamltext import Vaulted
from strongroom.model.cluster import HOST_KEYS
from strongroom.model.explain import nearest

OURS = ("cluster", *HOST_KEYS)
_KEYS_ONLY = "a password has no place in an inventory; use a key, or an agent"
_SUDO_ALONE = "sudo has to work without a password: strongroom never sends one"
_TEMPLATE = re.compile(r"\{[{%#]")

Taken = dict[str, Any]


@dataclass
class Mapped:
    """One host's variables, sorted out."""

    data: Taken = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)

    def take(self, key: str, value: Any, source: str) -> None:
        """Note a value, once: two variables that mean the same must say the same."""
        if key in self.data and self.data[key] != value:
            self.problems.append(
                f"{source}: found {value!r}, and {self.said[key]} says {self.data[key]!r} for the same thing; keep one"
            )
        self.data.setdefault(key, value)
        self.said.setdefault(key, source)


class Refused(Exception):
    """``str()`` says what is wrong with a value, after the variable's name."""


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise Refused(f"found {value!r}, allowed is a text")
    return str(value)


def _port(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65536:
        raise Refused(f"found {value!r}, allowed is a port from 1 to 65535")
    return int(text)


def _truth(value: Any) -> bool:
    # The words of Ansible's own conversion.
    word = str(value).lower()
    if word in ("yes", "on", "1", "true", "t", "y", "1.0"):
        return True
    if word in ("no", "off", "0", "false", "f", "n", "0.0"):
        return False
    raise Refused(f"found {value!r}, allowed are true and false")


def _become(value: Any) -> bool | None:
    return _truth(value) or None


def _only(*allowed: str, why: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if _text(value) not in allowed:
            raise Refused(f"found {value!r}, allowed is {' or '.join(map(repr, allowed))}: {why}")

    return check


def _checked(value: Any) -> None:
    if not _truth(value):
        raise Refused("found False, allowed is true: host keys are pinned; collect them over a channel you trust")


def _strict(value: str) -> str:
    if value.lower() not in ("yes", "true"):
        raise Refused(f"found {value!r}, allowed is 'yes': host keys are pinned")
    return "yes"


def _never(why: str) -> Callable[[Any], None]:
    def refuse(_: Any) -> None:
        raise Refused(f"not allowed: {why}")

    return refuse


def _one_file(value: str) -> str:
    if len(value.split()) != 1:
        raise Refused(f"found {value!r}, allowed is one file")
    return value


_CONFIG_HINT = "put it into ~/.ssh/config, for the address that ansible_host has; strongroom reads that file"
_JUMP = _never(f"a jump host is for SSH's configuration: {_CONFIG_HINT}")

#: Variable -> (pyinfra's key, or None when it is only checked; conversion that refuses).
TAKEN: Mapping[str, tuple[str | None, Callable[[Any], Any]]] = {
    "ansible_host": ("ssh_hostname", _text),
    "ansible_ssh_host": ("ssh_hostname", _text),
    "ansible_port": ("ssh_port", _port),
    "ansible_ssh_port": ("ssh_port", _port),
    "ansible_user": ("ssh_user", _text),
    "ansible_ssh_user": ("ssh_user", _text),
    "ansible_private_key_file": ("ssh_key", _text),
    "ansible_ssh_private_key_file": ("ssh_key", _text),
    "ansible_become": ("_sudo", _become),
    "ansible_connection": (
        None,
        _only("ssh", "smart", "ansible.builtin.ssh", "paramiko", "paramiko_ssh", why="hosts are reached by SSH"),
    ),
    "ansible_become_method": (None, _only("sudo", "ansible.builtin.sudo", why="root is reached by sudo")),
    "ansible_become_user": (None, _only("root", why="hosts are set up as root")),
    "ansible_sudo_user": (None, _only("root", why="hosts are set up as root")),
    "ansible_become_exe": (None, _only("sudo", why="root is reached by sudo")),
    "ansible_sudo_exe": (None, _only("sudo", why="root is reached by sudo")),
    "ansible_host_key_checking": (None, _checked),
    "ansible_ssh_host_key_checking": (None, _checked),
    **{
        name: (None, _never(_KEYS_ONLY))
        for name in (
            "ansible_password",
            "ansible_ssh_pass",
            "ansible_ssh_password",
            "ansible_private_key_passphrase",
            "ansible_ssh_private_key_passphrase",
        )
    },
    **{
        name: (
            None,
            _never("a private key has no place in an inventory; name its file in ansible_ssh_private_key_file"),
        )
        for name in ("ansible_private_key", "ansible_ssh_private_key")
    },
    **{
        name: (None, _never(_SUDO_ALONE))
        for name in ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
    },
    "ansible_ssh_pkcs11_provider": (None, _never("keys on a token are reached through an SSH agent")),
    "ansible_sudo_chdir": (None, _never("hosts are set up from no folder in particular")),
}

#: Variables that hold arguments for ssh.
ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")

#: How Ansible itself runs.
LEFT_ALONE = re.compile(
    r"ansible_(.*_interpreter|shell_.*|executable|pipelining|ssh_pipelining|ssh_executable|scp_.*|sftp_.*|ssh_transfer_method"
    r"|ssh_retries|timeout|ssh_timeout|control_path(_dir)?|ssh_use_tty|ssh_verbosity|sshpass_prompt|ssh_password_mechanism"
    r"|become_flags|sudo_flags|become_plugin|become_allow_same_user|module_compression|async_dir|remote_tmp|system_tmpdirs"
    r"|common_remote_group|admin_users|facts_modules|network_os|winrm_.*|psrp_.*|paramiko_.*|check_mode|diff_mode|verbosity)"
)

#: SSH's options, in lower case, as they stand behind ``-o``.
_OPTIONS: Mapping[str, tuple[str | None, Callable[[Any], Any]]] = {
    "hostname": ("ssh_hostname", _text),
    "port": ("ssh_port", _port),
    "user": ("ssh_user", _text),
    "identityfile": ("ssh_key", _text),
    "userknownhostsfile": ("ssh_known_hosts_file", _one_file),
    "stricthostkeychecking": ("ssh_strict_host_key_checking", _strict),
    "forwardagent": ("ssh_forward_agent", _truth),
    "proxyjump": (None, _JUMP),
    "proxycommand": (None, _JUMP),
}
#: What changes neither where a connection goes nor whom it trusts.
_HARMLESS = re.compile(
    "batchmode|compression|connectionattempts|connecttimeout|control(master|path|persist)|identitiesonly|loglevel|requesttty"
    "|(kbdinteractive|password|pubkey)authentication|preferredauthentications|serveralive(countmax|interval)|tcpkeepalive"
    "|updatehostkeys"
)
_FLAGS = {"-F": "configfile", "-J": "proxyjump", "-i": "identityfile", "-l": "user", "-p": "port"}
_ALONE = frozenset(("-C", "-q", "-4", "-6", "-T", "-t", "-tt", "-v", "-vv", "-vvv", "-a", "-x"))


def to_pyinfra(variables: Mapping[str, Any]) -> Mapped:
    """Sort out all variables of one host. ``cluster`` is among the data, as it stands."""
    mapped = Mapped()
    for name in sorted(variables):
        value = variables[name]
        try:
            _sort_out(mapped, name, value)
        except Refused as refused:
            mapped.problems.append(f"{name}: {refused}")
    # Never what a host offers first.
    mapped.data.setdefault("ssh_strict_host_key_checking", "yes")
    return mapped


def _sort_out(mapped: Mapped, name: str, value: Any) -> None:
    if name in OURS:
        mapped.data[name] = _plain(value)
    elif name in TAKEN:
        key, convert = TAKEN[name]
        if value is not None and (found := convert(_plain(value))) is not None and key:
            mapped.take(key, found, name)
    elif name in ARGUMENTS:
        if value:
            _arguments(mapped, name, _text(_plain(value)))
    elif name.startswith("ansible_") and not LEFT_ALONE.fullmatch(name):
        known = [*TAKEN, *ARGUMENTS]
        raise Refused(f"unknown variable{nearest(name, known)}")
    elif not name.startswith("ansible_") and (close := get_close_matches(name, OURS, n=1, cutoff=0.8)):
        raise Refused(f"unknown variable; did you mean {close[0]!r}? If it is yours, give it another name")
    else:
        mapped.ignored.add(name)


def _plain(value: Any) -> Any:
    """A value that stands for itself.

    Raises:
        Refused: it is encrypted, or a template; as a whole or somewhere inside.
    """
    for inner in _walk(value):
        if isinstance(inner, Vaulted):
            raise Refused(
                f"encrypted with Ansible Vault ({inner.where}); strongroom has no key for it, write it in plain text"
            )
        if isinstance(inner, str) and _TEMPLATE.search(inner):
            raise Refused(f"found {inner!r}, a template; strongroom evaluates none, write the value")
    return value


def _walk(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
    else:
        yield value


def _arguments(mapped: Mapped, name: str, text: str) -> None:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Refused(f"found {text!r}: {error}") from error
    while words:
        word = words.pop(0)
        if word in _ALONE:
            continue
        if word == "-A":
            option, value = "forwardagent", "yes"
        elif word[:2] in ("-o", *_FLAGS):
            rest = word[2:] or (words.pop(0) if words else "")
            if word[:2] == "-o":
                option, _, value = rest.partition("=") if "=" in rest else rest.partition(" ")
            else:
                option, value = _FLAGS[word[:2]], rest
        else:
            raise Refused(f"found {word!r}, which strongroom does not know; {_CONFIG_HINT}")
        _option(mapped, name, option.strip(), value.strip())


def _option(mapped: Mapped, name: str, option: str, value: str) -> None:
    key = option.lower()
    if _HARMLESS.fullmatch(key):
        return
    if key == "configfile":
        mapped.take("ssh_config_file", _one_file(value), name)
    elif key in _OPTIONS:
        target, convert = _OPTIONS[key]
        try:
            found = convert(value)
        except Refused as refused:
            raise Refused(f"{option}: {refused}") from refused
        if target:
            mapped.take(target, found, f"{name}: {option}")
    else:
        raise Refused(f"found {option!r}, which strongroom does not know; {_CONFIG_HINT}")
