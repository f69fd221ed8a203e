"""What is missing on a machine is said in one line, with the command that helps."""

from __future__ import annotations

import pytest

from strongroom.errors import StrongroomError
from strongroom.lab import tools


def test_all_that_is_missing_is_named_at_once() -> None:
    there = {"qemu-img", "ssh"}
    with pytest.raises(StrongroomError) as caught:
        tools.require(tools.TO_RUN, lambda name: f"/bin/{name}" if name in there else None)
    assert "this machine has no qemu-system-x86_64, vde_switch;" in str(caught.value)
    assert caught.value.hint == "apt-get install qemu-system-x86 vde2"
    assert "\n" not in str(caught.value)


def test_nothing_is_said_when_all_is_there() -> None:
    tools.require(tools.TO_RUN | tools.TO_BUILD, lambda name: name)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright", (10, 0)),
        ("QEMU emulator version 7.2.22", (7, 2)),
        ("no such thing", None),
    ],
)
def test_version_of_qemu(text: str, version: tuple[int, int] | None) -> None:
    assert tools.qemu_version(text) == version


def test_an_old_qemu_is_refused_with_the_way_to_a_new_one() -> None:
    with pytest.raises(StrongroomError, match=r"is 7\.2; a lab needs 10\.0 or newer") as caught:
        tools.judge_qemu("QEMU emulator version 7.2.22 (Debian)", "bookworm")
    assert caught.value.hint == "apt-get install -t bookworm-backports qemu-system-x86"
    tools.judge_qemu("QEMU emulator version 10.0.0", "bookworm")
    tools.judge_qemu("QEMU emulator version 11.1.0", "bookworm")


@pytest.mark.parametrize("text", ["", "segmentation fault"])
def test_a_qemu_that_says_no_version_is_refused(text: str) -> None:
    with pytest.raises(StrongroomError, match=r"a lab needs 10\.0"):
        tools.judge_qemu(text, "")


def test_another_architecture_is_refused() -> None:
    tools.judge_architecture("x86_64")
    with pytest.raises(StrongroomError, match="aarch64"):
        tools.judge_architecture("aarch64")


def test_release_of_a_machine() -> None:
    assert tools.release('ID=debian\nVERSION_CODENAME=bookworm\nID_LIKE="x"') == ("debian", "bookworm")
    assert tools.release("ID='ubuntu'\n") == ("ubuntu", "")
    assert tools.release("") == ("", "")
