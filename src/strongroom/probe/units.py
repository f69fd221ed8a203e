"""systemd's units: what systemctl shows of them, and what their journal says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strongroom.probe.text import number

_UNIT = re.compile(r"^[^\w]{0,4}([\w@:.-]{1,120}\.(?:service|socket|timer|mount))(?: - .*)?$")
_ACTIVE = re.compile(r"^\s*Active: ([\w-]{1,20})(?: \(([^()]{1,60})\))?")  # "failed (Result: exit-code)" is one, too
_LOADED = re.compile(r"^\s*Loaded: ([\w-]{1,20})")
_LISTED = re.compile(r"^\W{0,4}([\w@:.-]{1,120}\.service)\s+([a-z-]{1,20})\s+([a-z-]{1,20})\s+([a-z-]{1,20})\s")
_NO_UNIT = re.compile(r"\bUnit ([\w@:.-]{1,120}\.service) (?:could not be found|not found)")
_IS_ACTIVE = re.compile(r"\bsystemctl is-active (?:--\S{1,20} )?([\w@:-]{1,120})(?:\.service)?$")
_JOURNAL = re.compile(r"^(?:\S.{4,80} )?([\w-]{1,60})\[\d{1,9}\]: (.*)")  # "Jan 16 08:55:49 host qgsd[73164]: ..."
# journalctl -u prints no unit's name: whose lines these are is told by the program, and of qgs's own output by its words.
_PROGRAMS = {"qgsd": "qgsd.service", "qgs": "qgsd.service", "aesm_service": "aesmd.service"}
# PCCS is a program of node's; its lines are known by the form that its logger gives them, in the journal and in its own file.
_PCCS = re.compile(
    r"^(?:.{4,80} node\[\d{1,9}\]: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[(?:info|warn|error|debug)\]: .*)"
)
# What systemd itself writes into a journal. Before version 249 the unit that started has no name there, only its description.
_FAILED = re.compile(
    r"^([\w@:.-]{1,120}\.service): (?:Failed with result|Unit entered failed state|Start request repeated)"
)
_JOB_FAILED = re.compile(r"^Job for ([\w@:.-]{1,120}\.service) failed\b")
_STARTED = re.compile(r"^Started (?:([\w@:.-]{1,120}\.service)\b)?")
_STOPPED = re.compile(r"^Stopped ([\w@:.-]{1,120}\.service)\b")
_QGS = re.compile(r"^(?:tee_att_\w{1,40} return |\[get_platform_quote_cert_data \S{0,20}td_ql_logic)")
_STATUS = re.compile(r"status=(\d{1,3})/")
# What status shows of a command: as it was started, or below the unit's cgroup.
_COMMAND = re.compile(
    r"^\s*Process: \d{1,9} ExecStart=(/\S.{0,400}?)(?: \(code=|$)|^\s*[│├└─|`-]{1,4}\s?\d{1,9} (/\S.{0,400})$"
)
_MORE = re.compile(r"^\s*(?:\S{1,40} )?--[a-z]")  # of a command that a terminal folded, between two words or within one


@dataclass(frozen=True)
class Unit:
    """A systemd unit; ``log`` are lines of its journal."""

    load: str | None = None
    active: str | None = None
    sub: str | None = None
    status: int | None = None
    command: str | None = None
    log: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The state, with what is more exact where it was told."""
        return f"{self.active} ({self.sub})" if self.sub else str(self.active)


def parse(lines: Sequence[str]) -> dict[str, Unit]:
    """Units from ``systemctl show`` blocks (``Id=`` begins one, ``Log=`` is a line of its journal), from ``status`` or
    ``list-units`` text, or from the journal alone."""
    shown: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] | None = None
    asked: str | None = None
    for line in lines:
        if asked and re.fullmatch(r"[a-z]{2,20}", line.strip()):
            shown.setdefault(asked, {}).setdefault("ActiveState", [line.strip()])
        asked = f"{match[1]}.service" if (match := _IS_ACTIVE.search(line.rstrip())) else None
        if current is not None and (match := _COMMAND.match(line)):
            current.setdefault("Command", [match[1] or match[2]])
        elif current is not None and "Command" in current and _MORE.match(line):
            current["Command"].append(line.strip())
        if match := _UNIT.match(line.strip()):
            current = shown.setdefault(match[1], {})
        elif line.startswith("Id="):
            current = shown.setdefault(line[3:].strip(), {})
        elif match := _NO_UNIT.search(line):
            shown.setdefault(match[1], {})["LoadState"] = ["not-found"]
        elif match := _LISTED.match(line):
            keys = ("LoadState", "ActiveState", "SubState")
            shown.setdefault(match[1], {}).update({key: [match[place]] for place, key in enumerate(keys, 2)})
        elif (match := _JOURNAL.match(line)) and match[1] in _PROGRAMS:
            shown.setdefault(_PROGRAMS[match[1]], {}).setdefault("Log", []).append(match[2])
        elif match := _PCCS.match(line):
            shown.setdefault("pccs.service", {}).setdefault("Log", []).append(match[1])
        elif match := _JOB_FAILED.match(line):
            shown.setdefault(match[1], {})["Journal"] = ["failed"]
        elif (match := _JOURNAL.match(line)) and match[1] == "systemd":
            _systemd(match[2], shown, current)
        elif _QGS.match(line):
            shown.setdefault("qgsd.service", {}).setdefault("Log", []).append(line)
        elif current is None:
            continue
        elif match := _ACTIVE.match(line):
            current.setdefault("ActiveState", [match[1]])
            current.setdefault("SubState", [match[2] or ""])
        elif match := _LOADED.match(line):
            current.setdefault("LoadState", [match[1]])
        elif match := _JOURNAL.match(line):
            current.setdefault("Log", []).append(match[2])
        elif match := _STATUS.search(line):
            current.setdefault("ExecMainStatus", [match[1]])
        else:
            key, mark, value = line.partition("=")
            if mark and re.fullmatch(r"[A-Za-z]{1,40}", key):
                current.setdefault(key, []).append(value.strip())
    return {
        name: Unit(
            load=_first(fields, "LoadState"),
            active=_first(fields, "ActiveState") or _first(fields, "Journal"),
            sub=_first(fields, "SubState"),
            status=number(_first(fields, "ExecMainStatus")),
            command=_unfold(fields["Command"]) if "Command" in fields else None,
            log=tuple(fields.get("Log", ())),
        )
        for name, fields in shown.items()
    }


def _systemd(text: str, shown: dict[str, dict[str, list[str]]], current: dict[str, list[str]] | None) -> None:
    """A line of systemd's own: what failed or was stopped last. That it was started since tells nothing of how it is now."""
    for pattern, state in ((_FAILED, "failed"), (_STOPPED, "inactive")):
        if match := pattern.match(text):
            shown.setdefault(match[1], {})["Journal"] = [state]
    if match := _STARTED.match(text):
        for name, fields in shown.items():
            if match[1] in (None, name):
                fields.pop("Journal", None)
    if current is not None:
        current.setdefault("Log", []).append(text)


def _unfold(parts: Sequence[str]) -> str:
    """Both readings of a command that was folded; of any other, itself."""
    return " ".join(dict.fromkeys((" ".join(parts), "".join(parts))))


def _first(fields: Mapping[str, Sequence[str]], key: str) -> str | None:
    return next(iter(fields.get(key, ())), None)
