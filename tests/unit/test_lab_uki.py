"""Unified kernel images as the lab writes them, and the command line of a host that boots one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from strongroom.errors import StrongroomError
from strongroom.lab import qemu, uki
from strongroom.lab.rootfs import RootFs
from strongroom.measure import pcr, pe
from tests.unit.test_lab_credentials import HOST, lab_in
from tests.unit.test_measure import image

SECTIONS = {".osrel": b"ID=debian\n", ".cmdline": b"quiet", ".linux": bytes(range(256)) * 40, ".initrd": b"07" * 700}


def stub(more: int = 8) -> bytes:
    """An image of two sections, whose headers have room for so many more."""
    made = bytearray(image({".text": b"\x90" * 512, ".sbat": b"sbat,1\n"}))
    optional = int.from_bytes(made[0x3C:0x40], "little") + 24
    table = optional + int.from_bytes(made[optional - 4 : optional - 2], "little")
    made[optional + 32 : optional + 40] = (4096).to_bytes(4, "little") + (512).to_bytes(4, "little")
    headers = int.from_bytes(made[optional + 60 : optional + 64], "little")
    wanted = 512 * -(-(table + 40 * (2 + more)) // 512)
    made[headers:headers] = bytes(wanted - headers)
    for entry in (table, table + 40):
        raw = int.from_bytes(made[entry + 20 : entry + 24], "little") + wanted - headers
        made[entry + 20 : entry + 24] = raw.to_bytes(4, "little")
    made[optional + 60 : optional + 64] = (table + 40 * (2 + more)).to_bytes(4, "little")
    return bytes(made)


def test_sections_are_found_again_whole_and_apart() -> None:
    made = uki.unify(stub(), SECTIONS)
    found = {section.name: section.data for section in pe.parse(made)}
    assert list(found) == [".text", ".sbat", *SECTIONS]
    assert {name: found[name] for name in SECTIONS} == SECTIONS
    assert found[".sbat"].rstrip(b"\0") == b"sbat,1\n"
    optional = int.from_bytes(made[0x3C:0x40], "little") + 24
    table = optional + int.from_bytes(made[optional - 4 : optional - 2], "little")
    end = 0
    for at in range(table, table + 40 * 6, 40):
        size, address, raw, place = (int.from_bytes(made[at + 8 + 4 * n : at + 12 + 4 * n], "little") for n in range(4))
        assert address >= end, "sections do not overlap in memory"
        assert at < table + 80 or (address % 4096, place % 512, raw % 512) == (0, 0, 0)
        end = address + size
    assert int.from_bytes(made[optional + 56 : optional + 60], "little") >= end, "the image is as large as its sections"


def test_one_character_more_changes_what_is_predicted() -> None:
    first, second = (
        pcr.predict(uki.unify(stub(), {**SECTIONS, ".cmdline": text}), attempts=0) for text in (b"quiet", b"quietx")
    )
    assert [name for name in first if first[name] != second[name]] == ["pcr4", "pcr9", "pcr11"]


def test_what_is_no_stub_or_has_no_room() -> None:
    assert uki.unify(stub(4), SECTIONS)
    for wrong, said in ((stub(3), "no room for 4 more sections beside its 2"), (b"ELF", "no EFI image")):
        with pytest.raises(StrongroomError, match=said):
            uki.unify(wrong, SECTIONS)


def test_firmware_loads_it_and_not_qemu(tmp_path: Path) -> None:
    lab = lab_in(tmp_path / "a,b").model_copy(update={"tpm": True, "uki": True})
    command = qemu.command(lab, HOST, RootFs(tmp_path), [])
    assert not {"-kernel", "-initrd", "-append"} & set(command)
    drive = next(word for word in command if "id=esp" in word)
    assert drive == f"if=none,id=esp,format=raw,readonly=on,file=fat:{tmp_path}/a,,b/hosts/cp1/esp"
    assert any("drive=esp,bootindex=0" in word for word in command)
    assert "-append" in qemu.command(lab.model_copy(update={"uki": False}), HOST, RootFs(tmp_path), [])


@pytest.mark.skipif(not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin"), reason="needs e2fsprogs")
def test_it_is_made_of_the_root_file_system_and_once(tmp_path: Path) -> None:
    tree, root = tmp_path / "tree", RootFs(tmp_path / "root")
    for path, content in ((uki.STUB, stub()), (uki.OS_RELEASE, b"ID=debian\n")):
        (tree / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (tree / path.lstrip("/")).write_bytes(content)
    root.folder.mkdir()
    make = ["/usr/sbin/mkfs.ext4", "-q", "-F", "-d", str(tree), str(root.disk), "2M"]
    subprocess.run(make, check=True)
    root.kernel.write_bytes(SECTIONS[".linux"])
    root.initrd.write_bytes(SECTIONS[".initrd"])
    lab = lab_in(tmp_path)
    lab.host_folder(HOST).mkdir(parents=True)
    uki.ensure(lab, HOST, root, "quiet")
    assert uki.image(lab, HOST).read_bytes() == uki.unify(stub(), SECTIONS)
    uki.ensure(lab, HOST, root, "another")
    assert b"another" not in uki.image(lab, HOST).read_bytes(), "what is there stays until the lab is reset"
    (tree / uki.STUB.lstrip("/")).unlink()
    subprocess.run(make, check=True)
    with pytest.raises(StrongroomError, match=r"linuxx64\.efi\.stub"):
        uki.make(root, "quiet")
