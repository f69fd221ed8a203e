"""A lab host that boots a unified kernel image: its PCRs are those that were computed from the file before it booted.

Two boots. Everything goes through the verbs: `measure pcr` on the controller, `attest collect` on the running host, `attest
verify` of what it gave.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.lab import qemu, rootfs, state, uki, vm
from tests.lab.conftest import own_lab
from tests.torture import on_host, strongroom

pytestmark = pytest.mark.lab

INVENTORY = """\
from strongroom.lab.inventory import hosts

# An emulated host on a busy machine takes long over a key exchange.
patience = {"banner_timeout": 600, "auth_timeout": 600, "channel_timeout": 600}
own = {"platform": "vtpm", "ssh_paramiko_connect_kwargs": patience}
control_plane = [(name, {**data, **own}) for name, data in hosts()]
all = (control_plane, {"cluster": {"name": "lab", "claim": "none"}})
"""
# Words that systemd extends PCR 11 with in the root file system; its initrd has no systemd.
PHASES = ("--phase", "sysinit", "--phase", "ready")
# Of the values that each register may have, the one that this host has to have in the end: Debian's stub asks the firmware
# to load the kernel.
FINAL = {
    "pcr4": "0 failed attempts, the kernel by itself too",
    "pcr7": "secure boot off",
    "pcr9": "stub",
    "pcr11": "ready",
    "pcr12": "nothing added",
}


@pytest.fixture(scope="module")
def unified() -> Iterator[state.Lab]:
    yield from own_lab("unified", ("cp1",), unified=True, memory=1024)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("unified")
    (found / "inventory.py").write_text(INVENTORY)
    return found


def predicted(image: Path, out: Path) -> dict[str, Any]:
    done = strongroom("measure", "pcr", "--uki", str(image), "--attempts", "0", *PHASES, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(out.read_text()))


def collected(folder: Path, name: str) -> dict[str, Any]:
    out = folder / f"{name}.json"
    done = strongroom(
        "attest", "collect", str(folder / "inventory.py"), "cp1", "--out", str(out), "--output", "json", timeout=900
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def policy(folder: Path, values: dict[str, Any], ek: str, *, passed_over: tuple[str, ...] = ()) -> Path:
    file = folder / "policy.json"
    wanted = {name: allowed for name, allowed in values["measurements"].items() if name not in passed_over}
    tpm = {"event_log": "required", "beyond_log": [10, 11, 15]}
    file.write_text(
        json.dumps({"identities": [ek], "measurements": wanted, "not_compared": [*passed_over], "tpm": tpm})
    )
    return file


def verify(told: dict[str, Any], policy: Path, nonce: str | None = None) -> tuple[int, dict[str, Any]]:
    done = strongroom(
        *("attest", "verify", told["files"]["evidence"], "--kind", "tpm", "--policy", str(policy)),
        *("--nonce", nonce or told["covers"], "--collateral", f"credential={told['files']['credential']}"),
        *("--output", "json"),
    )
    assert done.stderr == ""
    (result,) = json.loads(done.stdout)["results"]
    return done.returncode, result


def test_the_registers_are_those_predicted_and_one_more_character_is_refused(unified: state.Lab, folder: Path) -> None:
    host = unified.host("cp1")
    image = uki.image(unified, host)
    values = predicted(image, folder / "values.json")
    assert on_host(unified, "cat /proc/cmdline").strip() == qemu.cmdline(host)
    on_host(unified, "systemctl is-system-running --wait")  # the last word of PCR 11 comes with the last unit
    told = collected(folder, "first")
    ek = told["keys"]["ek_sha256"]
    assert told["kind"] == "tpm", "the kind is the inventory's platform"
    code, first = verify(told, policy(folder, values, ek))
    assert (code, first["verdict"]) == (0, "verified"), first
    assert first["identity"] == ek
    found = {name: first["measurements"][name] for name in FINAL}
    assert found == {name: values["variants"][name][which] for name, which in FINAL.items()}

    # What else can be wrong with the same evidence: another's question, another's TPM.
    other = bytes(32).hex()
    assert verify(told, policy(folder, values, ek), other)[1]["field"] == "report_data"
    assert verify(told, policy(folder, values, other))[1]["field"] == "identity"

    # Another boot of the same host, with one character more on its command line.
    vm.power_off(unified, "cp1")
    root = rootfs.of_identity(unified.rootfs)
    assert root is not None
    image.write_bytes(uki.make(root, f"{qemu.cmdline(host)}x"))
    changed = predicted(image, folder / "changed.json")
    vm.power_on(unified, "cp1")
    on_host(unified, "systemctl is-system-running --wait")
    again = collected(folder, "second")
    assert again["keys"] == told["keys"], "the TPM is the same one, and so are its keys"
    for passed_over, named in (((), "pcr4"), (("pcr4",), "pcr9"), (("pcr4", "pcr9"), "pcr11")):
        code, second = verify(again, policy(folder, values, ek, passed_over=passed_over))
        assert (code, second["field"]) == (5, f"measurements.{named}"), second
        assert changed["variants"][named][FINAL[named]] in second["reason"]
    code, second = verify(again, policy(folder, changed, ek))
    assert (code, second["verdict"]) == (0, "verified"), second
    counts = [result["fields"]["quote"]["reset_count"] for result in (first, second)]
    assert counts[1] == counts[0] + 1
    assert told["boot_id"] != again["boot_id"]
    assert verify(again, policy(folder, changed, ek), told["covers"])[1]["field"] == "report_data", "replayed"
