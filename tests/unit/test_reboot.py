"""A reboot: due only by what the host says, done once, one host at a time, over a connection that drops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

from strongroom.catalog.load import hosts
from strongroom.engine.reboot import Reboots
from strongroom.engine.runner import Run, pending
from strongroom.errors import ConnectionLost, StrongroomError
from strongroom.model.platform import Platform
from strongroom.plan.boot_loaders import DROP_IN
from strongroom.plan.files import File
from strongroom.plan.kernel_options import KernelOptions
from strongroom.plan.reboot import BOOT_ID, DETACHED, ReadAtBoot, Reboot
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out
from strongroom.report.progress import Progress
from tests.rig import Rig
from tests.unit.test_kernel_options import DEBIAN, SNP

SETUP = hosts().of(Platform.SNP)
KERNEL = KernelOptions(SETUP.options, SETUP.refused)
REBOOT = Reboot(KERNEL)


def host(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path / "h")
    rig.grub(DEBIAN)
    for parameter in ("sev", "sev_es", "sev_snp"):
        rig.file(f"/sys/module/kvm_amd/parameters/{parameter}", "N\n")
    return rig


def sentences(rig: Rig, resource: Reboot = REBOOT) -> list[str]:
    return [step.sentence for step in rig.steps(resource)]


# when one is due


def test_a_reboot_is_due_from_the_plan_on_until_the_host_was_booted_with_the_options(tmp_path: Path) -> None:
    rig = host(tmp_path)
    due = (
        "reboot (kvm_amd.sev_snp=1 is not in effect, kvm_amd.sev=1 is not in effect, kvm_amd.sev_es=1 is not in effect)"
    )
    assert sentences(rig) == [due]  # with the options still to be written
    rig.apply(KERNEL)
    assert sentences(rig) == [due]  # written now, after the boot
    rig.file("/proc/cmdline", f"root=/dev/sda1 ro {SNP} quiet\n")
    assert sentences(rig) == []


def test_what_the_kernel_does_already_needs_no_reboot(tmp_path: Path) -> None:
    rig = host(tmp_path)
    rig.apply(KERNEL)
    for parameter, value in (("sev", "Y"), ("sev_es", "1"), ("sev_snp", "Y")):
        rig.file(f"/sys/module/kvm_amd/parameters/{parameter}", f"{value}\n")
    assert sentences(rig) == []


def test_a_host_that_boots_something_else_is_named_and_not_rebooted_for_ever(tmp_path: Path) -> None:
    rig = host(tmp_path)
    rig.apply(KERNEL)
    rig.booted(int(rig.path(DROP_IN).stat().st_mtime) + 3600)
    rig.file("/proc/cmdline", "root=/dev/sda1 ro kvm_amd.sev=0\n")
    with pytest.raises(StrongroomError, match=r"/proc/cmdline has kvm_amd.sev=0") as caught:
        rig.steps(REBOOT)
    assert "which entry the host boots" in str(caught.value.hint)


def test_an_option_that_its_owner_took_out_counts_until_the_next_boot(tmp_path: Path) -> None:
    rig = host(tmp_path)
    rig.apply(KERNEL)
    rig.file("/proc/cmdline", f"root=/dev/sda1 ro iommu=pt {SNP}\n")
    assert sentences(rig) == ["reboot (iommu=pt still is)"]


def test_a_file_that_is_read_at_boot_counts_until_the_next_boot_or_where_it_is_in_effect(tmp_path: Path) -> None:
    rig = host(tmp_path)
    file = File("/etc/modprobe.d/x.conf", b"softdep nvidia pre: vfio-pci\n")
    resource = Reboot(KernelOptions(()), (ReadAtBoot(file, file.path, "[ -e /sys/in-effect ]"),))
    due = ["reboot (/etc/modprobe.d/x.conf is read at boot)"]
    assert sentences(rig, resource) == due
    rig.apply(file)
    assert sentences(rig, resource) == due
    rig.file("/sys/in-effect", "")
    assert sentences(rig, resource) == []
    rig.path("/sys/in-effect").unlink()
    rig.booted(int(rig.path(file.path).stat().st_mtime) + 60)
    assert sentences(rig, resource) == []


def test_where_reboots_are_the_operators_the_step_says_so_and_fails(tmp_path: Path) -> None:
    rig = host(tmp_path)
    (step,) = rig.steps(Reboot(KERNEL, allowed=False))
    assert step.reboot == ""
    done = rig.run(carry_out([step]))
    assert done.returncode == 1
    assert "host.reboot is never; reboot it, then apply again" in done.stderr


def test_a_member_of_a_cluster_is_rebooted_alone(tmp_path: Path) -> None:
    rig = host(tmp_path)
    assert [step.reboot for step in rig.steps(REBOOT)] == ["any"]
    rig.file("/etc/kubernetes/kubelet.conf", "")
    assert [step.reboot for step in rig.steps(REBOOT)] == ["alone"]


def test_the_order_ends_before_the_host_goes_down_and_keeps_no_lock(tmp_path: Path) -> None:
    rig = host(tmp_path)
    rig.program("systemctl", 'echo "$*" >> $R/run/systemctl')
    (step,) = rig.steps(REBOOT)
    assert step.script == DETACHED
    # Before anything is ordered: the systemctl that is found is the rig's, or this machine would go down.
    assert rig.run(carry_out([Step("x", "x", "command -v systemctl")])).stdout.startswith(str(rig.bin))
    rig.do([step])
    assert not (rig.root / "run/systemctl").exists()
    rig.do([Step("x", "x", "true")])  # the lock is free though the order is still waiting
    gevent.sleep(3)
    assert (rig.root / "run/systemctl").read_text() == "reboot\n"


# how one is done


@dataclass
class Machine:
    """A host in time: ``story`` maps what happens at which second after the first order."""

    name: str = "w1"
    order_is_lost: bool = False
    goes_down: bool = True
    obeys: int = 1
    down: tuple[float, float] = (8, 120)
    now: float = 0
    booted: int = 1
    orders: list[float] = field(default_factory=list)
    connected: bool = True
    log: list[str] = field(default_factory=list)
    stolen: bool = False

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _state(self) -> None:
        if self.goes_down and len(self.orders) >= self.obeys:
            since = self.now - self.orders[self.obeys - 1]
            if since >= self.down[0]:
                self.connected = self.connected and self.booted > 1
                if since >= self.down[1]:
                    self.booted = 2

    def _up(self) -> bool:
        self._state()
        if not (self.goes_down and len(self.orders) >= self.obeys):
            return True
        return not self.down[0] <= self.now - self.orders[self.obeys - 1] < self.down[1]

    def run(self, script: str, *, doing: str, timeout: int = 900) -> list[str]:
        if not self._up() or not self.connected:
            raise ConnectionLost(f"{self.name}: {doing}: connection lost")
        self.log.append(doing)
        return [f"boot-{self.booted}"] if script == BOOT_ID else []

    def carry_out(self, step: Step) -> None:
        self.orders.append(self.now)
        if self.order_is_lost and len(self.orders) == 1:
            self.connected = False
            raise ConnectionLost(f"{self.name}: {step.sentence}: connection lost")

    def reconnect(self) -> None:
        if not self._up():
            raise ConnectionLost(f"{self.name}: cannot connect")
        if self.stolen:
            raise StrongroomError(f"{self.name}: held by another operator: eve")
        self.connected = True


STEP = Step("reboot", "reboot", "", reboot="any")


def reboots(machine: Machine, minutes: int = 30) -> Reboots:
    return Reboots(minutes, sleep=machine.sleep, clock=lambda: machine.now)


def test_a_host_that_goes_down_and_comes_back(tmp_path: Path) -> None:
    machine = Machine()
    reboots(machine).perform(machine, STEP)
    assert len(machine.orders) == 1
    assert machine.log[-1] == "waiting for its services"
    assert 120 <= machine.now < 140


def test_the_connection_is_lost_with_the_order_that_arrived() -> None:
    machine = Machine(order_is_lost=True)
    reboots(machine).perform(machine, STEP)
    assert len(machine.orders) == 1


def test_an_order_that_never_arrived_is_given_again_to_a_host_that_stays_up() -> None:
    machine = Machine(order_is_lost=True, obeys=2)
    reboots(machine).perform(machine, STEP)
    assert len(machine.orders) == 2
    assert machine.orders[1] > 300


def test_a_reboot_faster_than_a_look_is_seen_by_the_boot_id() -> None:
    machine = Machine(down=(1, 3))
    reboots(machine).perform(machine, STEP)
    assert len(machine.orders) == 1


def test_a_host_that_does_not_come_back_is_named() -> None:
    machine = Machine(down=(8, 1e9))
    with pytest.raises(StrongroomError, match="w1: is not back after 5 minutes"):
        reboots(machine, 5).perform(machine, STEP)
    assert len(machine.orders) == 1


def test_a_host_that_does_not_go_down_is_named() -> None:
    machine = Machine(goes_down=False)
    with pytest.raises(StrongroomError, match="w1: is up and was not rebooted after 30 minutes"):
        reboots(machine).perform(machine, STEP)
    assert len(machine.orders) == 2


def test_an_order_that_fails_on_the_host_is_an_error_at_once() -> None:
    class Refusing(Machine):
        def carry_out(self, step: Step) -> None:
            raise StrongroomError(f"{self.name}: reboot: another step has held this host for half an hour")

    machine = Refusing()
    with pytest.raises(StrongroomError, match="half an hour"):
        reboots(machine).perform(machine, STEP)
    assert machine.now == 0


def test_a_host_that_another_operator_took_meanwhile_is_not_taken_back() -> None:
    machine = Machine(stolen=True)
    with pytest.raises(StrongroomError, match="held by another operator"):
        reboots(machine).perform(machine, STEP)


def _side_by_side(all_: Reboots, machines: list[Machine]) -> list[StrongroomError | None]:
    def one(machine: Machine) -> StrongroomError | None:
        try:
            all_.perform(machine, Step("reboot", "reboot", "", reboot="alone"))
        except StrongroomError as error:
            return error
        return None

    jobs = [gevent.spawn(one, machine) for machine in machines]
    gevent.joinall(jobs)
    return [job.get() for job in jobs]


def _shared(machines: list[Machine]) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        gevent.sleep(0)
        for machine in machines:
            machine.now += seconds

    return sleep


def test_in_a_cluster_one_host_is_down_at_a_time_and_is_drained_before() -> None:
    machines = [Machine("w1"), Machine("w2"), Machine("w3")]
    seen: list[str] = []

    @contextmanager
    def around(name: str) -> Iterator[None]:
        seen.append(f"cordon {name}")
        yield
        seen.append(f"uncordon {name}")

    all_ = Reboots(30, around=around, sleep=_shared(machines), clock=lambda: machines[0].now)
    assert _side_by_side(all_, machines) == [None, None, None]
    assert seen == [f"{what} {name}" for name in ("w1", "w2", "w3") for what in ("cordon", "uncordon")]
    assert all(machine.booted == 2 for machine in machines)


def test_after_one_that_did_not_come_back_no_other_is_touched() -> None:
    machines = [Machine("w1", down=(8, 1e9)), Machine("w2")]
    all_ = Reboots(5, sleep=_shared(machines), clock=lambda: machines[0].now)
    errors = _side_by_side(all_, machines)
    assert "w1: is not back" in str(errors[0])
    assert "w2: not rebooted, for w1 did not come back" in str(errors[1])
    assert machines[1].orders == []


# in the engine


def test_the_runner_reboots_after_what_comes_before_it_and_says_what_was_told() -> None:
    done: list[str] = []
    said: list[str] = []

    class Told(Resource):
        key = "told"

        def read(self) -> str:
            return ""

        def steps(self, seen: Observed) -> list[Step]:
            steps = [Step("a", "a", ""), Step("b", "b", ""), Step("reboot", "reboot", "", reboot="any")]
            return [] if done else steps

        def notes(self, seen: Observed) -> list[str]:
            return ["qgsd.service is missing"]

    remote = SimpleNamespace(
        name="w1",
        notes=[],
        observe=lambda resources: {"told": Observed()},
        perform=lambda steps, given: done.append(" ".join(step.sentence for step in steps)),
    )
    session = SimpleNamespace(
        reboots=SimpleNamespace(perform=lambda target, step: done.append(f"reboot {target.name}"))
    )
    progress = Progress()
    progress.say = lambda text, style=None: said.append(text)  # type: ignore[method-assign]
    run = Run(SimpleNamespace(), session, progress, hands=True)  # type: ignore[arg-type]
    phase = SimpleNamespace(name="host", resources=lambda context, host: [Told()])
    steps = run._converge(phase, SimpleNamespace(name="w1"), remote, pending)  # type: ignore[arg-type]
    assert done == ["a b", "reboot w1"]
    assert [step.sentence for step in steps] == ["a", "b", "reboot"]
    assert said[0] == "w1: qgsd.service is missing"
