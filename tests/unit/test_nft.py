"""The controller's `nft` with all that it loads, for kube-proxy's image."""

from __future__ import annotations

import shutil

import pytest

from strongroom.errors import StrongroomError
from strongroom.fetch import nft


def test_ldd_is_understood() -> None:
    output = """\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibnftables.so.1 => /lib/x86_64-linux-gnu/libnftables.so.1 (0x00007f11)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f22)
"""
    assert nft.parse_ldd(output) == ["/lib/x86_64-linux-gnu/libnftables.so.1", "/lib64/ld-linux-x86-64.so.2"]


def test_a_missing_library_is_named() -> None:
    with pytest.raises(StrongroomError, match=r"libgmp\.so\.10 is not found"):
        nft.parse_ldd("\tlibgmp.so.10 => not found\n")


@pytest.mark.skipif(not shutil.which("nft", path="/usr/sbin:/usr/bin"), reason="nft is not installed")
def test_this_machines_nft_has_a_loader_and_a_c_library() -> None:
    names = [member.name for member in nft.closure().members]
    assert names[0] == "usr/sbin/nft"
    assert any("ld-linux" in name for name in names)
    assert any("libc.so" in name for name in names)
