"""The archives in which systemd-stub hands files on to the initrd: cpio, "new ASCII" form, always the same bytes.

One directory, one file, a trailer; inodes count from 1, no owner, no time (systemd src/boot/cpio.c; Linux
Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

from typing import Final

_DIRECTORY, _FILE = 0o040555, 0o100444
_TRAILER: Final = "TRAILER!!!"


def archive(directory: str, name: str, contents: bytes) -> bytes:
    """An archive of one file, readable by all, in one directory."""
    return _entry(1, _DIRECTORY, directory, b"") + _entry(2, _FILE, f"{directory}/{name}", contents) + _trailer()


def _entry(inode: int, mode: int, path: str, contents: bytes) -> bytes:
    # inode, mode, uid, gid, links, time, size, four device numbers, length of the name with its NUL, checksum
    words = (inode, mode, 0, 0, 1, 0, len(contents), 0, 0, 0, 0, len(path) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % word for word in words) + path.encode() + b"\0"
    return _padded(header) + _padded(contents)


def _trailer() -> bytes:
    words = (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    start = b"070701" + b"".join(b"%08x" % word for word in words)
    # The stub writes this one from a literal, with a capital letter in the name's length.
    return _padded(start + b"0000000B" + b"00000000" + _TRAILER.encode() + b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
