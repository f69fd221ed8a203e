"""Artifacts of the bundle on a host: unpacked components and containerd's images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from strongroom.model.bundle import Artifact, BundledFile
from strongroom.plan.resource import Observed, Resource, Step, Upload, quote

PREFIX = "/opt/strongroom"
ON_PATH = "/usr/local/bin"
"""Programs of components have their links here, but for CNI plugins."""
_IMAGES_OF_CONTAINERD = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
_IMPORTED = "strongroom.dev/imported=yes"
"""Label of the images that we brought: those alone go when a cluster is taken down."""


def versions_folder(artifact: Artifact) -> str:
    """Where all versions of a component lie side by side on a host."""
    return f"{PREFIX}/{artifact.component}"


def install_prefix(artifact: Artifact) -> str:
    """Where this version of a component lives on a host."""
    return f"{versions_folder(artifact)}/{artifact.version}"


@dataclass(frozen=True)
class Component(Resource):
    """One version of a component under its own prefix, every file with the sum that the bundle pins.

    The archive is verified before it is unpacked, unpacked beside its place, and moved there whole. ``others`` are further
    archives that make up the same version: they are unpacked into the same tree before it is moved.
    """

    artifact: Artifact
    source: Path
    others: tuple[tuple[Artifact, Path], ...] = ()

    @property
    def key(self) -> str:
        return f"component {self.artifact.component} {self.artifact.version}"

    @property
    def prefix(self) -> str:
        return install_prefix(self.artifact)

    @property
    def _files(self) -> list[BundledFile]:
        """The files of all archives; links are not looked at."""
        parts = [self.artifact, *(artifact for artifact, _ in self.others)]
        return list({entry.path: entry for part in parts for entry in part.files if entry.sha256}.values())

    def _sums(self) -> str:
        lines = [f"{entry.sha256}  {entry.path}\n" for entry in self._files]
        return "<<'STRONGROOM_END'\n" + "".join(lines) + "STRONGROOM_END"

    def read(self) -> str:
        modes = " ".join(quote(entry.path) for entry in self._files)
        wanted = "".join(f"{int(entry.mode, 8):o} {entry.path}\n" for entry in self._files)
        return (
            f"cd {quote(self.prefix)} || exit 0\n"
            f"sha256sum -c --quiet {self._sums()}\n[ $? = 0 ] && echo sums=ok || echo present=yes\n"
            f"stat -c '%a %n' {modes} | cmp -s - /dev/fd/3 3<<'STRONGROOM_END' || echo modes=differ\n{wanted}STRONGROOM_END\n"
            f"[ -z \"$(find . -type f -newer . -name '.*.strongroom-new' 2>/dev/null)\" ] || echo leftover=yes"
        )

    def _differing(self, seen: Observed) -> str:
        names = [line.split(":")[0] for line in seen.lines if line.endswith(": FAILED") or "FAILED open" in line]
        return ", ".join(names) or "files differ"

    def steps(self, seen: Observed) -> list[Step]:
        now = seen.fields()
        if now.get("sums") == "ok" and "modes" not in now:
            return []
        why = "absent" if not seen.lines else ("modes differ" if now.get("sums") == "ok" else self._differing(seen))
        artifact = self.artifact
        new, old = f"{self.prefix}.strongroom-new", f"{self.prefix}.strongroom-old"
        uploads, folders, unpack = [], {new}, []
        for part, source in ((artifact, self.source), *self.others):
            uploads.append(Upload(source, part.sha256, part.size))
            into = f"{new}/{part.subdir}" if part.subdir else new
            folders |= {into, *(f"{new}/{entry.path}".rpartition("/")[0] for entry in part.files)}
            unpack.append(_unpack(part, uploads[-1].incoming, new, into))
        names = " and ".join([artifact.file, *(part.file for part, _ in self.others)])
        # sync -f before the rename: after a power cut the prefix is either whole or not there.
        script = (
            f"rm -rf {quote(new)} {quote(old)}; mkdir -p {' '.join(map(quote, sorted(folders)))}\n"
            + "\n".join(unpack)
            + f"\n( cd {quote(new)}; sha256sum -c --quiet {self._sums()}\n) || fail"
            f" {quote(f'{names}: unpacked files are not what the bundle lists; rebuild the bundle')}\n"
            f"sync -f {quote(new)}; if [ -e {quote(self.prefix)} ]; then mv -T {quote(self.prefix)} {quote(old)}; fi\n"
            f"mv -T {quote(new)} {quote(self.prefix)}; sync {quote(self.prefix.rpartition('/')[0])}; rm -rf {quote(old)}"
        )
        sentence = f"install {artifact.component} {artifact.version} ({why})"
        return [Step(self.key, sentence, script, uploads=tuple(uploads))]

    def undo(self, seen: Observed) -> list[Step]:
        if not seen.lines:
            return []
        return [
            Step(
                self.key,
                f"remove {self.artifact.component} {self.artifact.version}",
                f"rm -rf {quote(self.prefix)}\n"
                f"rmdir --ignore-fail-on-non-empty {quote(self.prefix.rpartition('/')[0])}",
            )
        ]


def _unpack(artifact: Artifact, incoming: str, new: str, into: str) -> str:
    """Unpack into ``new``. Where that fails, ``new`` goes at once: on a full disk it is what fills it, and the version in
    place needs no more room than it has.
    """
    if artifact.kind == "binary":
        command = f"install -m 0755 {incoming} {quote(f'{new}/{artifact.files[0].path}')}"
    else:
        command = (
            f"tar -x --no-same-owner --strip-components={artifact.strip} -C {quote(into)}"
            f" {_decompress(artifact.file)} -f {incoming}"
        )
    name, parent = quote(artifact.file), quote(new.rpartition("/")[0])
    return (
        f"t=$({command} 2>&1) || {{\n"
        f"    m=$(df -Pk {parent} | awk 'NR == 2 {{ print int($4 / 1024) \" MiB free on \" $6 }}'); rm -rf {quote(new)}\n"
        f'    fail {name}": cannot be unpacked below "{parent}" ($m): $(printf \'%s\\n\' "$t" | head -n 1);'
        ' what was there before is as it was"; }'
    )


def _decompress(name: str) -> str:
    for suffix, option in ((".tar.gz", "-z"), (".tgz", "-z"), (".tar.zst", "--zstd"), (".tar.xz", "-J")):
        if name.endswith(suffix):
            return option
    return ""


@dataclass(frozen=True)
class Image(Resource):
    """A container image in containerd's ``k8s.io`` namespace, by digest, pinned against the kubelet's garbage collector."""

    artifact: Artifact
    source: Path

    @property
    def key(self) -> str:
        return f"image {self.artifact.image}"

    def read(self) -> str:
        # A containerd that has images and doesn't answer is its unit's matter: what it has is seen once it runs again.
        return (
            f"if ! seen=$(images); then [ ! -e {_IMAGES_OF_CONTAINERD} ] || echo away=yes; exit 0; fi\n"
            "printf '%s\\n' \"$seen\" | while read -r name type digest rest; do\n"
            f'    [ "$name" = {quote(str(self.artifact.image))} ] || continue\n    echo digest=$digest\n'
            '    case "$rest" in *pinned=pinned*) echo pinned=yes;; esac\n'
            f'    case "$rest" in *{_IMPORTED}*) echo imported=yes;; esac\ndone'
        )

    def steps(self, seen: Observed) -> list[Step]:
        now, artifact = seen.fields(), self.artifact
        if "away" in now:
            return []
        reference = quote(str(artifact.image))
        label = f"ctr -n k8s.io images label {reference}"
        pin = f"{label} io.cri-containerd.pinned=pinned >/dev/null"
        if now.get("digest") == artifact.image_digest and not seen.interrupted:
            if "pinned" in now:
                return []
            return [Step(self.key, f"pin the image {artifact.image}", pin)]
        why = "import was cut off" if seen.interrupted else "absent" if "digest" not in now else f"is {now['digest']}"
        upload = Upload(self.source, artifact.sha256, artifact.size)
        # Removing first: an unpacked layer that a power cut emptied would be taken for whole, by its name.
        script = (
            f"ctr -n k8s.io images rm --sync {reference} >/dev/null 2>&1 || true\n"
            # From 2.0 on ctr asks containerd's transfer service unless told otherwise; 1.7 has no such option.
            "ctr images import --help | grep -q -e --local && l=--local || l=\n"
            f"ctr -n k8s.io images import $l {upload.incoming} >/dev/null\n{label} {_IMPORTED} >/dev/null\n{pin}"
        )
        return [
            Step(
                self.key,
                f"import the image {artifact.image} ({why})",
                script,
                uploads=(upload,),
                journal=True,
                timeout=1800,
            )
        ]

    def undo(self, seen: Observed) -> list[Step]:
        if "imported" not in seen.fields():  # absent, or somebody else's, which we have only pinned
            return []
        # CRI adds a name of its own to what it used, the image's id; it goes with the last name that others gave.
        reference = quote(str(self.artifact.image))
        script = (
            f"ids=$(ctr -n k8s.io images ls -q target.digest=={self.artifact.image_digest} | grep -vxF {reference} || true)\n"
            "! printf '%s\\n' \"$ids\" | grep -v '^$' | grep -qv -e ^sha256: -e @sha256: || ids=\n"
            f"ctr -n k8s.io images rm --sync $ids {reference} >/dev/null"
        )
        return [Step(self.key, f"remove the image {self.artifact.image}", script)]
