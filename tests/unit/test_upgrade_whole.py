"""Upgrades with the whole runtime phase: containerd, its configuration and its restarts, on scratch hosts in real shells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.engine.runner import Run, leftover
from strongroom.engine.upgrade import Upgrade
from strongroom.errors import PreflightRefused, StrongroomError
from strongroom.model.network import Network
from strongroom.phases.base import Context
from strongroom.phases.runtime import RuntimePhase
from strongroom.report.progress import Progress
from tests.upgrade_rig import Killed, Rig, pod, said

PATHS = ("etc/containerd/conf.d/10-strongroom.toml", "usr/local/bin/containerd", "usr/local/bin/ctr", "opt/kata")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A cluster of one host; making it takes longer than any of the tests."""
    return Rig(tmp_path_factory.mktemp("upgrade"), workers=0)


@pytest.fixture
def rig(made: Rig) -> Rig:
    return made.anew()


def managed(rig: Rig) -> dict[str, str]:
    """What of the host an upgrade switches."""
    state = rig.machines["cp1"].state()
    return {name: state[name] for name in PATHS}


def orders(rig: Rig) -> list[str]:
    """What systemd was told."""
    return (rig.machines["cp1"].root / "run/orders").read_text().split()


def test_there_and_back_again(rig: Rig) -> None:
    before = managed(rig)
    rig.cluster.pods = [pod("web", "cp1"), pod("agent", "cp1", "DaemonSet")]
    with pytest.raises(StrongroomError) as caught:
        rig.apply(rig.new)
    assert str(caught.value) == (
        "cp1: containerd 2.3.4 is in use, the bundle has 2.4.0; kata 4.1.0 is in use, the bundle has 4.2.0"
    )
    assert managed(rig) == before
    planned = rig.upgrade(hands=False)
    planned.forward()
    assert "cp1: restart containerd.service (/etc/containerd/conf.d/10-strongroom.toml changes)" in said(planned.run)
    assert managed(rig) == before
    work = rig.upgrade()
    work.forward()
    assert orders(rig) == ["start", "restart"]
    assert rig.cluster.evicted == ["shop/web"]
    assert rig.looked == ["cp1 4.2.0 fresh"]
    machine = rig.machines["cp1"]
    assert machine.link("/usr/local/bin/ctr") == "/opt/strongroom/containerd/2.4.0/bin/ctr"
    assert (machine.versions("containerd"), machine.versions()) == (["2.3.4", "2.4.0"], ["4.1.0", "4.2.0"])
    again = rig.upgrade()
    again.forward()
    assert said(again.run) == []
    assert rig.apply(rig.new) == []
    machine.executions = 0
    rig.upgrade().forward()
    assert machine.executions == 2, "one look, and one for what may be removed"
    after = managed(rig)
    planned = rig.upgrade(hands=False)
    planned.back()
    assert said(planned.run) == [
        "cp1: cordon node cp1",
        "cp1: drain node cp1 (no pod to move)",
        "cp1: switch back to cni-plugins 1.9.1, containerd 2.3.4, kata 4.1.0, runc 1.4.3",
        "cp1: restart containerd.service (/etc/containerd/conf.d/10-strongroom.toml changes)",
        "cp1: see that node cp1 is well",
        "cp1: end the switch of versions",
        "cp1: uncordon node cp1",
    ]
    assert managed(rig) == after
    rig.upgrade().back()
    assert managed(rig) == before, "the configuration too, without the former bundle"
    assert orders(rig) == ["start", "restart", "restart"]
    assert rig.apply(rig.old) == []
    assert not any(rig.cluster.cordons.values())
    rig.upgrade().forward()
    assert managed(rig) == after


def test_a_bad_node_gets_its_configuration_back(rig: Rig) -> None:
    before = managed(rig)
    rig.bad = {"cp1": "4.2.0"}
    with pytest.raises(StrongroomError, match=r"^cp1: not Ready, 15 minutes after the switch; cp1 was rolled back$"):
        rig.upgrade().forward()
    assert managed(rig) == before
    assert rig.looked == ["cp1 4.2.0 fresh", "cp1 4.1.0"]
    assert rig.apply(rig.old) == []


PROXY = "etc/systemd/system/containerd.service.d/20-strongroom-network.conf"


def through_a_proxy(rig: Rig) -> Context:
    """The new versions under an inventory that also asks for a proxy on hosts."""
    network = Network.model_validate({"proxy": {"http": "http://10.0.0.9:3128"}, "on_hosts": True})
    cluster = rig.inventory.cluster.model_copy(update={"network": network})
    return replace(rig.new, inventory=rig.inventory.model_copy(update={"cluster": cluster}))


