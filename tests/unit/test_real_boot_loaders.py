"""The tools themselves where this machine has them, in a mount namespace of their own: what the rig's stand-ins copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _namespaces() -> bool:
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not _namespaces(), reason="needs a mount namespace")

# Every folder that is written to is an overlay or empty, and goes with the namespace.
OVERLAYS = """\
set -eu
mount -t tmpfs none "$1"
for d in usr etc var; do
    mkdir -p "$1/$d/upper" "$1/$d/work"
    mount -t overlay overlay -o lowerdir=/$d,upperdir="$1/$d/upper",workdir="$1/$d/work" /$d
done
mount -t tmpfs none /boot; mount -t tmpfs none /run; mkdir -p /boot/grub /boot/loader/entries
for v in 6.17.1 6.17.2; do
    echo kernel > /boot/vmlinuz-$v; echo initrd > /boot/initrd.img-$v; mkdir -p /usr/lib/modules/$v
    cp /boot/vmlinuz-$v /usr/lib/modules/$v/vmlinuz
done
"""
KERNEL_INSTALL = """\
mkdir -p /etc/kernel; echo layout=bls > /etc/kernel/install.conf; rm -f /etc/kernel/cmdline
[ -s /etc/machine-id ] || echo 0123456789abcdef0123456789abcdef > /etc/machine-id
[ "$2" = absent ] || printf 'root=UUID=1 ro quiet\\n' > /etc/kernel/cmdline
for v in 6.17.1 6.17.2; do kernel-install add $v /usr/lib/modules/$v/vmlinuz /boot/initrd.img-$v; done
"""
# grub-probe asks for devices that a namespace has not; its answers are the one thing that is made up.
GRUB = """\
cat > /usr/sbin/grub-probe <<'END'
#!/bin/sh
case "$*" in *target=device*) echo /dev/sda1;; *fs_uuid*) echo 1111-2222;; *hints*) ;; *) echo ext2;; esac
END
chmod 0755 /usr/sbin/grub-probe
printf 'GRUB_DEFAULT=0\\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\\nGRUB_CMDLINE_LINUX="a=1"\\n' > /etc/default/grub
rm -rf /usr/sbin/update-grub; grub-mkconfig -o /boot/grub/grub.cfg
"""
PROGRAM = """\
import subprocess
from strongroom.catalog.load import hosts
from strongroom.model.platform import Platform
from strongroom.plan.kernel_options import KernelOptions
from strongroom.plan.script import carry_out, observe, parse_observation

wanted = hosts().of(Platform.TDX).options
kernel = KernelOptions(tuple(option.model_copy(update={"vendors": ()}) for option in wanted))


def run(script):
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def look():
    return parse_observation([kernel], run(observe([kernel])).splitlines())[kernel.key]


def host():
    return run("find /etc/kernel /etc/default /boot -type f -exec sha256sum {} + | sort -k2; ls /var/lib/strongroom/original || true")


before = host()
run(carry_out(kernel.steps(look())))
assert kernel.steps(look()) == []
print(look().fields()["loader"])
print(run("grep -hE '^[[:space:]]*(linux|options)[[:space:]]' /boot/grub/grub.cfg /boot/loader/entries/*.conf 2>/dev/null || true"))
run(carry_out(kernel.undo(look())))
assert kernel.undo(look()) == []
assert host() == before
print("as before")
"""


def run(tmp_path: Path, setup: str, *words: str) -> list[str]:
    script = tmp_path / "setup.sh"
    script.write_text(f'{OVERLAYS}{setup}cd {ROOT}; PYTHONPATH=src exec {sys.executable} -c "$PROGRAM"\n')
    space = tmp_path / "space"
    space.mkdir()
    done = subprocess.run(
        ["unshare", "-m", "sh", script, space, *words], capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PROGRAM": PROGRAM, "HOME": "/"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    assert lines.pop() == "as before"
    return lines


@pytest.mark.skipif(not shutil.which("kernel-install"), reason="no kernel-install")
@pytest.mark.parametrize("file", ["present", "absent"])
def test_kernel_install(tmp_path: Path, file: str) -> None:
    lines = run(tmp_path, KERNEL_INSTALL, file)
    assert lines[lines.index("systemd-boot") + 1 :] != []
    entries = [line for line in lines if line.startswith("options")]
    assert len(entries) == 2
    assert all("kvm_intel.tdx=1 nohibernate" in entry for entry in entries)


@pytest.mark.skipif(not shutil.which("grub-mkconfig"), reason="no grub-mkconfig")
def test_grub_mkconfig(tmp_path: Path) -> None:
    lines = run(tmp_path, GRUB)
    assert "grub.d" in lines
    entries = [line for line in lines if line.startswith("linux")]
    assert len(entries) > 2
    assert all("kvm_intel.tdx=1 nohibernate a=1" in entry for entry in entries)
