"""A host below a folder: scripts run in real shells, with the system's folders and programs below a root of their own.

The programs are stand-ins that do to the files below the root what the real ones do to a host's, as far as the scripts
rely on it. What they copy is named with each.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out, observe, parse_observation

_PATHS = re.compile(
    r"(?<![\w./*+}-])/(?=(?:etc|boot|efi|proc|sys|lib|run/modprobe\.d|usr/lib|var/lib/strongroom|run/strongroom\.lock"
    r"|dev/(?!null|fd))\b)"
)


class Rig:
    """One host: files by path, programs by name."""

    def __init__(self, root: Path, shell: Sequence[str] = ("sh", "-s")) -> None:
        self.root = root
        self.shell = shell
        self.bin = root / "shims"
        self.bin.mkdir(parents=True)
        (root / "run").mkdir()
        self.file("/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n")
        self.cpu("AuthenticAMD")
        self.booted(1000)

    def path(self, name: str) -> Path:
        """Where a host's path lies."""
        return self.root / name.lstrip("/")

    def file(self, name: str, text: str, mtime: int | None = None) -> Path:
        """A file, and its folders."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    def read(self, name: str) -> str:
        """A file's text."""
        return self.path(name).read_text()

    def cpu(self, vendor: str) -> None:
        """Whose processor it has."""
        self.file("/proc/cpuinfo", f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t: fpu\n")

    def booted(self, when: int) -> None:
        """When it was booted, in seconds since 1970."""
        self.file("/proc/stat", f"cpu 1 2 3\nbtime {when}\nprocesses 1\n")

    def program(self, name: str, script: str) -> None:
        """A stand-in on the PATH; ``$R`` is the root."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\nR={self.root}\n{script}\n")
        path.chmod(0o755)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script as it is run on a host: given on stdin."""
        local = _PATHS.sub(f"{self.root}/", script).replace("PATH=/usr/local/sbin", f"PATH={self.bin}:/usr/local/sbin")
        return subprocess.run(
            self.shell, input=local, capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"},
        )  # fmt: skip

    def look(self, *resources: Resource) -> dict[str, Observed]:
        """What the resources see."""
        done = self.run(observe(resources))
        assert done.returncode == 0, done.stderr
        return parse_observation(resources, done.stdout.replace(f"{self.root}/", "/").splitlines())

    def steps(self, resource: Resource) -> list[Step]:
        """What is to do."""
        return resource.steps(self.look(resource)[resource.key])

    def apply(self, resource: Resource) -> list[str]:
        """Do it, and find nothing left; the sentences."""
        steps = self.steps(resource)
        self.do(steps)
        assert self.steps(resource) == []
        return [step.sentence for step in steps]

    def undo(self, resource: Resource) -> list[str]:
        """Undo it, and find nothing left; the sentences."""
        steps = resource.undo(self.look(resource)[resource.key])
        self.do(steps)
        assert resource.undo(self.look(resource)[resource.key]) == []
        return [step.sentence for step in steps]

    def do(self, steps: Sequence[Step]) -> None:
        """Carry steps out."""
        done = self.run(carry_out(steps))
        assert done.returncode == 0, done.stderr

    def snapshot(self) -> Mapping[str, tuple[int, str]]:
        """Mode and content of every file of the host; strongroom's own folder stays out, and has to be empty of notes."""
        out = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.startswith(("shims", "run", "proc")) or path.is_dir():
                continue
            out[name] = (path.stat().st_mode, path.read_bytes().decode(errors="replace"))
        return out

    # Boot loaders

    def grub(self, default: str, drop_ins: Mapping[str, str] | None = None, *, reads_drop_ins: bool = True) -> None:
        """Debian's GRUB: grub-mkconfig 2.06 sources the files and writes a menu whose 10_linux part has the options."""
        self.file("/etc/default/grub", default)
        for name, text in (drop_ins or {}).items():
            self.file(f"/etc/default/grub.d/{name}", text)
        loop = (
            ""
            if not reads_drop_ins
            else 'for x in $R/etc/default/grub.d/*.cfg; do if [ -e "$x" ]; then . "$x"; fi; done'
        )
        self.program(
            "grub-mkconfig",
            f'echo made >> $R/run/made\n. $R/etc/default/grub\n{loop}\n{{ echo "### BEGIN /etc/grub.d/00_header ###"; echo "set x=1"\n'
            'echo "### END /etc/grub.d/00_header ###"; echo "### BEGIN /etc/grub.d/10_linux ###"\n'
            "for v in 6.12.1 6.11.9; do\n"
            'printf "\\tlinux\\t/vmlinuz-%s root=/dev/sda1 ro %s %s\\n" $v "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"\n'
            'printf "\\tlinux\\t/vmlinuz-%s root=/dev/sda1 ro single %s\\n" $v "$GRUB_CMDLINE_LINUX"; done\n'
            'echo "### END /etc/grub.d/10_linux ###"; echo "### BEGIN /etc/grub.d/40_custom ###"\n'
            'echo "  linux /my-own root=/dev/sdb"; echo "### END /etc/grub.d/40_custom ###"; } > $R/boot/grub/grub.cfg',
        )
        self.path("/boot/grub").mkdir(parents=True, exist_ok=True)
        subprocess.run([self.bin / "grub-mkconfig"], check=True)

    def menu(self) -> list[str]:
        """The menu's lines of the distribution's own kernels."""
        text = self.read("/boot/grub/grub.cfg").split("### BEGIN /etc/grub.d/10_linux ###")[1].split("### END")[0]
        return [line.strip() for line in text.splitlines() if line.strip()]

    def grubby(self, **entries: str) -> None:
        """grubby 8.40 on BLS entries, ``--update-kernel=ALL`` with /etc/default/grub and /etc/kernel/cmdline."""
        for version, options in entries.items():
            self.file(
                f"/boot/loader/entries/id-{version}.conf",
                f"title Rocky Linux ({version})\nversion {version}\nlinux /vmlinuz-{version}\noptions {options}\n",
            )
        self.program(
            "grubby",
            r"""
edit() { # file, sed prefix of its line, suffix
    line=$(sed -n "s/^$2\(.*\)$3\$/\1/p" "$1")
    for w in $remove; do n=; for x in $line; do [ "$x" = "$w" ] || n="$n $x"; done; line=${n# }; done
    for w in $add; do n=; for x in $line; do [ "${x%%=*}" = "${w%%=*}" ] || n="$n $x"; done; line="${n# } $w"; done
    sed "s|^$2.*$3\$|$2$line$3|" "$1" > "$1.new" && mv "$1.new" "$1"
}
add= remove= kernel=
for a; do case $a in
    --info=ALL) i=0; for f in $R/boot/loader/entries/*.conf; do
        printf 'index=%s\nkernel="%s"\nargs="%s"\nroot="/dev/sda1"\n' $i "/boot$(sed -n 's/^linux //p' $f)" "$(sed -n 's/^options //p' $f)"
        i=$((i+1)); done; exit;;
    --update-kernel=*) kernel=${a#*=};;
    --args=*) add=${a#--args=};;
    --remove-args=*) remove=${a#--remove-args=};;
esac; done
echo "$*" >> $R/run/grubby
for f in $R/boot/loader/entries/*.conf; do
    [ "$kernel" = ALL ] || [ "$kernel" = "/boot$(sed -n 's/^linux //p' $f)" ] || continue
    edit $f 'options ' ''
done
[ "$kernel" = ALL ] || exit 0
[ ! -f $R/etc/default/grub ] || edit $R/etc/default/grub 'GRUB_CMDLINE_LINUX="' '"'
[ ! -f $R/etc/kernel/cmdline ] || edit $R/etc/kernel/cmdline '' ''
""",
        )

    def systemd_boot(self, cmdline: str | None, versions: Sequence[str] = ("6.12.1",)) -> None:
        """systemd-boot on an EFI machine, and kernel-install 252's way to an entry's options (90-loaderentry.install)."""
        name = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
        self.file(name, "")
        self.path(name).write_bytes(b"\x06\0\0\0" + "systemd-boot 257".encode("utf-16-le"))
        if cmdline is not None:
            self.file("/etc/kernel/cmdline", cmdline)
        for version in versions:
            self.file(f"/lib/modules/{version}/vmlinuz", "kernel")
        self.program(
            "kernel-install",
            'if [ -f $R/etc/kernel/cmdline ]; then o=$(tr -s "$IFS" " " < $R/etc/kernel/cmdline)\n'
            "else o=$(tr -s \" \\n\" \"\\n\" < $R/proc/cmdline | grep -ve '^BOOT_IMAGE=' -e '^initrd=' | tr '\\n' ' '); fi\n"
            "mkdir -p $R/efi/loader/entries\n"
            'printf "title x\\nversion %s\\noptions    %s\\nlinux /%s\\n" $2 "${o% }" $2 > $R/efi/loader/entries/id-$2.conf',
        )
        for version in versions:
            subprocess.run([self.bin / "kernel-install", "add", version, "x"], check=True)

    def entries(self) -> list[str]:
        """The options of systemd-boot's entries."""
        found = sorted(self.path("/efi/loader/entries").glob("*.conf"))
        return [line.split(None, 1)[1] for path in found for line in path.read_text().splitlines() if "options" in line]

    def zipl(self, text: str) -> None:
        """zipl, which writes the boot map out of its configuration."""
        self.file("/etc/zipl.conf", text)
        self.program("zipl", "grep parameters $R/etc/zipl.conf > $R/boot/bootmap")
        self.path("/boot").mkdir(exist_ok=True)
        subprocess.run([self.bin / "zipl"], check=True)