def test_a_file_that_was_not_there_before_goes_with_a_rollback_and_containerd_forgets_it(rig: Rig) -> None:
    before, new = managed(rig), through_a_proxy(rig)
    rig.upgrade(new).forward()
    machine = rig.machines["cp1"]
    assert "10.0.0.9" in (machine.root / PROXY).read_text()

    def cut(sentence: str) -> None:
        if sentence.startswith("after switch back"):
            raise Killed

    # As where the restart of a link's change has happened, and that of the file's removal has not.
    machine.before = cut
    with pytest.raises(Killed):
        rig.upgrade(new).back()
    machine.before = None
    assert not (machine.root / PROXY).exists()
    assert orders(rig) == ["start", "restart", "try-restart"]
    (machine.root / "var/lib/strongroom/upgrade/switching/restart").touch()
    rig.upgrade(new).back()
    assert orders(rig) == ["start", "restart", "try-restart", "try-restart"]
    assert managed(rig) == before
    again = rig.upgrade(new)
    again.back()
    assert said(again.run) == []


def test_what_the_inventory_no_longer_asks_for_is_no_matter_of_an_upgrade(rig: Rig) -> None:
    new = through_a_proxy(rig)
    rig.upgrade(new).forward()
    rig.upgrade(rig.newest).forward()
    machine = rig.machines["cp1"]
    assert (machine.root / PROXY).exists(), "a rollback would not bring it back"
    assert any("which the inventory no longer asks for" in line for line in rig.apply(rig.newest))
    assert not (machine.root / PROXY).exists()


def test_a_bundle_for_another_machine_is_refused_before_anything_changes(rig: Rig) -> None:
    machine = rig.machines["cp1"]
    (machine.root / "shims/uname").write_text("#!/bin/sh\necho aarch64\n")
    (machine.root / "shims/uname").chmod(0o755)
    with pytest.raises(PreflightRefused, match=r"^cp1: its processor is aarch64, and the bundle is for amd64$"):
        rig.upgrade().forward()
    assert rig.cluster.log == []
    assert machine.versions() == ["4.1.0"]


@pytest.mark.parametrize("bundle", ["new", "old"])
def test_destroy_takes_all_versions_with_it_by_either_bundle(rig: Rig, bundle: str) -> None:
    rig.upgrade().forward()
    run = Run(getattr(rig, bundle), rig.session, Progress(), hands=True)
    run.host_phase(RuntimePhase(), leftover)
    machine = rig.machines["cp1"]
    left = [name for name, what in machine.state().items() if what != "folder"]
    assert [name for name in left if name.startswith(("opt/", "usr/")) or "upgrade" in name] == []
    assert [machine.versions(name) for name in ("kata", "containerd", "runc")] == [[], [], []]


@pytest.mark.parametrize(
    "at",
    [
        "after install containerd",
        "after note the versions in use",
        "after link /usr/local/bin/containerd",
        "restart containerd.service",
        "after restart containerd.service",
        "end the switch of versions",
        "after end the switch of versions",
    ],
)
def test_killed_anywhere_apply_or_upgrade_goes_on(rig: Rig, at: str) -> None:
    def kill(sentence: str) -> None:
        if sentence.startswith(at):
            raise Killed

    rig.machines["cp1"].before = kill
    with pytest.raises(Killed):
        rig.upgrade().forward()
    rig.machines["cp1"].before = None
    if at == "after install containerd":  # nothing is switched yet: the version in use stays until somebody upgrades
        with pytest.raises(StrongroomError, match="is in use, the bundle has"):
            rig.apply(rig.new)
    else:
        rig.apply(rig.new)
        assert rig.machines["cp1"].link("/opt/kata").endswith("4.2.0")
    rig.upgrade().forward()
    assert not any(rig.cluster.cordons.values())
    assert rig.machines["cp1"].link("/usr/local/bin/ctr").startswith("/opt/strongroom/containerd/2.4.0")
    again = rig.upgrade()
    again.forward()
    assert said(again.run) == []
    rig.upgrade().back()
    assert rig.machines["cp1"].link("/opt/kata").endswith("4.1.0"), "what was in use before is still known"


OWNERS = 'version = 2\n# by hand\n[plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/usr/lib/cni"\n'


