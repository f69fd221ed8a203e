"""Changes every managed thing on every host by hand, and holds `plan` to naming exactly that, and `apply` to mending it.

``python -m tests.drift`` takes the converged cluster of ``inventories/lab.py``. What does not disturb each other is
spoiled together, round after round, and plan has to name exactly that; ``--one-by-one`` spoils each thing alone, which takes
hours on an emulated host, and ``--quick`` spoils each thing once instead of in every way. What cannot be changed on a
running host is printed with the reason. Large programs are left out unless ``--large`` is given: each is a minute of
copying to an emulated host.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# First, for it patches sockets for pyinfra's greenlets.
import strongroom.cli.main  # noqa: F401
from strongroom.cli.common import running
from strongroom.engine.remote import Remote
from strongroom.engine.runner import Run, pending
from strongroom.kube.access import api
from strongroom.model.cluster import Host
from strongroom.phases import kubeconfig
from strongroom.phases.base import ControllerPhase, HostPhase
from strongroom.phases.modes import phases
from strongroom.phases.runtime_classes import LABEL, RuntimeClassesPhase
from strongroom.plan.artifacts import Component, Image
from strongroom.plan.files import File, Link
from strongroom.plan.kubeadm import ControlPlane, NodeFiles, Worker
from strongroom.plan.resource import Resource, quote
from strongroom.plan.system import Module, Route, SwapOff, Sysctl, Unit
from tests.torture import KUBECTL

INVENTORY = Path(__file__).parents[1] / "inventories" / "lab.py"

# How each kind is spoiled: POSIX sh for a resource, by the name of what is done to it.
SPOILS: dict[str, tuple[type[Resource], Callable[[Any], str]]] = {
    "content of files": (File, lambda file: f"echo '# by hand' >> {quote(file.path)}"),
    "mode of files": (File, lambda file: f"chmod 0640 {quote(file.path)}"),
    "owner of files": (File, lambda file: f"chown nobody {quote(file.path)}"),
    "files removed": (File, lambda file: f"rm {quote(file.path)}"),
    "links": (Link, lambda link: f"ln -sfn /bin/false {quote(link.path)}"),
    "sysctls": (Sysctl, lambda sysctl: f"sysctl -qw {sysctl.name}={1024 if int(sysctl.value) > 1 else 0}"),
    "modules": (Module, lambda module: f"modprobe -r {module.name}"),
    "routes": (Route, lambda route: f"ip route del {route.subnet}"),
    "swap": (SwapOff, lambda _: "fallocate -l 16M /drift.swap; chmod 600 /drift.swap; mkswap -q /drift.swap; swapon /drift.swap"),
    "units stopped": (Unit, lambda unit: f"systemctl stop {unit.name}"),
    "units disabled": (Unit, lambda unit: f"systemctl disable -q {unit.name}"),
    # A running program can't be written to; another file can be put in its place.
    "programs": (
        Component,
        lambda one: f"cd {quote(one.prefix)}; f={quote(one.artifact.files[0].path)}; cp -p $f $f.x; echo x >> $f.x; mv $f.x $f",
    ),
    "modes of programs": (Component, lambda one: f"chmod 0700 {quote(f'{one.prefix}/{one.artifact.files[0].path}')}"),
    "kubeadm's files": (
        NodeFiles,
        lambda files: "\n".join(f"sed -i '1s/^/# by hand\\n/' {path}" for path in spoiled_by_kubeadm(files)),
    ),
    "pins of images": (
        Image,
        lambda image: f"ctr -n k8s.io images label {quote(image.artifact.image)} io.cri-containerd.pinned= > /dev/null",
    ),
}  # fmt: skip
_LARGE = 16 << 20  # bytes, packed

# Rounds of kinds that can be spoiled together. A unit that is stopped is apart from what only it could tell: images of a
# containerd that is off, routes that a unit sets. So are links from images: one of them is ctr.
ROUNDS = (
    ("content of files", "links", "sysctls", "programs", "routes"),
    ("mode of files", "units stopped", "modes of programs", "swap"),
    ("owner of files", "units disabled", "modules", "kubeadm's files", "pins of images"),
    ("files removed",),
)
# The same things, each of them once: what stands together takes turns.
QUICK = (
    (
        ("content of files", "mode of files", "owner of files", "files removed"),
        ("links",),
        ("sysctls",),
        ("programs", "modes of programs"),
        ("routes",),
    ),
    (("units disabled", "units stopped"), ("modules",), ("swap",), ("kubeadm's files",), ("pins of images",)),
)
# What goes with a module: its settings are there while it is loaded.
BROUGHT = {"br_netfilter": "net.bridge."}
LEFT_OUT = {ControlPlane: "a cluster is started once, and never again by a plan", Worker: "a node joins once"}


@dataclass(frozen=True)
class Place:
    """A resource, and where it belongs."""

    host: Host
    phase: HostPhase
    resource: Resource


def keys(place: Place, places: Sequence[Place]) -> list[str]:
    """What plan calls that which is spoiled with it, among all that there is."""
    match place.resource:
        case NodeFiles() as files:
            return [f"kubeadm's file {path}" for path in spoiled_by_kubeadm(files)]
        case Module(name=name) if name in BROUGHT:
            gone = [
                one.resource.key
                for one in places
                if one.host == place.host
                and isinstance(one.resource, Sysctl)
                and one.resource.name.startswith(BROUGHT[name])
            ]
            return [place.resource.key, *gone]
    return [place.resource.key]


def mended_by_others(place: Place) -> str:
    """Why a change by hand would be gone before plan could see it; empty where it stays."""
    if isinstance(place.resource, Image) and place.resource.artifact.component == "pause":
        return "containerd pins its sandbox image again by itself"
    return ""


def is_large(place: Place) -> bool:
    """Whether mending it means to copy much."""
    return isinstance(place.resource, Component) and place.resource.artifact.size > _LARGE


def spoiled_by_kubeadm(files: NodeFiles) -> list[str]:
    """All of kubeadm's files but those whose change stops the API server, which takes an emulated host minutes to start."""
    return [path for path in files.paths if "apiserver" not in path and "etcd" not in path]


