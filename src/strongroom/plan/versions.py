"""Which versions of the runtime a host has: the ones in use, the ones before, and those that may go.

Versions lie side by side below :data:`~strongroom.plan.artifacts.PREFIX`, and links say which are in use. Before an upgrade
switches them, what they point to is noted, with the configuration beside it; the note is what a rollback goes by, so none
needs the former bundle. It lies at :data:`SWITCHING` from before the first switch until the host was found well, and at
:data:`FORMER` from then on: a host whose switch was cut off tells so by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.plan.artifacts import ON_PATH, PREFIX
from strongroom.plan.containerd import CNI_BIN, CONFIG
from strongroom.plan.registration import KEPT, RESTART
from strongroom.plan.resource import Guard, Observed, Resource, Step, quote
from strongroom.plan.script import STATE
from strongroom.plan.system import Unit

_NOTES = f"{STATE}/upgrade"
SWITCHING = f"{_NOTES}/switching"
FORMER = f"{_NOTES}/former"
_MEMBER = "/etc/kubernetes/kubelet.conf"
"""Written by kubeadm where a host starts or joins a cluster."""
_UPGRADE = (
    "strongroom upgrade switches it, host by host, with its pods moved away; or take the bundle it was applied with"
)
PROGRAMS = (ON_PATH, CNI_BIN)
"""Folders that have links to programs of components."""
_VERSION = re.compile(rf"{re.escape(PREFIX)}/([^/ ]+)/([^/ ]+)(?:[/ ]|$)")


def version_of(path: str) -> tuple[str, str] | None:
    """Component and version of a path below our prefix; None for one that is elsewhere."""
    found = _VERSION.match(path)
    return (found[1], found[2]) if found else None


@dataclass(frozen=True)
class Switch:
    """A link that says which version of a component is in use, and the version that the bundle has."""

    component: str
    version: str
    link: str

    def read(self) -> str:
        """Prints ``use=COMPONENT TARGET``, where the link leads to something."""
        link = quote(self.link)
        return f'[ ! -e {link} ] || echo "use={self.component} $(readlink {link})"'


def in_use(seen: Observed) -> dict[str, str]:
    """Component -> the version that its link leads to, as the readers of :class:`Switch` found it."""
    found = {}
    for line in seen.lines:
        component, _, target = line.removeprefix("use=").partition(" ")
        known = version_of(target) if line.startswith("use=") else None
        if known is not None and known[0] == component:
            found[component] = known[1]
    return found


@dataclass(frozen=True)
class SameVersions(Guard):
    """A member of a cluster runs the bundle's versions, or none: other ones are not switched under running pods.

    Where an upgrade was cut off inside its switch, its pods were moved before: that may be brought to its end.
    """

    switches: tuple[Switch, ...]
    hint: str = _UPGRADE
    upgraded: bool = True
    """Whether upgrades switch these at all."""

    @property
    def key(self) -> str:
        return f"versions in use of {', '.join(switch.component for switch in self.switches)}"

    def read(self) -> str:
        return "\n".join(
            [
                "echo machine=$(uname -m)",
                f"[ ! -e {_MEMBER} ] || echo member=yes",
                f"[ ! -e {SWITCHING} ] || echo switching=yes",
                *(switch.read() for switch in self.switches),
            ]
        )

    def steps(self, seen: Observed) -> list[Step]:
        """None, ever.

        Raises:
            StrongroomError: another version is in use.
        """
        now, others = seen.fields(), self.others(seen)
        if others and "member" in now and not (self.upgraded and "switching" in now):
            raise StrongroomError(others, hint=self.hint)
        return []

    def others(self, seen: Observed) -> str:
        """What is in use and isn't the bundle's, in words; empty where all is."""
        used = in_use(seen)
        return "; ".join(
            f"{switch.component} {used[switch.component]} is in use, the bundle has {switch.version}"
            for switch in self.switches
            if used.get(switch.component, switch.version) != switch.version
        )


@dataclass(frozen=True)
class Remembered(Resource):
    """The note of what is in use before a switch: where links lead, and copies of configuration files."""

    links: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        return "note of the versions in use"

    def read(self) -> str:
        return f"[ ! -e {SWITCHING} ] || echo switching=yes"

    def steps(self, seen: Observed) -> list[Step]:
        if "switching" in seen.fields():  # of a switch that was cut off: what was in use before it is in that note
            return []
        new = f"{SWITCHING}.new"
        script = (
            f"rm -rf {new}; mkdir -p {new}/files; chmod 0700 {_NOTES} {new}; : > {new}/links; : > {new}/absent\n"
            f"for p in {' '.join(map(quote, self.links))}; do\n"
            f'    if [ -L "$p" ]; then echo "$p $(readlink "$p")" >> {new}/links\n'
            f'    elif [ ! -e "$p" ]; then echo "$p" >> {new}/absent; fi\ndone\n'
            f"for p in {' '.join(map(quote, self.files))}; do\n"
            f'    if [ -f "$p" ]; then mkdir -p "{new}/files$(dirname "$p")"; cp -a "$p" "{new}/files$p"\n'
            f'    elif [ ! -e "$p" ]; then echo "$p" >> {new}/absent; fi\ndone\n'
            f"sync -f {new}; mv -T {new} {SWITCHING}; sync {_NOTES}"
        )
        return [Step(self.key, "note the versions in use", script)]


@dataclass(frozen=True)
class Settled(Resource):
    """A switch has its end: what was in use before it is kept for a rollback, or forgotten where it is in use again."""

    @property
    def key(self) -> str:
        return "note of the former versions"

    def read(self) -> str:
        return f"[ ! -e {SWITCHING} ] || echo switching=yes"

    def steps(self, seen: Observed) -> list[Step]:
        if "switching" not in seen.fields():
            return []
        script = (
            f"other=\nwhile read -r p t; do [ \"$(readlink \"$p\")\" = \"$t\" ] || other=yes; done < {SWITCHING}/links\n"
            f"if [ -n \"$other\" ]; then rm -rf {FORMER}; mv -T {SWITCHING} {FORMER}; else rm -rf {SWITCHING}; fi\n"
            f"sync {_NOTES}"
        )  # fmt: skip
        return [Step(self.key, "end the switch of versions", script)]


@dataclass(frozen=True)
class Former(Resource):
    """The versions, and the configuration, that were in use before the last switch: as a rollback wants them."""

    @property
    def key(self) -> str:
        return "former versions"

    def read(self) -> str:
        return (
            f"n={SWITCHING}; [ -e $n ] || n={FORMER}; [ -e $n ] || exit 0\necho note=$n\n"
            'while read -r p t; do echo "to=$t"; [ -e "$t" ] || echo "gone=$t"\n'
            '    [ "$(readlink "$p")" = "$t" ] || echo "link=$p $t"; done < $n/links\n'
            '( cd $n/files; find . -type f ) | sed "s/^.//" | while read -r p; do\n'
            '    cmp -s "$n/files$p" "$p" || echo "file=$p"; done\n'
            'while read -r p; do [ ! -e "$p" ] && [ ! -L "$p" ] || echo "absent=$p"; done < $n/absent\n'
            "[ ! -e $n/restart ] || echo restart=due\n"
            # Whether what the owner has written into it since is in what we wrote last, or beside it; not in the middle of a way back.
            f"r={KEPT}/record.json; o='\"only_ours\": true'\n"
            f"if [ $n = {FORMER} ] && [ -e $r ] && ! cmp -s $n/files{CONFIG} {CONFIG}; then\n"
            f'    grep -q "$(sha256sum {CONFIG} | cut -c1-64)" $r && {{ grep -q "$o" $r || ! grep -q "$o" $n/files$r; }}'
            " || echo edited=yes\nfi"
        )

    def versions(self, seen: Observed) -> str:
        """What a rollback leads to, in words; empty where nothing is noted."""
        known = [version_of(line.removeprefix("to=")) for line in seen.lines if line.startswith("to=")]
        return ", ".join(f"{component} {version}" for component, version in sorted(set(filter(None, known))))

    def changes(self, seen: Observed) -> set[str]:
        """The links and files that would be written, by the keys of their resources."""
        found = (line.partition("=") for line in seen.lines)
        return {f"{kind} {path.split(' ')[0]}" for kind, _, path in found if kind in ("link", "file")}

    def steps(self, seen: Observed) -> list[Step]:
        """Links, then files, back to what is noted.

        Raises:
            StrongroomError: a version that is noted is not there any more, or the owner's configuration was edited since.
        """
        now = seen.fields()
        if "edited" in now:
            raise StrongroomError(
                f"{CONFIG}: somebody else has edited it since the upgrade, and going back would undo that as well",
                hint="strongroom upgrade --bundle DIR, with the bundle that has the former versions, keeps it",
            )
        gone = [line.removeprefix("gone=") for line in seen.lines if line.startswith("gone=")]
        if gone:
            raise StrongroomError(
                f"{gone[0]}: is gone, so the former version cannot be used again",
                hint="strongroom upgrade --bundle DIR, with the bundle that has it, installs it anew",
            )
        if not any(line.startswith(("link=", "file=", "absent=", "restart=")) for line in seen.lines):
            return []
        note = now["note"]
        script = (
            f"[ {note} = {SWITCHING} ] || mv -T {note} {SWITCHING}; sync {_NOTES}\nn={SWITCHING}\n"
            'beside() { d=$(dirname "$1"); mkdir -p "$d"; new="$d/.$(basename "$1").strongroom-new"; rm -f "$new"; }\n'
            'while read -r p t; do [ "$(readlink "$p")" = "$t" ] || {\n'
            '    beside "$p"; ln -s "$t" "$new"; mv -fT "$new" "$p"; sync "$d"; }; done < $n/links\n'
            '( cd $n/files; find . -type f ) | sed "s/^.//" | while read -r p; do cmp -s "$n/files$p" "$p" || {\n'
            # Younger than what reads it, or it would not be read again.
            '    beside "$p"; cp -a "$n/files$p" "$new"; touch "$new"; sync "$new"; mv -fT "$new" "$p"; sync "$d"; }; done\n'
            # What is gone has no time by which a restart would be due, so that is noted, and done, here.
            'while read -r p; do [ -e "$p" ] || [ -L "$p" ] || continue\n    [ -L "$p" ] || { : > $n/restart; sync $n/restart; }\n'
            '    case $p in /etc/systemd/system/*.service) systemctl disable -q --now "${p##*/}" || true;; esac\n'
            '    rm -f "$p"; sync "$(dirname "$p")"; done < $n/absent\n'
            f"if [ -e $n/restart ]; then systemctl daemon-reload\n( {RESTART} )\nrm -f $n/restart; fi"
        )
        return [Step(self.key, f"switch back to {self.versions(seen)}", script)]


@dataclass(frozen=True)
class FormerUnit(Unit):
    """A unit after a rollback: one that the former configuration did not have is gone, and not missed."""

    def steps(self, seen: Observed) -> list[Step]:
        return [] if seen.fields().get("LoadState") == "not-found" else super().steps(seen)


@dataclass(frozen=True)
class Versions(Resource):
    """All versions of our components below the prefix.

    ``remove`` takes those away that are neither in use nor noted as the former ones, and out of which nothing runs;
    ``ahead`` says what that will be after a switch, when those in use now are the former ones.
    """

    switches: tuple[Switch, ...]
    remove: bool = False
    ahead: bool = False

    @property
    def key(self) -> str:
        return "versions of the runtime"

    def read(self) -> str:
        names = " ".join(quote(switch.component) for switch in self.switches)
        return (
            f"for c in {names}; do for d in {PREFIX}/$c/*; do\n"
            '    [ ! -d "$d" ] || echo "there=$d"\ndone; done\n'
            f"[ ! -e {_NOTES} ] || echo notes=yes\n"
            f"[ ! -e {SWITCHING} ] || sed 's/^[^ ]* /used=/' {SWITCHING}/links\n"
            f"[ ! -e {FORMER} ] || sed 's/^[^ ]* /former=/' {FORMER}/links\n"
            f"readlink {' '.join(quote(switch.link) for switch in self.switches)} | sed 's/^/used=/'\n"
            f"for p in /proc/[0-9]*; do readlink $p/exe; done 2>/dev/null | grep '^{PREFIX}/' | sort -u | sed 's/^/runs=/'"
        )

    def _there(self, seen: Observed) -> list[tuple[str, str]]:
        found = (version_of(line.removeprefix("there=")) for line in seen.lines if line.startswith("there="))
        return [one for one in found if one is not None]

    def _are(self, seen: Observed, kind: str) -> set[tuple[str, str]]:
        found = (version_of(line.removeprefix(kind)) for line in seen.lines if line.startswith(kind))
        return {one for one in found if one is not None} | {(one.component, one.version) for one in self.switches}

    def steps(self, seen: Observed) -> list[Step]:
        if not self.remove:
            return []
        former = set() if self.ahead else self._are(seen, "former=")
        keep = self._are(seen, "used=") | self._are(seen, "runs=") | former
        return [self._gone(*one) for one in self._there(seen) if one not in keep]

    def _gone(self, component: str, version: str) -> Step:
        folder = f"{PREFIX}/{component}/{version}"
        # A program that no other version has still has its link, of which no other bundle knows.
        script = (
            f"for p in {' '.join(f'{one}/*' for one in PROGRAMS)}; do\n"
            f'    [ ! -L "$p" ] || case $(readlink "$p") in {quote(folder)}/*) rm -f "$p" ;; esac\ndone\n'
            f"rm -rf {quote(folder)}"
        )
        return Step(
            f"component {component} {version}", f"remove {component} {version}, which is no longer used", script
        )

    def notes(self, seen: Observed) -> list[str]:
        if not self.remove:
            return []
        kept = sorted(self._are(seen, "runs=") - self._are(seen, "used=") - self._are(seen, "former="))
        return [
            f"{component} {version} stays, for pods still run on it; an upgrade after they end removes it"
            for component, version in kept
            if (component, version) in self._there(seen)
        ]

    def undo(self, seen: Observed) -> list[Step]:
        """What upgrades have left; the bundle's own versions are for their components to take away."""
        ours = {(one.component, one.version) for one in self.switches}
        steps = [self._gone(*one) for one in self._there(seen) if one not in ours]
        if "notes" in seen.fields():
            steps.append(Step(self.key, "forget the former versions", f"rm -rf {_NOTES}"))
        return steps