def test_the_distributions_configuration_goes_back_too_and_is_still_the_owners(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "rig", workers=0, distribution=OWNERS)
    machine = rig.machines["cp1"]
    names = ("etc/containerd/config.toml", "var/lib/strongroom/original/containerd/record.json", "opt/kata")
    before = {name: machine.state()[name] for name in names}
    with pytest.raises(StrongroomError, match=r"^cp1: kata 4\.1\.0 is in use, the bundle has 4\.2\.0$"):
        rig.apply(rig.new)
    rig.upgrade().forward()
    config = machine.root / "etc/containerd/config.toml"
    assert "example/pause:3.4" in config.read_text()
    assert not set(before.items()) & {(name, machine.state()[name]) for name in names}
    rig.upgrade().back()
    assert {name: machine.state()[name] for name in names} == before
    assert orders(rig) == ["restart", "restart", "restart"]
    assert rig.apply(rig.old) == []
    Run(rig.old, rig.session, Progress(), hands=True).host_phase(RuntimePhase(), leftover)
    assert config.read_text() == OWNERS


@pytest.mark.parametrize("applied", [False, True])
def test_what_the_owner_wrote_since_is_not_undone_by_a_rollback(tmp_path: Path, applied: bool) -> None:
    rig = Rig(tmp_path / "rig", workers=0, distribution=OWNERS)
    rig.upgrade().forward()
    config = rig.machines["cp1"].root / "etc/containerd/config.toml"
    config.write_text(f'{config.read_text()}[debug]\n  level = "debug"\n')
    if applied:  # ours is merged into it once more, and noted as what we wrote last
        config.write_text(config.read_text().replace("pause:3.4", "pause:3.9"))
        assert rig.apply(rig.new) != []
    before = rig.machines["cp1"].state()
    with pytest.raises(StrongroomError, match=r"^cp1: /etc/containerd/config\.toml: somebody else has edited it since"):
        rig.upgrade().back()
    assert (rig.machines["cp1"].state(), rig.cluster.log) == (before, ["cordon cp1", "uncordon cp1"])
    rig.upgrade(rig.old).forward()
    assert rig.kata() == ["4.1.0"]
    assert ("pause:3.3" in config.read_text(), "[debug]" in config.read_text()) == (True, True)


def killed(rig: Rig, at: str, work: Upgrade, *, back: bool = False) -> None:
    """A run that ends before, or after, a sentence."""

    def kill(sentence: str) -> None:
        if sentence.startswith(at):
            raise Killed

    rig.machines["cp1"].before = kill
    with pytest.raises(Killed):
        work.back() if back else work.forward()
    rig.machines["cp1"].before = None


def test_killed_inside_the_switch_apply_with_the_former_bundle_goes_back(rig: Rig) -> None:
    before = managed(rig)
    killed(rig, "after link /usr/local/bin/containerd", rig.upgrade())
    assert managed(rig) != before
    rig.apply(rig.old)
    assert managed(rig) == before
    assert not (rig.machines["cp1"].root / "var/lib/strongroom/upgrade/switching").exists()
    rig.upgrade().forward()
    assert rig.kata() == ["4.2.0"]


@pytest.mark.parametrize("again", ["back", "apply", "upgrade"])
def test_a_rollback_that_is_killed_goes_on_either_way(rig: Rig, again: str) -> None:
    before = managed(rig)
    rig.upgrade().forward()
    after = managed(rig)
    killed(rig, "restart containerd.service", rig.upgrade(), back=True)
    if again == "back":
        rig.upgrade().back()
    elif again == "apply":
        rig.apply(rig.new)
    else:
        rig.upgrade().forward()
    assert managed(rig) == (before if again == "back" else after)
    assert orders(rig)[-1] == "restart"
    if again != "apply":
        assert not any(rig.cluster.cordons.values())
    rig.upgrade().back()
    assert managed(rig) == before


def test_a_program_that_later_versions_lack_goes_with_its_version(rig: Rig) -> None:
    machine = rig.machines["cp1"]
    rig.upgrade().forward()
    assert machine.link("/usr/local/bin/ctr-2.3.4") == "/opt/strongroom/containerd/2.3.4/bin/ctr-2.3.4", (
        "the former one's"
    )
    rig.upgrade(rig.newest).forward()
    assert machine.versions("containerd") == ["2.4.0"]
    links = [path.name for path in (machine.root / "usr/local/bin").glob("ctr*")]
    assert sorted(links) == ["ctr", "ctr-2.4.0"]