@dataclass
class Drift:
    """One connected run, and what went wrong in it."""

    run: Run
    one_by_one: bool
    large: bool
    wrong: int = 0

    def __post_init__(self) -> None:
        mode = self.run.context.inventory.cluster.mode
        self.phases: list[HostPhase] = [phase for phase in phases(mode) if isinstance(phase, HostPhase)]
        self.places = [
            Place(host, phase, resource)
            for phase in self.phases
            for wave in phase.waves(self.run.context.inventory)
            for host in wave
            for resource in phase.resources(self.run.context, host)
        ]

    def named(self, host: Host) -> list[str]:
        """Keys that plan names on a host, consequences (restarts) left out."""
        resources = [place.resource for place in self.places if place.host == host]
        steps = pending(resources, self.run.session.remote(host))
        return sorted({step.resource for step in steps if step.because is None})

    def all_named(self) -> dict[str, list[str]]:
        """The same of every host that has something to name."""
        hosts = self.run.context.inventory.hosts
        found = self.run.session.each(hosts, lambda host, _: self.named(host))
        return {host.name: keys for host, keys in zip(hosts, found, strict=True) if keys}

    def spoil(self, batch: Sequence[tuple[str, Place]]) -> dict[str, list[str]]:
        """Spoil things, one execution a host; returns by host what plan has to name."""
        chosen = [host for host in self.run.context.inventory.hosts if any(place.host == host for _, place in batch)]

        def one(host: Host, remote: Remote) -> list[str]:
            own = [(what, place) for what, place in batch if place.host == host]
            scripts = [
                f"( set -e; {SPOILS[what][1](place.resource)}\n) >&2 && echo spoiled={number} || :"
                for number, (what, place) in enumerate(own)
            ]
            done = remote.run("\n".join(scripts), doing="spoiling")
            spoiled = []
            for number, (what, place) in enumerate(own):
                if f"spoiled={number}" in done:
                    spoiled += keys(place, self.places)
                else:
                    left_out = {"left out": place.resource.key, "host": host.name, "reason": f"{what}: in use"}
                    print(json.dumps(left_out), flush=True)
            return sorted(set(spoiled))

        found = self.run.session.each(chosen, one)
        return {host.name: keys for host, keys in zip(chosen, found, strict=True) if keys}

    def hold(self, what: str, batch: Sequence[tuple[str, Place]]) -> None:
        """Plan names exactly what was spoiled, and apply mends it; whether all of it, the next plan tells."""
        started = time.monotonic()
        spoiled = self.spoil(batch)
        found = self.all_named()
        print(json.dumps({"named": found == spoiled, "seconds": round(time.monotonic() - started)}), flush=True)
        self.run.phases([phase for phase in self.phases if any(place.phase is phase for _, place in batch)])
        ok = found == spoiled
        self.wrong += not ok
        line = {
            "spoiled": what,
            "count": sum(map(len, spoiled.values())),
            "ok": ok,
            "seconds": round(time.monotonic() - started),
        }
        print(json.dumps(line if ok else {**line, "wanted": spoiled, "named": found}), flush=True)

    def round(self, turns: Sequence[Sequence[str]]) -> None:
        """Spoil all things of these kinds, together or one by one; of a thing's kinds in one turn it gets one."""
        chosen = []
        for kinds in turns:
            places = [
                place
                for place in self.places
                if type(place.resource) is SPOILS[kinds[0]][0]
                and not mended_by_others(place)
                and ("programs" not in kinds or self.large or not is_large(place))
            ]
            chosen += [(kinds[number % len(kinds)], place) for number, place in enumerate(places)]
        if self.one_by_one:
            for what, place in chosen:
                self.hold(f"{what}: {place.resource.key}", [(what, place)])
        elif chosen:
            self.hold(", ".join(dict.fromkeys(what for what, _ in chosen)), chosen)

    def nothing_left(self, when: str) -> None:
        """Plan has nothing to name."""
        if left := self.all_named():
            self.wrong += 1
            print(json.dumps({"left": left, "when": when}), flush=True)

    def controller(self, what: str, phase: ControllerPhase, wanted: Sequence[str]) -> None:
        """The same for what a controller phase manages; it was spoiled already."""
        found = [step.resource for step in self.run_phase(phase, hands=False)]
        self.run_phase(phase, hands=True)
        left = [step.resource for step in self.run_phase(phase, hands=False)]
        ok = sorted(found) == sorted(wanted) and not left
        self.wrong += not ok
        print(
            json.dumps(
                {"spoiled": what, "count": len(wanted), "ok": ok, **({} if ok else {"named": found, "left": left})}
            ),
            flush=True,
        )

    def run_phase(self, phase: ControllerPhase, *, hands: bool) -> Sequence[Any]:
        return phase.run(self.run.context, self.run.session, self.run.progress, hands)

    def cluster(self) -> None:
        """Spoil labels and runtime classes, and the kubeconfig that was handed out."""
        cluster = api(self.run.session)
        assert cluster is not None
        nodes = [host.name for host in self.run.context.inventory.runtime_hosts]
        shims = self.run.context.shims
        for node in nodes:
            self.run.session.leader.run(
                f"{KUBECTL} label node {node} {LABEL}=false --overwrite", doing="spoiling a label"
            )
        self.controller("labels of nodes", RuntimeClassesPhase(), [f"Node {node}" for node in nodes])
        for shim in shims:
            cluster.delete("node.k8s.io/v1", "RuntimeClass", shim.handler)
        self.controller(
            "runtime classes removed", RuntimeClassesPhase(), [f"RuntimeClass {shim.handler}" for shim in shims]
        )
        for shim in shims:
            patch = '{"scheduling":{"nodeSelector":{"by":"hand"}}}'
            script = f"{KUBECTL} patch runtimeclass {shim.handler} --type merge -p {quote(patch)}"
            self.run.session.leader.run(script, doing="spoiling a runtime class")
        self.controller(
            "selectors of runtime classes", RuntimeClassesPhase(), [f"RuntimeClass {shim.handler}" for shim in shims]
        )
        path = kubeconfig.place(self.run.context)
        path.unlink()
        self.controller("the kubeconfig removed", kubeconfig.KubeconfigPhase(), [f"kubeconfig {path}"])


def main() -> None:
    """Spoil, plan, mend, round after round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=[*SPOILS, "cluster"], action="append")
    arguments = parser.parse_args()
    with running(INVENTORY, None, hands=True) as run:
        drift = Drift(run, arguments.one_by_one, arguments.large)
        for kind, reason in LEFT_OUT.items():
            print(json.dumps({"left out": kind.__name__, "reason": reason}))
        for place in drift.places:
            if reason := mended_by_others(place):
                print(json.dumps({"left out": place.resource.key, "host": place.host.name, "reason": reason}))
        if before := drift.all_named():
            sys.exit(f"not converged: {before}")
        rounds = QUICK if arguments.quick else tuple(tuple((what,) for what in kinds) for kinds in ROUNDS)
        for turns in rounds:
            drift.round([kinds for kinds in turns if not arguments.only or set(kinds) & set(arguments.only)])
        drift.nothing_left("after the last round")
        if not arguments.only or "cluster" in arguments.only:
            drift.cluster()
    sys.exit(1 if drift.wrong else 0)


if __name__ == "__main__":
    main()
