"""A small cluster for upgrades: hosts are folders whose scripts run in real shells, the API server is a dict.

systemctl and ctr are stand-ins that keep what the scripts rely on: when a unit was started, and a list of images. The
cluster keeps who owns ``spec.unschedulable``, as server-side apply does; ``tests/lab/test_drain.py`` holds a real API server
to the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from strongroom.engine.runner import Run, pending
from strongroom.engine.upgrade import Options, Upgrade
from strongroom.errors import StrongroomError
from strongroom.fetch import tarball
from strongroom.fetch.bundle import Bundle
from strongroom.fetch.tarball import Member
from strongroom.kube import drain
from strongroom.model.bundle import Artifact, BundleManifest
from strongroom.model.cluster import Host, Inventory, validate
from strongroom.phases.base import Context
from strongroom.phases.choice import choose
from strongroom.phases.context import shims
from strongroom.phases.runtime import RuntimePhase
from strongroom.plan.artifacts import Image
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out, observe, parse_observation
from strongroom.report.progress import Progress
from tests.unit.test_plan import OWNER

KNOWN = shims()
_PATHS = re.compile(r"(?<![\w./*+}-])/(?=(?:opt|etc|usr/local/bin|var/lib/strongroom|run/strongroom)\b)")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin"
SYSTEMCTL = r"""
case "$*" in
    *ActiveEnterTimestamp*) cat $R/run/started 2>/dev/null;;
    show*) s=inactive; f=; [ ! -e $R/run/started ] || s=active; [ ! -e $R/run/enabled ] || f=enabled
        printf 'LoadState=loaded\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=no\n' $s $f;;
    enable*) touch $R/run/enabled;;
    disable*) rm -f $R/run/enabled $R/run/started;;
    start*|restart*|try-restart*) echo "$1" >> $R/run/orders; date +@%s.%N > $R/run/started;;
esac
"""
CTR = r"""
for last; do :; done
case "$*" in
    *"images ls") echo REF TYPE DIGEST SIZE PLATFORMS LABELS; cat $R/run/images 2>/dev/null;;
    *"images import --help") ;;
    *"images import"*) sed -n "s/^$(basename $last) //p" $R/run/known >> $R/run/images;;
    *"images label"*) sed -i "s|^$5 .*|&,$6|" $R/run/images;;
    *"images rm"*) [ ! -e $R/run/images ] || sed -i "\|^$last |d" $R/run/images;;
esac
"""


CONTAINERD = r"""
case "$*" in
    --version) echo containerd example.org/containerd 1.7.24 x;;
    --config*dump) cat $2;;
