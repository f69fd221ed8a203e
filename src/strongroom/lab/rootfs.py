"""The lab's root file system: Debian, built once, kept in the cache under the digest of its recipe.

The image holds no key, no machine id and no host name: what makes a host that host comes at boot (``credentials``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError
from strongroom.lab import apt, tools
from strongroom.lab.locks import exclusive
from strongroom.report.progress import progress

GIB = 1024**3

PACKAGES = (
    "ca-certificates",
    "conntrack",
    "dbus",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "iptables",
    "kmod",
    "linux-image-cloud-amd64",
    "nftables",
    "openssh-server",
    "procps",
    "socat",
    "systemd",
    "systemd-boot-efi",
    "systemd-sysv",
    "systemd-timesyncd",
    "tpm2-tools",
    "udev",
    "util-linux",
    "zstd",
)

# Debian Policy 5.6.7: what a package may be called. A name goes into a comma-separated argument.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")

# Runs outside the new root, which is "$1". networkd isn't enabled by default; the root file system grows to the disk
# of its host at boot. Unattended apt runs would only fail, since lab hosts are offline, and would disturb the tests.
# Host keys are given by the lab, so none is made at boot (an RSA key takes most of a minute under TCG).
# resolv.conf names QEMU's own resolver, which answers nothing in a lab but is an address that a cluster DNS accepts;
# the short timeout lets a lookup fail soon.
CUSTOMISE = r"""set -eu
chroot "$1" systemctl enable systemd-networkd systemd-network-generator ssh
chroot "$1" systemctl disable apt-daily.timer apt-daily-upgrade.timer
chroot "$1" systemctl mask sshd-keygen.service
mkdir -p "$1/etc/systemd/system/multi-user.target.wants"
ln -s /usr/lib/systemd/system/systemd-growfs-root.service "$1/etc/systemd/system/multi-user.target.wants/"
chroot "$1" passwd --lock root
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/lib/dbus/machine-id
rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -f "$1"/var/lib/systemd/random-seed "$1"/var/lib/systemd/credential.secret
: > "$1/etc/machine-id"
printf 'nameserver 10.0.2.3\noptions timeout:1 attempts:1\n' > "$1/etc/resolv.conf"
test -e "$1"/boot/config-*
"""

# "$1" is the archive, "$2" the folder to unpack to, "$3" the disk, "$4" its size in bytes. Device nodes come from
# devtmpfs at boot. A new sparse file is all zeroes, so inode tables need no zeroing, now or in the running host.
MAKE_DISK = r"""set -eu
mkdir -p "$2"
tar --extract --file "$1" --directory "$2" --numeric-owner --exclude './dev/*' --xattrs --xattrs-include '*'
truncate --size "$4" "$3"
mkfs.ext4 -q -F -L root -E lazy_itable_init=0,lazy_journal_init=0 -d "$2" "$3"
cp --dereference "$2"/boot/vmlinuz-* "$5"
cp --dereference "$2"/boot/initrd.img-* "$6"
"""


@dataclass(frozen=True)
class Recipe:
    """All that the content of the root file system depends on, but the archive's own state."""

    suite: str = "trixie"
    variant: str = "minbase"
    packages: tuple[str, ...] = PACKAGES
    without: tuple[str, ...] = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
    customise: str = CUSTOMISE
    make_disk: str = MAKE_DISK
    size: int = 8 * GIB
    """Bytes of the disk; a host's own disk is this or larger, and the file system grows at boot."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def with_packages(extra: Iterable[str]) -> Recipe:
    """The recipe with further Debian packages; with none it is the default one, to the digest.

    Raises:
        ConfigError: a name that no Debian package can have.
    """
    wanted = sorted(set(extra) - set(PACKAGES))
    if wrong := [name for name in wanted if not _PACKAGE.fullmatch(name)]:
        raise ConfigError(
            f"packages: found {wrong[0]!r}, allowed are names of Debian packages with commas between (containerd,jq)"
        )
    return Recipe(packages=(*PACKAGES, *wanted))


@dataclass(frozen=True)
class RootFs:
    """A built root file system: a folder in the cache, never written to again."""

    folder: Path

    @property
    def disk(self) -> Path:
        """Raw ext4 image, sparse; hosts write to overlays of it."""
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        """The kernel of the root file system (bzImage)."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initrd that belongs to the kernel."""
        return self.folder / "initrd"

    @property
    def identity(self) -> str:
        """Names this very build; overlays of another build of the same recipe don't fit on it."""
        return f"{self.folder.name}/{(self.folder / 'build').read_text().strip()}"

    def kernel_digest(self) -> str:
        """SHA-256 (hex) of the kernel."""
        with self.kernel.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(digest: str) -> Path:
    """Where the root file system of that recipe lies in the cache, built or not."""
    return paths.cache_dir() / "rootfs" / digest[:16]


