"""A lab host with measured boot: real firmware, a real event log, a real TPM in software - and what preflight says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from strongroom.lab import processes, qemu, state, tpm, vm
from tests.lab.conftest import own_lab
from tests.torture import INVENTORY, on_host, strongroom

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def measured() -> Iterator[state.Lab]:
    yield from own_lab("measured", ("cp1",), measured=True)


def test_preflight_finds_a_guest_with_a_tpm_that_is_ready(measured: state.Lab) -> None:
    done = strongroom("preflight", str(INVENTORY), "--output", "json")
    assert done.returncode == 0, done.stderr
    (host,) = json.loads(done.stdout)["hosts"]
    assert host["role"] == "guest"
    assert host["platforms"]["vtpm"]["state"] == "ready"
    # Whatever this CPU and its emulation look like: no other platform is ready here.
    assert [name for name, one in host["platforms"].items() if one["state"] == "ready"] == ["vtpm"]


def test_the_log_of_the_firmware_is_what_the_registers_hold(measured: state.Lab) -> None:
    registers = on_host(measured, "cat /sys/class/tpm/tpm0/pcr-sha256/0 /sys/class/tpm/tpm0/pcr-sha256/8").split()
    assert registers[0] != "0" * 64, "nothing was measured"
    assert registers[1] == "0" * 64, "there is no boot loader here that measures into register 8"
    assert int(on_host(measured, "wc -c < /sys/kernel/security/tpm0/binary_bios_measurements")) > 1000


def test_a_power_cut_measures_anew_and_keeps_the_tpm(measured: state.Lab) -> None:
    register = "cat /sys/class/tpm/tpm0/pcr-sha256/0"
    before = on_host(measured, register)
    vm.power_cut(measured, "cp1")
    assert on_host(measured, register) == before


def test_the_tpm_ends_with_its_host(measured: state.Lab) -> None:
    folder = measured.host_folder(measured.host("cp1"))
    assert processes.find(tpm.PROGRAM, tpm.pid_file(folder))
    vm.power_off(measured, "cp1")
    assert qemu.running(measured, measured.host("cp1")) is None
    assert processes.find(tpm.PROGRAM, tpm.pid_file(folder)) is None