esac
"""


class Killed(BaseException):
    """The controller ends here."""


class Machine:
    """One host below a folder, as a :class:`~strongroom.engine.remote.Remote`."""

    def __init__(self, name: str, root: Path, contexts: Sequence[Context]) -> None:
        self.name, self.root = name, root
        self.notes: list[str] = []
        self.executions = 0
        self.before: Callable[[str], None] | None = None
        """Called with every sentence before it is carried out, and with ``after …`` behind it."""
        for folder in ("run", "opt", "shims", "etc/kubernetes"):
            (root / folder).mkdir(parents=True)
        known = [
            f"{one.sha256} {one.image} x {one.image_digest} 1MiB x x"
            for c in contexts
            for one in c.bundle.manifest.images()
        ]
        (root / "run/known").write_text("\n".join(known) + "\n")
        for program, script in (("systemctl", SYSTEMCTL), ("ctr", CTR), ("sync", "")):
            path = root / "shims" / program
            path.write_text(f"#!/bin/sh\nR={root}\n{script}")
            path.chmod(0o755)

    def has_containerd(self, config: str) -> None:
        """The distribution's containerd 1.7, running, with its configuration."""
        path = self.root / "shims/containerd"
        path.write_text(f"#!/bin/sh\n{CONTAINERD}")
        path.chmod(0o755)
        (self.root / "run/enabled").touch()
        (self.root / "run/started").write_text("@1000\n")
        (self.root / "etc/containerd").mkdir()
        (self.root / "etc/containerd/config.toml").write_text(config)

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script as on the host."""
        local = _PATHS.sub(f"{self.root}/", script.replace(_PATH, "PATH=@"))
        local = local.replace("PATH=@", f"PATH={self.root}/shims").replace("root:root", OWNER)
        done = subprocess.run(["sh", "-s"], input=local, capture_output=True, text=True, timeout=60, check=False)
        done.stdout = done.stdout.replace(OWNER, "root:root").replace(str(self.root), "")
        return done

    def observe(self, resources: Sequence[Resource]) -> dict[str, Observed]:
        """One execution."""
        self.executions += 1
        done = self.sh(observe(resources))
        assert done.returncode == 0, done.stderr
        return parse_observation(resources, done.stdout.splitlines())

    def perform(self, steps: Sequence[Step], given: str | None = None) -> None:
        """Uploads, then the steps, each of which may be the last."""
        self.executions += 1
        for upload in (upload for step in steps for upload in step.uploads):
            incoming = Path(f"{self.root}{upload.incoming}")
            incoming.parent.mkdir(parents=True, exist_ok=True)
            incoming.write_bytes(upload.source.read_bytes())
        if self.before is None:
            self._carry_out(steps, given)
            return
        for step in steps:
            self.before(step.sentence)
            self._carry_out([step], given)
            self.before(f"after {step.sentence}")

    def _carry_out(self, steps: Sequence[Step], given: str | None) -> None:
        done = self.sh(carry_out(steps, given))
        if done.returncode:
            raise StrongroomError(f"{self.name}: {steps[0].sentence}: {done.stderr.strip()}")

    def link(self, path: str) -> str:
        """Where a link leads."""
        whole = f"{self.root}{path}"
        return os.readlink(whole).removeprefix(str(self.root)) if os.path.islink(whole) else ""

    def versions(self, component: str = "kata") -> list[str]:
        """What lies beside each other."""
        folder = self.root / "opt/strongroom" / component
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def state(self) -> dict[str, str]:
        """Every path of the host that an upgrade may touch, with its content or target."""
        out = {}
        for top in ("opt", "etc", "usr", "var"):
            for path in sorted((self.root / top).rglob("*")):
                name = str(path.relative_to(self.root))
                if path.is_symlink():
                    out[name] = f"-> {os.readlink(path)}"
                elif path.is_file():
                    out[name] = hashlib.sha256(path.read_bytes()).hexdigest()
                else:
                    out[name] = "folder"
        return {name: what for name, what in out.items() if "incoming" not in name}


class Cluster:
    """Nodes and pods; every manager's share of a node's cordon is kept."""

    def __init__(self, names: Sequence[str]) -> None:
        self.cordons: dict[str, set[str]] = {name: set() for name in names}
        self.marked: set[str] = set()
        self.pods: list[dict[str, Any]] = []
        self.blocked: dict[str, str] = {}
        self.evicted: list[str] = []
        self.log: list[str] = []

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        if kind != "Node" or name not in self.cordons:
            return None
        notes = {drain.NOTE: "upgrade"} if name in self.marked else None
        spec = {"unschedulable": True} if self.cordons[name] else {}
        return {"metadata": {"name": name, "annotations": notes}, "spec": spec}

    def list(self, api_version: str, kind: str, **query: Any) -> list[dict[str, Any]]:
        node = query["field_selector"].removeprefix("spec.nodeName=")
        return [pod for pod in self.pods if pod["spec"]["nodeName"] == node]

    def apply(self, manifest: dict[str, Any], *, dry_run: bool = False, manager: str | None = None) -> dict[str, Any]:
        name, who = manifest["metadata"]["name"], manager or "strongroom"
        assert manifest["kind"] == "Node"
        if manifest.get("spec", {}).get("unschedulable"):
            self.cordons[name].add(who)
            self.log.append(f"cordon {name}")
        else:
            self.cordons[name].discard(who)
            self.log.append(f"uncordon {name}")
        (self.marked.add if manifest["metadata"].get("annotations") else self.marked.discard)(name)
        return manifest

    def evict(self, namespace: str, name: str) -> str | None:
        if name in self.blocked:
            return self.blocked[name]
        self.evicted.append(f"{namespace}/{name}")
        self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != name]
        return None


def pod(
    name: str, node: str, owner: str | None = "ReplicaSet", namespace: str = "shop", **metadata: Any
) -> dict[str, Any]:
    """A pod as the API server has it, as far as a drain looks."""
    owners = [{"kind": owner, "controller": True}] if owner else None
    meta = {"name": name, "namespace": namespace, "ownerReferences": owners, **metadata}
    return {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": "Running"}}


class Rig:
    """A control plane and workers, made into a cluster with the versions of ``old``.

    ``distribution`` is the configuration of the containerd that hosts have already, where it isn't the bundle's.
    """

    def __init__(self, folder: Path, workers: int = 1, distribution: str | None = None) -> None:
        self.folder = folder
        names = ["cp1", *(f"w{number + 1}" for number in range(workers))]
        self.inventory = _inventory(names, "bundle" if distribution is None else "distribution")
        self.old, self.new, self.newest = (
            self.context(*one) for one in (("4.1.0", "2.3.4"), ("4.2.0", "2.4.0"), ("4.3.0", "2.4.0"))
        )
        self.machines = {name: Machine(name, folder / name, (self.old, self.new, self.newest)) for name in names}
        self.cluster = Cluster(names)
        self.bad: dict[str, str] = {}
        """Node -> the kata version with which it is not well."""
        self.looked: list[str] = []
        for machine in self.machines.values():
            if distribution is not None:
                machine.has_containerd(distribution)
            Run(self.old, self.session, Progress(), hands=True).host_phase(_Everywhere(), pending)
            machine.root.joinpath("etc/kubernetes/kubelet.conf").touch()

        shutil.copytree(folder, self.kept, symlinks=True)

    @property
    def kept(self) -> Path:
        """A copy of the hosts as they were made."""
        return self.folder.with_name(f"{self.folder.name}-kept")

    def anew(self) -> Rig:
        """The hosts as they were made, at the same paths; a cluster without pods."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder, symlinks=True)
        for machine in self.machines.values():
            machine.before, machine.executions = None, 0
        self.cluster = Cluster(list(self.machines))
        self.bad, self.looked = {}, []
        return self

    @property
    def session(self) -> Any:
        """Hosts one after another."""
        return _Session(self)

    def context(self, kata: str, containerd: str) -> Context:
        """A bundle with these versions."""
        folder = self.folder / f"bundle-{kata}"
        (folder / "artifacts").mkdir(parents=True)
        shim = KNOWN["qemu-coco-dev"]
        go = shim.runtime_path.removeprefix("/opt/kata/")
        archives = [
            _archive(
                folder,
                "kata",
                kata,
                {go: f"shim {kata}", shim.in_place: "[hypervisor.qemu]\n", "VERSION": kata},
                stand_in=True,
            ),
            # One program that only this version has.
            _archive(
                folder,
                "containerd",
                containerd,
                {"bin/containerd": containerd, "bin/ctr": containerd, f"bin/ctr-{containerd}": containerd},
            ),
            _archive(folder, "runc", "1.4.3", {"bin/runc": "runc"}),
            _archive(folder, "cni-plugins", "1.9.1", {"bin/bridge": "bridge", "bin/ptp": "ptp"}),
        ]
        images = [_image(folder, "pause", f"3.{containerd[2]}"), _image(folder, "verify-pod", "1")]
        manifest = BundleManifest(
            arch="amd64", origin="go-modules", digest=f"sha256:{'0' * 64}", artifacts=(*archives, *images)
        )
        return Context(self.inventory, Bundle(folder, manifest), choose(self.inventory, KNOWN))

    def health(self, host: Host, fresh: bool) -> None:
        """A node is not well with the version that it is bad with."""
        kata = self.machines[host.name].link("/opt/kata").rpartition("/")[2]
        self.looked.append(f"{host.name} {kata}{' fresh' if fresh else ''}")
        if self.bad.get(host.name) == kata:
            raise StrongroomError(f"{host.name}: not Ready, 15 minutes after the switch")

    def upgrade(self, context: Context | None = None, *, hands: bool = True, **options: Any) -> Upgrade:
        """An upgrade, not begun yet."""
        run = Run(context or self.new, self.session, Progress(), hands=hands)
        how = Options(**options)
        fast = drain.Drain(self.cluster, how.drain_minutes, lambda _: None, sleep=lambda _: None, clock=_clock())
        return Upgrade(run, self.cluster, self.health, how, fast)

    def apply(self, context: Context, *, hands: bool = True) -> list[str]:
        """The runtime phase of apply; the sentences, with their hosts."""
        run = Run(context, self.session, Progress(), hands=hands)
        run.host_phase(RuntimePhase(), pending)
        return said(run)

    def kata(self) -> list[str]:
        """The version in use on each host."""
        return [machine.link("/opt/kata").rpartition("/")[2] for machine in self.machines.values()]

    def states(self) -> dict[str, dict[str, str]]:
        """All hosts' state."""
        return {name: machine.state() for name, machine in self.machines.items()}


