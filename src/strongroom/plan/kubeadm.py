"""Starting and joining a cluster with kubeadm, in a way that survives being cut off at any point.

`kubeadm init` and `join` are not idempotent and leave half a node behind when they die. Both are journalled: a step that
was begun and never ended is undone with `kubeadm reset` before it is tried again. A node whose step did end is never
reset by strongroom, whatever state its API server is in.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.plan.resource import Observed, Resource, Step, quote
from strongroom.plan.script import STATE, token

CONFIG = "/etc/strongroom/kubeadm.yaml"
_START, _JOIN = "control plane", "worker node"
LOG = "/var/log/strongroom-kubeadm.log"
_SOCKET = "unix:///run/containerd/containerd.sock"
_RESET = (
    f"kubeadm reset --force --cri-socket {_SOCKET} > {LOG} 2>&1 || fail \"kubeadm reset: $(tail -n 3 {LOG} | tr '\\n' ' ')\"\n"
    "rm -rf /etc/kubernetes /var/lib/etcd\n"
)
# Whose kubeadm it is: a node that somebody else's has made is not ours to take apart.
_OURS = 'case "$(readlink -f "$(command -v kubeadm)")" in /opt/strongroom/*) echo ours=yes;; esac'
# kubeadm reset leaves kube-proxy's tables in the kernel, and says so.
_TABLES = (
    "if command -v nft >/dev/null; then for family in ip ip6; do\n"
    "    ! nft list table $family kube-proxy >/dev/null 2>&1 || nft delete table $family kube-proxy\ndone; fi\n"
)


def _undo(key: str, what: str, seen: Observed) -> list[Step]:
    now = seen.fields()
    if "ours" not in now or not ({"started", "joined"} & set(now) or seen.interrupted):
        return []
    return [Step(key, what, _RESET + _TABLES, journal=True, timeout=1800)]


def _run(command: str) -> str:
    return (
        f'{command} > {LOG} 2>&1 || fail "{command.split(" --")[0]}: '
        f"$(grep -E 'rror|FATAL' {LOG} | tail -n 3 | tr '\\n' ' '); all of it is in {LOG} on the host\""
    )


@dataclass(frozen=True)
class ControlPlane(Resource):
    """The cluster's first control plane host, started with the kubeadm configuration in :data:`CONFIG`."""

    skip_phases: tuple[str, ...] = ()
    timeout: int = 1800

    @property
    def key(self) -> str:
        return _START

    def read(self) -> str:
        return (
            "[ -f /etc/kubernetes/admin.conf ] && [ -f /etc/kubernetes/manifests/kube-apiserver.yaml ] && echo started=yes\n"
            f"[ -f /etc/kubernetes/kubelet.conf ] && echo joined=yes\n[ -f {CONFIG} ] && {_OURS}"
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if "started" in now and not seen.interrupted:
            return []
        if "joined" in now and not seen.interrupted:
            message = "this host is part of another cluster (/etc/kubernetes/kubelet.conf); kubeadm reset it first"
            return [Step(self.key, "start the control plane", f"fail {quote(message)}")]
        skip = f" --skip-phases {','.join(self.skip_phases)}" if self.skip_phases else ""
        why = " (the last start was cut off)" if seen.interrupted else ""
        script = (_RESET if seen.interrupted else "") + _run(f"kubeadm init --config {CONFIG} --skip-token-print{skip}")
        return [Step(self.key, f"start the control plane{why}", script, journal=True, timeout=self.timeout)]

    def undo(self, seen: Observed) -> list[Step]:
        return _undo(self.key, "take the control plane down (kubeadm reset)", seen)


# What of `kubeadm init` writes files of a running node. In a dry run each goes to a folder of ours, under its own name.
_WRITERS = {
    "kubelet-start": ("/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/instance-config.yaml"),
    "control-plane": tuple(
        f"/etc/kubernetes/manifests/{name}.yaml" for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
    "etcd": ("/etc/kubernetes/manifests/etcd.yaml",),
}  # fmt: skip
_OTHER_PHASES = (
    "preflight", "certs", "kubeconfig", "wait-control-plane", "upload-config", "upload-certs", "mark-control-plane",
    "bootstrap-token", "kubelet-finalize", "addon", "show-join-command",
)  # fmt: skip


@dataclass(frozen=True)
class NodeFiles(Resource):
    """The files that kubeadm wrote for a node which runs: the kubelet's settings and, on a control plane, the static pods.

    Wanted is what kubeadm itself makes of :data:`CONFIG` now, in a dry run on the host (kubeadm, `KUBEADM_INIT_DRYRUN_DIR`),
    so that a file changed by hand and a setting changed in the inventory are both seen. A node that runs not yet has none.
    """

    control_plane: bool
    # Where kubeadm and the kubelet that it asks for its version are taken from, before the PATH: links on it may have drifted.
    programs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return "kubeadm's files"

    @property
    def paths(self) -> tuple[str, ...]:
        """Files on the host."""
        writers = tuple(_WRITERS) if self.control_plane else ("kubelet-start",)
        return tuple(path for writer in writers for path in _WRITERS[writer])

    def _render(self) -> str:
        """Leaves kubeadm's files in ``$d``."""
        skip = ",".join((*_OTHER_PHASES, *(() if self.control_plane else ("control-plane", "etcd"))))
        path = ":".join((*(quote(folder) for folder in self.programs), "$PATH"))
        return (
            "d=$(mktemp -d /run/strongroom-kubeadm.XXXXXX); trap 'rm -rf \"$d\"' EXIT\n"
            f'PATH={path} KUBEADM_INIT_DRYRUN_DIR="$d" kubeadm init --dry-run --config {CONFIG} --skip-phases {skip} > "$d/.log" 2>&1'
        )

    def _render_or_fail(self) -> str:
        reason = "$(grep -i -e error -e fatal $d/.log | head -n 1)"
        return f'{self._render()} || fail "{CONFIG}: {reason}"'

    def read(self) -> str:
        names, begun = " ".join(self.paths), f"{token(_START)} {token(_JOIN)}"
        return (
            # A start or join that was cut off is begun anew, and brings these files along.
            f"for j in {begun}; do [ ! -e {STATE}/journal/$j ] || exit 0; done\n"
            f"[ -f /etc/kubernetes/kubelet.conf ] && [ -f {CONFIG} ] || exit 0\n{self._render()} ||"
            ' { echo "error=$(tail -n 1 $d/.log)"; exit 0; }\n'
            f'for f in {names}; do [ -f "$d/${{f##*/}}" ] || continue\n'
            '    cmp -s "$d/${f##*/}" "$f" || echo "differs=$f"\ndone'
        )

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if "error" in now:
            # Tried once more when its turn comes: the configuration may be among what is mended before it.
            return [Step(self.key, f"let kubeadm render its files ({now['error']})", self._render_or_fail())]
        return [self._step(line.partition("=")[2]) for line in seen.lines if line.startswith("differs=")]

    def _step(self, path: str) -> Step:
        mode = "0600" if path.startswith("/etc/kubernetes") else "0644"
        script = (
            f'{self._render()} || fail "$(grep -i -e error -e fatal $d/.log | head -n 1)"\n'
            f'f="$d/{path.rpartition("/")[2]}"; cmp -s "$f" {path} || put {path} {mode} root:root < "$f"'
        )
        return Step(f"kubeadm's file {path}", f"write {path} (differs from what kubeadm makes of {CONFIG})", script)


@dataclass(frozen=True)
class Worker(Resource):
    """A host that joined the cluster as a worker; its join token lives for 20 minutes and is asked for when needed."""

    name: str
    address: str
    timeout: int = 1800

    @property
    def key(self) -> str:
        return _JOIN

    def read(self) -> str:
        return f"[ -f /etc/kubernetes/kubelet.conf ] && echo joined=yes\n{_OURS}"

    def steps(self, seen: Observed) -> list[Step]:
        if "joined" in seen.fields() and not seen.interrupted:
            return []
        why = " (the last join was cut off)" if seen.interrupted else ""
        # $INPUT is `kubeadm join HOST:PORT --token T --discovery-token-ca-cert-hash H`: the token goes into a file that
        # only root reads and that is gone with the step, not onto a command line.
        script = (
            (_RESET if seen.interrupted else "") + "set -- $INPUT\nendpoint=$3; token=; hash=\n"
            'while [ $# -gt 1 ]; do case "$1" in --token) token=$2;; --discovery-token-ca-cert-hash) hash=$2;; esac; shift; done\n'
            '[ -n "$token" ] && [ -n "$hash" ] || fail "the control plane gave no join credential"\n'
            "f=/run/strongroom-join.yaml; trap 'rm -f $f' EXIT; umask 077\n"
            "cat > $f <<STRONGROOM_END\n"
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n"
            "discovery:\n  bootstrapToken:\n    apiServerEndpoint: $endpoint\n    token: $token\n"
            "    caCertHashes: [$hash]\n"
            f"nodeRegistration:\n  name: {self.name}\n  criSocket: {_SOCKET}\n"
            f"  kubeletExtraArgs: [{{name: node-ip, value: {self.address}}}]\n"
            "timeouts: {kubeletHealthCheck: 15m0s, kubernetesAPICall: 15m0s, tlsBootstrap: 15m0s, discovery: 15m0s}\n"
            "STRONGROOM_END\numask 022\n"
        ) + _run("kubeadm join --config $f")
        return [
            Step(
                self.key,
                f"join the cluster as a worker{why}",
                script,
                journal=True,
                leader_input="kubeadm token create --ttl 20m --print-join-command 2>/dev/null",
                timeout=self.timeout,
                secret=True,
            )
        ]

    def undo(self, seen: Observed) -> list[Step]:
        return _undo(self.key, "leave the cluster (kubeadm reset)", seen)