def ensure(recipe: Recipe | None = None) -> RootFs:
    """The root file system of a recipe: from the cache, else built now (one to three minutes).

    Raises:
        StrongroomError: a tool is missing, no archive is known, or the build failed.
    """
    recipe = recipe or Recipe()
    folder = folder_of(recipe.digest)
    if not folder.is_dir():
        with exclusive(f"rootfs-{folder.name}", "another build of the root file system") as lock:
            if not folder.is_dir():
                tools.check([tools.TO_BUILD])
                with progress.step(f"build the root file system (Debian {recipe.suite})"):
                    _build(recipe, folder, lock)
    return RootFs(folder)


def of_identity(identity: str) -> RootFs | None:
    """The build that overlays were made on; None when it has gone from the cache."""
    root = RootFs(paths.cache_dir() / "rootfs" / identity.partition("/")[0])
    try:
        return root if root.identity == identity else None
    except OSError:
        return None


def _build(recipe: Recipe, folder: Path, lock: int) -> None:
    source = apt.mirror()
    # A build that was killed left its folder; under the lock it is nobody's.
    work = folder.with_name(f".{folder.name}.building")
    _remove(work)
    work.mkdir(parents=True)
    steps = _Steps(folder.with_name(f"{folder.name}.log"), lock)
    try:
        archive, tree, result = work / "root.tar", work / "root", RootFs(work / "result")
        result.folder.mkdir()
        progress.say("download and configure the packages")
        environment = apt.proxy_environment()
        if os.geteuid() == 0:  # else it works as other users, who can't look into this folder
            environment["TMPDIR"] = str(work)
        steps.run(bootstrap(recipe, archive), apt.line(source, recipe.suite), environment)
        progress.say("make the disk image")
        script = ["sh", "-c", recipe.make_disk, "make-disk"]
        arguments = [archive, tree, result.disk, recipe.size, result.kernel, result.initrd]
        # Only root may own files as other users; fakeroot lets tar and mkfs agree on owners without that.
        steps.run([*([] if os.geteuid() == 0 else ["fakeroot", "--"]), *script, *map(str, arguments)])
        for file in (result.kernel, result.initrd):
            file.chmod(0o644)
        (result.folder / "build").write_text(f"{uuid.uuid4().hex}\n")
        result.folder.rename(folder)
        steps.log.unlink()
    finally:
        _remove(work)


def bootstrap(recipe: Recipe, archive: Path) -> list[str]:
    """The mmdebstrap command that makes the archive of the root file system; the source comes on stdin."""
    return [
        "mmdebstrap",
        f"--variant={recipe.variant}",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.without),
        f"--customize-hook={recipe.customise}",
        "--architectures=amd64",
        "--format=tar",
        recipe.suite,
        str(archive),
        "-",
    ]


class _Steps:
    """Runs the commands of a build, their output going to one log."""

    def __init__(self, log: Path, lock: int) -> None:
        self.log = log
        self.lock = lock
        self.log.unlink(missing_ok=True)

    def run(self, command: list[str], stdin: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Run one command. It holds the lock too: if we are killed, the next build waits for its end.

        Raises:
            StrongroomError: it failed; says the last thing that it complained about.
        """
        # mkfs is in sbin, which isn't on every user's PATH.
        path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
        with self.log.open("a") as file:
            done = subprocess.run(
                command,
                input=stdin.encode(),
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": path, **(environment or {})},
                pass_fds=(self.lock,),
                check=False,
            )
        if done.returncode:
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            complaints = [line for line in lines if line.startswith(("E:", "mkfs", "mke2fs", "tar:"))] or lines
            said = complaints[-1] if complaints else "no word of why"
            raise StrongroomError(
                f"root file system: {command[0]} ended with {done.returncode}: {said}",
                hint=f"the whole log is {self.log}",
            )


def mounts_under(folder: Path, mountinfo: str) -> list[str]:
    """Mount points inside a folder, of the text of /proc/self/mountinfo."""
    points = [line.split()[4] for line in mountinfo.splitlines() if len(line.split()) > 4]
    return [point for point in points if Path(point).is_relative_to(folder)]


def _remove(folder: Path) -> None:
    """Remove a folder of a build; parts without write permission (as root file systems have them) included.

    Raises:
        StrongroomError: something is mounted there; removing would reach into this machine's own /dev.
    """
    if not folder.exists():
        return
    if mounts := mounts_under(folder.resolve(), Path("/proc/self/mountinfo").read_text()):
        raise StrongroomError(f"{folder}: {mounts[0]} is mounted in it; not removed", hint=f"umount {mounts[0]}")
    for directory, _, _ in os.walk(folder):
        os.chmod(directory, 0o700)
    shutil.rmtree(folder)