def said(run: Run) -> list[str]:
    """What a run did, or would do."""
    return [f"{change.host}: {change.step.sentence}" for change in run.changes]


class _Everywhere(RuntimePhase):
    """The runtime, and the image that the kubernetes phase brings."""

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        verify = context.bundle.manifest.of("verify-pod")
        return [*super().resources(context, host), Image(verify, context.bundle.path(verify))]


class _Session:
    def __init__(self, rig: Rig) -> None:
        self.rig, self.inventory = rig, rig.inventory

    def each(self, hosts: Sequence[Host], function: Callable[[Host, Any], Any]) -> list[Any]:
        """As the real one: all hosts are carried to their end, then errors are told."""
        results: list[Any] = []
        errors = []
        for host in hosts:
            try:
                results.append(function(host, self.rig.machines[host.name]))
            except StrongroomError as error:
                errors.append(error)
        if errors:
            raise StrongroomError("\n".join(map(str, errors)), hint=errors[0].hint)
        return results


def _clock() -> Callable[[], float]:
    """A minute goes by each time that somebody looks."""
    times = iter(range(0, 1 << 20, 60))
    return lambda: float(next(times))


def _inventory(names: Sequence[str], containerd: str) -> Inventory:
    hosts: dict[str, Any] = {
        name: (["control_plane" if number == 0 else "workers"], {"address": f"10.0.0.{number + 1}"})
        for number, name in enumerate(names)
    }
    return validate(
        {"name": "a", "claim": "none", "runtime": {"shims": ["qemu-coco-dev"], "containerd": containerd}}, hosts
    )


def _archive(folder: Path, component: str, version: str, files: dict[str, str], *, stand_in: bool = False) -> Artifact:
    name = f"{component}-{version}.tar"
    path = folder / "artifacts" / name
    members = [Member(file, 0o755 if "bin/" in file else 0o644, data=text.encode()) for file, text in files.items()]
    with path.open("wb") as out:
        tarball.write(members, out)
    return Artifact(
        component=component, version=version, arch="amd64", kind="archive", file=name, size=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(), licence="x", source="x", files=tarball.listing(path, 0),
        stand_in=stand_in,
    )  # fmt: skip


def _image(folder: Path, component: str, version: str) -> Artifact:
    path = folder / "artifacts" / f"{component}.tar"
    path.write_text(f"{component} {version}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Artifact(
        component=component, version=version, arch="amd64", kind="image", file=path.name, size=path.stat().st_size,
        sha256=digest, licence="x", source="x", image=f"example/{component}:{version}", image_digest=f"sha256:{digest}",
    )  # fmt: skip
