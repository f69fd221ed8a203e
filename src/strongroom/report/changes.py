"""What changed between two preflight reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.report.document import HostEntry, PreflightDocument

NOTHING = "-"


@dataclass(frozen=True)
class Changed:
    """One thing of one host, before and now; ``-`` stands for what was or is not there."""

    host: str
    what: str
    before: str
    now: str
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.host}: {self.what}: {self.before} -> {self.now}{note}"


def changes(old: PreflightDocument, new: PreflightDocument) -> list[Changed]:
    """Hosts, machines, platform states and verdicts that differ, host by host in the order of their names."""
    before, now = ({host.name: host for host in document.hosts} for document in (old, new))
    found = []
    for name in sorted({**before, **now}):
        if name not in now:
            found.append(Changed(name, "host", "there", NOTHING))
        elif name not in before:
            found.append(Changed(name, "host", NOTHING, "there"))
        else:
            found += _host(before[name], now[name])
    return found


def _host(old: HostEntry, new: HostEntry) -> list[Changed]:
    name = new.name
    if old.unreachable or new.unreachable:
        states = [one.unreachable or "reachable" for one in (old, new)]
        return [Changed(name, "connection", states[0], states[1])] if states[0] != states[1] else []
    found = []
    for field in type(new.machine).model_fields:
        before, now = (getattr(one.machine, field) for one in (old, new))
        if before != now:
            known = [NOTHING if one is None else str(one) for one in (before, now)]
            found.append(Changed(name, field.replace("_", " "), known[0], known[1]))
    for platform in sorted({*old.platforms, *new.platforms}):
        then, entry = old.platforms.get(platform), new.platforms.get(platform)
        states = [one.state.value if one else NOTHING for one in (then, entry)]
        if states[0] != states[1]:
            found.append(Changed(name, platform.value, states[0], states[1], entry.sentence if entry else ""))
    return found + _checks(old, new)


def _checks(old: HostEntry, new: HostEntry) -> list[Changed]:
    # Some ids come several times (HOST-PORT for every port): what is wanted tells them apart.
    before, now = ({(check.id, check.wanted): check for check in host.checks} for host in (old, new))
    found = []
    for key in {**before, **now}:
        then, check = before.get(key), now.get(key)
        verdicts = [one.verdict.value if one else NOTHING for one in (then, check)]
        if verdicts[0] != verdicts[1]:
            found.append(Changed(new.name, key[0], verdicts[0], verdicts[1], check.seen if check else ""))
    return found
