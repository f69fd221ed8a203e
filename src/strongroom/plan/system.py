"""Kernel and systemd: modules, sysctls, routes, swap and units."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.script import STATE

_ORIGINAL = f"{STATE}/original"


@dataclass(frozen=True)
class Module(Resource):
    """A kernel module that is loaded now (that it comes back after a reboot is a file's job)."""

    name: str

    @property
    def key(self) -> str:
        return f"module {self.name}"

    def read(self) -> str:
        builtin = f"grep -qs '/{self.name}.ko' /lib/modules/$(uname -r)/modules.builtin"
        return f"if [ -d /sys/module/{self.name} ] || {builtin}; then echo loaded=yes; fi"

    def steps(self, seen: Observed) -> list[Step]:
        if "loaded" in seen.fields():
            return []
        return [Step(self.key, f"load the module {self.name}", f"modprobe {quote(self.name)}")]


@dataclass(frozen=True)
class Sysctl(Resource):
    """A kernel parameter's running value (its file under sysctl.d is a :class:`~strongroom.plan.files.File`)."""

    name: str
    value: str

    @property
    def key(self) -> str:
        return f"sysctl {self.name}"

    @property
    def _path(self) -> str:
        return "/proc/sys/" + self.name.replace(".", "/")

    def read(self) -> str:
        return (
            f"[ -r {self._path} ] && echo value=$(cat {self._path})\n"
            f"[ -r {self._kept} ] && echo kept=$(cat {self._kept})"
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields().get("value")
        if now == self.value:
            return []
        sentence = f"set {self.name} to {self.value} (is {now if now is not None else 'not there'})"
        # The value that was there before us is kept once: it may be gone at the second time.
        script = (
            f"mkdir -p {_ORIGINAL}/sysctl; chmod 0700 {_ORIGINAL}\n"
            f"[ -e {self._kept} ] || put {self._kept} 0600 root:root < {self._path}\n"
            f"sysctl -qw {quote(f'{self.name}={self.value}')}\n"
            # Huge pages come as far as there is memory in one piece, and no error says so.
            f'now=$(echo $(cat {self._path})); [ "$now" = {quote(self.value)} ] || fail "{self.name}: asked for {self.value}, and the'
            ' kernel has made it $now: ask for less, or reboot and apply again"'
        )
        return [Step(self.key, sentence, script)]

    @property
    def _kept(self) -> str:
        return f"{_ORIGINAL}/sysctl/{self.name}"

    def undo(self, seen: Observed) -> list[Step]:
        """Back to the value that was running before us; one that somebody else has set since is theirs and stays."""
        now = seen.fields()
        if "kept" not in now:
            return []
        forget = f"rm -f {self._kept}; rmdir {_ORIGINAL}/sysctl {_ORIGINAL} 2>/dev/null || true"
        if now.get("value") != self.value:
            return [Step(self.key, f"leave {self.name} at {now.get('value')}, which somebody else set", forget)]
        script = f"sysctl -qw {quote(self.name + '=' + now['kept'])}\n{forget}"
        return [Step(self.key, f"set {self.name} back to {now['kept']}", script)]


_SWAP = f"{_ORIGINAL}/swap"
# A line may be indented, and may end behind the type (fstab(5), getmntent(3)).
_IN_FSTAB = r"^\s*[^#[:space:]]\S*\s+\S+\s+swap(\s|$)"


@dataclass(frozen=True)
class Route(Resource):
    """A route that the kernel has now (that it comes back after a reboot is a unit's job)."""

    subnet: str
    via: str

    @property
    def key(self) -> str:
        return f"route {self.subnet}"

    def read(self) -> str:
        return f"ip -4 -o route show exact {quote(self.subnet)} | sed -n 's/.* via \\([^ ]*\\).*/via=\\1/p'"

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields().get("via")
        if now == self.via:
            return []
        sentence = f"route {self.subnet} via {self.via} (is {now or 'not there'})"
        return [Step(self.key, sentence, f"ip route replace {quote(self.subnet)} via {quote(self.via)}")]


@dataclass(frozen=True)
class SwapOff(Resource):
    """No swap in use, none in fstab, no swap unit that brings it back: the kubelet counts on it."""

    @property
    def key(self) -> str:
        return "swap off"

    def read(self) -> str:
        return (
            "sed -n '2,$s/ .*//p' /proc/swaps | sed 's/^/active=/'\n"
            f"grep -Es '{_IN_FSTAB}' /etc/fstab | sed 's/^\\s*/fstab=/'\n"
            "systemctl list-unit-files --type=swap --state=enabled --no-legend | sed 's/ .*//;s/^/unit=/'\n"
            f"if [ -e {_SWAP} ]; then echo kept=yes; while read -r what which; do\n"
            '    case "$what" in enable) systemctl cat "$which" >/dev/null 2>&1;; *) [ -e "$which" ];; esac'
            f' || echo "gone=$which"\ndone < {_SWAP}; fi'
        )

    def steps(self, seen: Observed) -> list[Step]:
        lines = [line for line in seen.lines if line.startswith(("active=", "fstab=", "unit="))]
        if not lines:
            return []
        found = ", ".join(sorted({line.partition("=")[2].split()[0] for line in lines}))
        script = (
            f"mkdir -p {_ORIGINAL}; chmod 0700 {_ORIGINAL}\n"
            f"if [ ! -e {_SWAP} ]; then {{ sed -n '2,$s/ .*//p' /proc/swaps | sed 's/^/swapon /'\n"
            "    systemctl list-unit-files --type=swap --state=enabled --no-legend"
            f" | sed 's/ .*//;s/^/enable /'; }} | put {_SWAP} 0600 root:root; fi\n"
            "swapoff -a\n"
            f"if grep -Eqs '{_IN_FSTAB}' /etc/fstab; then\n"
            f"    sed -E '/{_IN_FSTAB}/s/^/# strongroom: /' /etc/fstab"
            " | rewrite /etc/fstab\nfi\n"
            "for unit in $(systemctl list-unit-files --type=swap --state=enabled --no-legend | sed 's/ .*//'); do\n"
            '    systemctl disable --now "$unit"\ndone'
        )
        return [Step(self.key, f"switch swap off ({found})", script)]

    def undo(self, seen: Observed) -> list[Step]:
        """The lines of fstab, the units and the devices that were in use before us, as far as they are still there."""
        if "kept=yes" not in seen.lines:
            return []
        gone = ", ".join(line.removeprefix("gone=") for line in seen.lines if line.startswith("gone="))
        script = (
            "if grep -qs '^# strongroom: ' /etc/fstab; then\n"
            "    sed 's/^# strongroom: //' /etc/fstab"
            " | rewrite /etc/fstab\nfi\n"
            f'systemctl daemon-reload\nwhile read -r what which; do case "$what" in\n'
            '    enable) ! systemctl cat "$which" >/dev/null 2>&1 || systemctl enable -q --now "$which";;\n'
            '    swapon) [ ! -e "$which" ] || grep -q "^$which " /proc/swaps || swapon "$which";;\n'
            f"esac; done < {_SWAP}\nrm -f {_SWAP}; rmdir {_ORIGINAL} 2>/dev/null || true"
        )
        but = f", but for {gone}, gone since" if gone else ""
        return [Step(self.key, f"bring swap back as it was{but}", script)]


@dataclass(frozen=True)
class Unit(Resource):
    """A systemd unit, enabled and active.

    ``restart_on`` lists files (and links) whose change needs a restart. That a restart is due is read from the host: the
    newest of those files is younger than the unit's last start. So a restart is not lost when a run dies between the
    change and the restart, and nothing is restarted twice.
    """

    name: str
    restart_on: tuple[str, ...] = ()
    ready: str = ""
    """Shell command that succeeds once the unit really serves; polled after a start."""
    foreign: bool = False
    """The unit was there before us, and stays as it is when all of ours is taken away."""

    @property
    def key(self) -> str:
        return f"unit {self.name}"

    def read(self) -> str:
        newest = ""
        if self.restart_on:
            paths = " ".join(quote(path) for path in self.restart_on)
            newest = f"\nstat -c 'changed=%.6Y %n' {paths} | sort -t= -k2 -n | tail -n 1"
        return (
            f"systemctl show {quote(self.name)} -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload\n"
            f"t=$(systemctl show --timestamp=us+utc {quote(self.name)} -p ActiveEnterTimestamp --value)\n"
            f'[ -z "$t" ] || echo started=$(date -u -d "$t" +%s.%6N){newest}'
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        unit = quote(self.name)
        out = []
        if now.get("NeedDaemonReload") == "yes":
            out.append(Step(self.key, "let systemd read its units anew", "systemctl daemon-reload", because=self.key))
        state = now.get("UnitFileState")
        if state not in ("enabled", "static", "alias", "indirect", "generated"):
            script = (
                f"systemctl daemon-reload\nsystemctl unmask -q {unit}\nsystemctl enable -q {unit}\nsync -f /etc/systemd"
            )
            sentence = f"enable {self.name} (is {state or 'not installed'})"
            out.append(
                Step(self.key, sentence, script, because=self._own_file() if state in (None, "", "bad") else None)
            )
        wait = f"\n{self._wait()}" if self.ready else ""
        if now.get("ActiveState") != "active":
            script = f"systemctl daemon-reload\nsystemctl reset-failed -q {unit} || true\nsystemctl start {unit}{wait}"
            out.append(Step(self.key, f"start {self.name} (is {now.get('ActiveState') or 'not there'})", script))
        elif (changed := self._changed_since_start(now)) is not None:
            script = f"systemctl daemon-reload\nsystemctl restart {unit}{wait}"
            sentence = f"restart {self.name} ({changed} is younger than its last start)"
            out.append(Step(self.key, sentence, script, because=f"file {changed}"))
        return out

    def _own_file(self) -> str | None:
        """The unit's own file, where it is ours: while it isn't there, nothing can be said of the unit itself."""
        return next((f"file {path}" for path in self.restart_on if path.endswith(f"/{self.name}")), None)

    def _changed_since_start(self, now: dict[str, str]) -> str | None:
        stamp, _, path = now.get("changed", "").partition(" ")
        if not stamp or "started" not in now:
            return None
        return path if float(stamp) > float(now["started"]) else None

    def _wait(self) -> str:
        return (
            f"n=0; until {self.ready}; do n=$((n+1)); [ $n -lt 300 ] || fail '{self.name} does not answer after 5 minutes;"
            f" see journalctl -u {self.name}'; sleep 1; done"
        )

    def undo(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        stopped = now.get("ActiveState", "inactive") == "inactive" and now.get("UnitFileState") != "enabled"
        if self.foreign or now.get("LoadState") != "loaded" or stopped:
            return []
        script = f"systemctl disable -q --now {quote(self.name)}\nsystemctl reset-failed -q {quote(self.name)} || true"
        return [Step(self.key, f"stop and disable {self.name}", script)]
