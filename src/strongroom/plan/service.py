"""The service that a container runtime runs under on somebody else's node: found, never enabled or started, and restarted when
what we laid there is younger than its start."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.through import through

_PATIENCE = 300


@dataclass(frozen=True)
class Service(Resource):
    """One of ``units``, active; its runtime has read ``files``.

    ``ready`` succeeds once the runtime answers. Where the distribution restarts its containerd by itself, ``program`` is that
    containerd, and that is waited for first: the service is much more than containerd.
    """

    units: tuple[str, ...]
    files: tuple[str, ...]
    ready: str
    program: str = ""

    @property
    def key(self) -> str:
        return f"service {' or '.join(self.units)}"

    def read(self) -> str:
        files = " ".join(quote(path) for path in self.files)
        return (
            f"{found(self.units)}\n"
            f'echo "unit=$unit"\n{self._started()}\n'
            f"stat -c 'changed=%.6Y %n' {files} | sort -t= -k2 -n | tail -n 1"
        )

    def _started(self) -> str:
        if self.program:
            return f't=$({_process(self.program)}); [ -z "$t" ] || echo started=$t'
        return (
            't=$(systemctl show --timestamp=us+utc "$unit" -p ActiveEnterTimestamp --value)\n'
            '[ -z "$unit$t" ] || [ -z "$t" ] || echo started=$(date -u -d "$t" +%s.%6N)'
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        unit = now.get("unit", "")
        if not unit:
            raise StrongroomError(
                f"none of {', '.join(self.units)} is active, needed is one: handlers are registered on a node that runs",
                hint="start it, or correct kubernetes.distribution; this phase has changed nothing here",
            )
        stamp, _, path = now.get("changed", "").partition(" ")
        if not stamp or float(stamp) <= float(now.get("started", "inf")):
            return []
        if self.program:
            what = f"see that {unit} restarts its containerd ({path} is younger than that one's start)"
            since = f"since=$(stat -c %.6Y {quote(path)})"
            return [
                Step(
                    self.key, what, f"{since}\n{awaited(self.program, self.units, self.ready)}", because=f"file {path}"
                )
            ]
        what = f"restart {unit} ({path} is younger than its last start)"
        return [Step(self.key, what, restart((unit,), self.ready), because=f"file {path}", timeout=1800)]


def awaited(program: str, units: tuple[str, ...], ready: str) -> str:
    """Waits until the distribution has started its ``program`` anew, later than ``$since`` (seconds since 1970); where it
    doesn't do that by itself within half a minute, the unit is restarted."""
    return (
        f'newer() {{ awk -v a="$({_process(program)})" -v b="$since" \'BEGIN {{ exit !(a + 0 > b + 0) }}\'; }}\n'
        f"n=0; until newer && {{ {ready}; }} >/dev/null 2>&1 || [ $n -ge 30 ]; do n=$((n+1)); sleep 1; done\n"
        f"newer || {{ {restart(units, ready)}\n}}"
    )


def found(units: tuple[str, ...]) -> str:
    """Sets ``$unit`` to the one of the units that is active, or to nothing."""
    return (
        f"unit=; for u in {' '.join(map(quote, units))}; do\n"
        '    case "$(systemctl show "$u" -p ActiveState --value)" in active|activating|reloading) unit=$u; break;; esac\ndone'
    )


def restart(units: tuple[str, ...], ready: str) -> str:
    """Restarts the unit that runs, if one does, and waits until its runtime answers."""
    return (
        f'{found(units)}\nif [ -n "$unit" ]; then\n    systemctl restart "$unit"\n'
        f"    n=0; until {{ {ready}; }} >/dev/null 2>&1; do n=$((n+1)); [ $n -lt {_PATIENCE} ] ||"
        f' fail "$unit: its container runtime does not answer after 5 minutes; see journalctl -u $unit"; sleep 1; done\nfi'
    )


def answers(ctr: str) -> str:
    """A command that succeeds when containerd answers."""
    return through(ctr, "ctr --connect-timeout 5s version")


def _process(program: str) -> str:
    """Prints when the oldest process of a program was started: seconds since 1970, from the boot's time and clock ticks."""
    return (
        f"b=$(sed -n 's/^btime //p' /proc/stat); for p in /proc/[0-9]*; do"
        f' [ "$(readlink "$p/exe" 2>/dev/null)" = {quote(program)} ] || continue;'
        ' sed \'s/.*) //\' "$p/stat" | awk -v b="$b" -v h="$(getconf CLK_TCK)" \'{ printf "%.2f\\n", b + $20 / h }\'; done'
        " 2>/dev/null | sort -n | head -n 1"
    )
