"""A host's clock and resolver: the probe's facts, and what timedatectl, chronyc, ntpq, resolv.conf, resolvectl and nmcli print.

Who keeps the clock: timedatectl(1), chronyc(1) and ntpq(8). Where several say it, one that says no is believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.probe.text import assignments, number, truth

# The probe's own, timedatectl show's, timedatectl's, and timedatectl's of systemd before 239.
_CAPTIONS = ("synchronised", "ntpsynchronized", "system clock synchronized", "ntp synchronized")
_LEAP = re.compile(r"^\s*Leap status\s*: (.+)$")
_UNSYNCHRONISED = "Not synchronised"
# chronyc sources: what a source is, and its state, of which * is the one that is followed.
_SOURCE = re.compile(r"^\s*[\^=#]([*+?x~-]) \S+\s+\d{1,2}\s+-?\d{1,2}\s")
# ntpq -p: * is the peer that is followed, o one with a pulse a second.
_PEER = re.compile(r"^([ *o+#x.-])\S+\s+\S+\s+\d{1,2} [a-zA-Z]\s")
_CHRONY, _NTPD = "chronyd", "ntpd"
_SERVERS = re.compile(r"^\s*(?:(?:Current )?DNS Servers?|IP[46]\.DNS\[\d{1,3}\])\s*:\s*(\S.*)$")
_MORE = re.compile(r"^\s{8,}([0-9a-fA-F:.]{2,45}(?:[%#]\S+)?)$")  # resolvectl prints one below the other


@dataclass(frozen=True)
class Clock:
    """The host's clock: seconds since 1970, whether a time service says it is synchronised, and what it ticks by."""

    seconds: int | None = None
    synchronised: bool | None = None
    service: str | None = None
    source: str | None = None
    nameservers: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    resolver_read: bool = False


def parse(lines: Sequence[str]) -> Clock:
    """Seconds on a line of their own, ``key=value`` facts, the resolver's lines, and the tools' own."""
    facts = assignments(line for line in lines if not line.startswith(("nameserver", "options")))
    seconds = next((number(line) for line in lines if number(line) is not None), number(facts.get("seconds")))
    options = [word for line in lines if line.startswith("options") for word in line.split()[1:]]
    kept, service = _kept(lines)
    servers = _servers(lines)
    return Clock(
        seconds, kept, facts.get("service", service), facts.get("clocksource"),
        tuple(dict.fromkeys(servers)), frozenset(options), bool(servers) or "resolver" in facts,
    )  # fmt: skip


def _kept(lines: Sequence[str]) -> tuple[bool | None, str | None]:
    """Whether the clock is kept, and by whom where the tool is that service's own."""
    said: list[bool] = []
    service = None
    for caption, value in (_caption(line) for line in lines):
        told = truth(value) if caption in _CAPTIONS else None
        if told is not None:
            said.append(told)
    for form, followed, name in ((_SOURCE, "*", _CHRONY), (_PEER, "*o", _NTPD)):
        if found := [match[1] for line in lines if (match := form.match(line))]:
            said.append(any(mark in followed for mark in found))
            service = name
    for match in filter(None, map(_LEAP.match, lines)):
        said.append(match[1].strip() != _UNSYNCHRONISED)
        service = _CHRONY
    return (all(said) if said else None), service


def _caption(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=" if "=" in line else ":")
    return key.strip().lower(), value


def _servers(lines: Sequence[str]) -> list[str]:
    found: list[str] = []
    listed = False
    for line in lines:
        words = line.split()
        if words[:1] and words[0] in ("nameserver", "upstream"):
            found += words[1:2]
        elif match := _SERVERS.match(line):
            found += match[1].split()
        elif listed and (match := _MORE.match(line)):
            found.append(match[1])
        else:
            listed = False
            continue
        listed = words[0] not in ("nameserver", "upstream")
    # resolvectl names the server of TLS behind its address.
    return [server.partition("#")[0] for server in found]
