"""Where this machine gets Debian packages from: the lab's root file system comes from the same place.

Reads apt's own configuration (deb822 ``*.sources`` and one-line ``*.list``). A mirror, a proxy or an air-gapped copy
that the machine is set up for is used without being told twice; no address is built in.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from strongroom.errors import ConfigError, StrongroomError
from strongroom.lab import tools

SETTING = "STRONGROOM_APT_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*$")
_MIRROR = re.compile(r"^[a-z][a-z0-9+.-]*:/\S+$")


@dataclass(frozen=True)
class Source:
    """One place with binary packages: its address, and the suites and components taken from it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def parse_one_line(text: str) -> list[Source]:
    """The ``deb`` lines of a ``*.list`` file; other lines say nothing about binary packages and are passed over."""
    found = []
    for line in text.splitlines():
        if match := _ONE_LINE.match(line.partition("#")[0].strip()):
            found.append(Source(match[1], (match[2],), tuple(match[3].split())))
    return found


def _stanzas(text: str) -> list[dict[str, str]]:
    """Deb822 paragraphs with lower-case field names; continuation lines are joined by blanks."""
    stanzas: list[dict[str, str]] = [{}]
    field = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
            field = ""
        elif line[0] in " \t":
            if field:
                stanzas[-1][field] += " " + line.strip()
        elif ":" in line:
            field, _, value = line.partition(":")
            field = field.strip().lower()
            stanzas[-1][field] = value.strip()
        else:
            field = ""
    return [stanza for stanza in stanzas if stanza]


def parse_deb822(text: str) -> list[Source]:
    """The enabled ``deb`` stanzas of a ``*.sources`` file, one :class:`Source` for each address."""
    found = []
    for stanza in _stanzas(text):
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        suites, components = (tuple(stanza.get(name, "").split()) for name in ("suites", "components"))
        found += [Source(uri, suites, components) for uri in stanza.get("uris", "").split()]
    return found


def read(folder: Path = Path("/etc/apt")) -> list[Source]:
    """All sources of an apt configuration folder, in apt's order."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found = []
    for file in files:
        parse = {".list": parse_one_line, ".sources": parse_deb822}.get(file.suffix)
        if parse and file.is_file():
            found += parse(file.read_text(errors="replace"))
    return found


def choose(sources: Iterable[Source], codename: str) -> str | None:
    """The address that serves Debian itself: the first with this machine's release and the component ``main``."""
    for source in sources:
        if codename and codename in source.suites and "main" in source.components:
            return source.uri
    return None


def mirror() -> str:
    """The address of a Debian archive, from the setting, else from this machine's apt.

    Raises:
        ConfigError: the setting is no address.
        StrongroomError: this machine's apt has no Debian in it.
    """
    if setting := os.environ.get(SETTING, "").strip():
        if not _MIRROR.match(setting):
            raise ConfigError(f"{SETTING}: {setting!r}; wanted the address of a Debian archive (scheme://host/path)")
        return setting
    identity, codename = tools.machine_release()
    found = choose(read(), codename) if identity == "debian" else None
    if found is None:
        raise StrongroomError(
            f"/etc/apt: no source with the suite {codename or 'of a Debian release'!r} and the component 'main'",
            hint=f"set {SETTING} to the address of a Debian archive",
        )
    return found


def line(uri: str, suite: str) -> str:
    """The one source of the lab's root file system, as apt reads it; an address may hold a password.

    Raises:
        StrongroomError: the keys that sign Debian's packages are not on this machine.
    """
    if not KEYRING.is_file():
        raise StrongroomError(
            f"{KEYRING}: not there; without it packages can't be verified",
            hint="apt-get install debian-archive-keyring",
        )
    return f"deb [signed-by={KEYRING}] {uri} {suite} main\n"


def proxy_environment() -> dict[str, str]:
    """apt's proxies as environment variables, which the build's own apt reads; never on a command line."""
    found = {}
    for scheme in ("http", "https"):
        command = ["apt-config", "--format", "%v%n", "dump", f"Acquire::{scheme}::Proxy"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except OSError:
            return {}
        value = next(iter(said.splitlines()), "").strip()
        if value not in ("", "DIRECT", "false"):
            found[f"{scheme}_proxy"] = value
    return found
