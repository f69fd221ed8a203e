"""Everything on a host's disk, to be compared: kind, mode, owner, extended attributes, target and sum of every path.

One script reads it in one SSH execution. What differs for a reason is an exception that says the reason; the file systems
that end with the boot (/run, /tmp, /proc, /sys, /dev) are others than the disk's and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.lab import ssh
from strongroom.lab.state import Lab

# perl-base is essential in Debian and Python is not there; its numbers of llistxattr and lgetxattr are x86-64's.
SCRIPT = r"""
export LC_ALL=C
find / -xdev -printf 'stat\t%p\t%y %m %u:%g %l\n'
find / -xdev -type f -print0 | xargs -0 sha256sum | sed 's/^\\\{0,1\}\([0-9a-f]*\)  \(.*\)$/sum\t\2\t\1/'
find / -xdev -print0 | perl -0 -ne 'chomp; my $l = "\0" x 4096; my $n = syscall(194, $_, $l, 4096);
    next if $n <= 0; for my $k (sort split /\0/, substr($l, 0, $n)) { my $v = "\0" x 4096;
    my $m = syscall(192, $_, $k, $v, 4096); print "xattr\t$_\t$k=" . unpack("H*", substr($v, 0, $m > 0 ? $m : 0)) . "\n"; }'
"""

ALWAYS: Mapping[str, str] = {
    "/var/log": "logs tell what happened, and stay",
    "/var/lib/systemd": "systemd's own notes: last runs of timers, the random seed, the clock",
    "/var/tmp": "private temporary folders of services",
    "/var/cache/ldconfig": "made anew by ldconfig",
}

LAB: Mapping[str, str] = {
    "/etc/ssh/ssh_host_ed25519_key": "the lab hands it to its host anew at every boot, and PEM has random words in it",
    "/var/backups": "dpkg-db-backup.timer of Debian puts the day's state of dpkg there at midnight",
}

Fingerprint = dict[str, tuple[str, ...]]


def take(lab: Lab, name: str = "cp1") -> Fingerprint:
    """Path -> what it is."""
    done = ssh.run(lab, lab.host(name), SCRIPT, seconds=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        what, path, rest = line.split("\t", 2)
        found.setdefault(path, []).append(f"{what} {rest}")
    assert len(found) > 1000, "a Debian has more paths than that"
    return {path: tuple(sorted(facts)) for path, facts in found.items()}


def differences(before: Fingerprint, after: Fingerprint, exceptions: Mapping[str, str]) -> list[str]:
    """A line for each path that came, went or changed, but for the exceptions (paths, with all below them)."""
    skip = (*ALWAYS, *exceptions)
    out = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path) and not any(path == e or path.startswith(f"{e}/") for e in skip):
            out.append(f"{path}: was {before.get(path, 'absent')}, is {after.get(path, 'absent')}")
    return out
