"""The state of a lab: names, files, ports, and paths that are too long for sockets."""

from __future__ import annotations

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ConfigError, StrongroomError
from strongroom.lab import inventory, keys, making, ports, rootfs, state, switch, vm
from strongroom.lab.state import Lab


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """State, cache and temporary folder of one test; pytest's own paths are too long for sockets."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.delenv(state.SETTING, raising=False)
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield


def make(name: str = "one", hosts: tuple[str, ...] = ("cp1", "w1")) -> Lab:
    return making.make(name, hosts, 2048, 2, 20, "tcg", "digest/build")


def test_what_is_saved_is_what_is_loaded() -> None:
    lab = make()
    assert state.load("one") == lab
    assert state.names() == ["one"]
    assert [(host.name, host.address) for host in lab.hosts] == [("cp1", "10.77.0.11"), ("w1", "10.77.0.12")]
    assert lab.hosts[0].mac_lan == "52:54:00:77:00:0b"
    assert len({port for host in lab.hosts for port in (host.ssh_port, host.api_port)}) == 4


def test_secrets_are_their_owners_alone() -> None:
    lab = make()
    assert stat.S_IMODE(lab.folder.stat().st_mode) == 0o700
    for file in (lab.ssh_key, lab.folder / "lab.json", lab.host_folder(lab.hosts[0]) / "host_key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_host_keys_are_pinned_under_the_ports() -> None:
    lab = make()
    lines = lab.known_hosts.read_text().splitlines()
    for host, line in zip(lab.hosts, lines, strict=True):
        own = keys.load((lab.host_folder(host) / "host_key").read_text())
        assert line == f"[127.0.0.1]:{host.ssh_port} {own.public}"
    assert len(set(lines)) == 2


def test_a_lab_that_is_not_there_names_the_way_to_one() -> None:
    with pytest.raises(StrongroomError, match="lab default: there is none") as caught:
        state.load()
    assert caught.value.hint == "strongroom lab up"
    with pytest.raises(StrongroomError) as caught:
        state.load("other")
    assert caught.value.hint == "strongroom lab up --name other"


def temporary_folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "one"}', '{"hosts": 3}'])
def test_a_damaged_file_is_one_line_that_names_it(text: str) -> None:
    lab = make()
    (lab.folder / "lab.json").write_text(text)
    with pytest.raises(StrongroomError, match=r"one/lab\.json: ") as caught:
        state.load("one")
    assert "\n" not in str(caught.value)
    assert "strongroom lab down --name one" in str(caught.value.hint)
    assert ports.promised() == set()
    assert vm.down("one")
    assert not lab.folder.exists()
    assert temporary_folders() == []


def test_the_setting_names_the_default_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    make("mine")
    monkeypatch.setenv(state.SETTING, "mine")
    assert state.load().name == "mine"
    assert [name for name, _ in inventory.hosts()] == ["cp1", "w1"]


def test_pyinfra_gets_a_pinned_connection() -> None:
    lab = make()
    name, data = inventory.hosts("one")[1]
    host = lab.host(name)
    assert data == {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": host.ssh_port,
        "ssh_user": "root",
        "ssh_key": str(lab.ssh_key),
        "ssh_known_hosts_file": str(lab.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "address": "10.77.0.12",
        "api_address": f"127.0.0.1:{host.api_port}",
    }


def test_an_unknown_host_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no host 'cp2'; it has cp1, w1") as caught:
        make().host("cp2")
    assert caught.value.hint == "did you mean 'cp1'?"


def test_the_rest_of_a_half_made_lab_is_not_taken_for_a_lab() -> None:
    lab = make()
    (lab.folder / "lab.json").unlink()
    leftover = lab.host_folder(lab.hosts[0]) / "overlay.qcow2"
    leftover.write_text("of another life")
    make()
    assert not leftover.exists()
    assert len(temporary_folders()) <= 1, "its sockets went with it"


def test_down_removes_everything_and_can_be_repeated(tmp_path: Path) -> None:
    make()
    assert vm.down("one")
    assert not vm.down("one")
    assert [path for path in (tmp_path / "s").rglob("*") if not path.is_dir()] == []
    assert not state.labs_folder().exists()


def test_a_lab_is_not_taken_for_one_of_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    monkeypatch.setattr("strongroom.lab.tools.check", lambda programs: None)
    with pytest.raises(ConfigError) as caught:
        vm.up("one", ["cp1"], memory=1024, disk=20)
    assert str(caught.value).splitlines() == [
        "lab one: hosts: cp1 asked for; it has cp1,w1",
        "lab one: memory: 1024 asked for; it has 2048",
    ]
    with pytest.raises(ConfigError, match="lab one: packages: containerd asked for; it has none"):
        vm.up("one", packages=["containerd"])


# the root file system's packages


def test_further_packages_make_another_root_file_system_and_none_keeps_the_usual() -> None:
    usual = rootfs.Recipe()
    assert rootfs.with_packages(()).digest == usual.digest
    assert rootfs.with_packages(["systemd"]).digest == usual.digest, "it has that already"
    more = rootfs.with_packages(making.parse_packages("jq, containerd"))
    assert more.packages == (*rootfs.PACKAGES, "containerd", "jq")
    assert more.digest != usual.digest
    assert rootfs.with_packages(["containerd", "jq", "jq"]).digest == more.digest


@pytest.mark.parametrize("name", ["", "a", "A", "--hook=x", "a b", "a=1", "../a", "a\n"])
def test_what_is_no_package_is_refused_before_anything_is_built(name: str) -> None:
    with pytest.raises(ConfigError, match="packages: found"):
        vm.up("one", packages=[name])


def test_a_lab_remembers_its_packages() -> None:
    lab = making.make("one", ("cp1",), 2048, 2, 20, "tcg", "digest/build", ["containerd"])
    assert state.load("one").packages == lab.packages == ("containerd",)


# ports


def test_ports_are_promised_once() -> None:
    first, second = make("one"), make("two")
    mine = {port for lab in (first, second) for host in lab.hosts for port in (host.ssh_port, host.api_port)}
    assert len(mine) == 8
    assert ports.promised() == mine


@given(st.integers(0, 40), st.sets(st.sampled_from(ports.RANGE), max_size=50))
def test_picked_ports_are_free_and_nobody_elses(count: int, taken: set[int]) -> None:
    found = ports.pick(count, taken, free=lambda port: port % 3 == 0)
    assert len(set(found)) == len(found) == count
    assert not taken & set(found)
    assert all(port in ports.RANGE and port % 3 == 0 for port in found)


def test_a_promised_port_is_not_given_again_though_it_is_free() -> None:
    left = {ports.RANGE[7], ports.RANGE[-1]}
    assert set(ports.pick(2, set(ports.RANGE) - left, free=lambda port: True)) == left


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_too_few_ports_is_an_error() -> None:
    with pytest.raises(StrongroomError, match="3 free ports"):
        ports.pick(4, (), free=lambda port: port < ports.RANGE[3])


# names and sizes


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ("cp1",)),
        (1, ("cp1",)),
        (3, ("cp1", "w1", "w2")),
        (["cp1", "gpu-1"], ("cp1", "gpu-1")),
    ],
)
def test_names_of_hosts(value: list[str] | int | None, names: tuple[str, ...]) -> None:
    assert making.host_names(value) == names


@pytest.mark.parametrize(
    ("text", "names"), [("2", ("cp1", "w1")), ("a", ("a",)), ("a, b", ("a", "b")), ("cp1,w1", ("cp1", "w1"))]
)
def test_hosts_on_the_command_line(text: str, names: tuple[str, ...]) -> None:
    assert making.host_names(making.parse_hosts(text)) == names


@pytest.mark.parametrize(
    "text", ["0", "129", "", "a,a", "a,", "A", "-a", "a-", "a b", "localhost", "../x", "1a", "a" * 33]
)
def test_hosts_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError):
        making.host_names(making.parse_hosts(text))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A", "a" * 33, "a\n"])
def test_names_that_are_no_folder_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="lab name: "):
        state.folder_of(name)


def test_sizes_are_checked_together() -> None:
    making.check_sizes(making.MEMORY, making.CPUS, making.DISK)
    with pytest.raises(ConfigError) as caught:
        making.check_sizes(100, 0, 4)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["memory", "cpus", "disk"]


# sockets


def test_a_long_path_gets_its_sockets_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    monkeypatch.setenv("XDG_STATE_HOME", str(deep))
    lab = make()
    try:
        assert not lab.socket_folder.is_relative_to(deep)
        assert switch.fits(lab.socket_folder)
        assert stat.S_IMODE(lab.socket_folder.stat().st_mode) == 0o700
        assert state.load("one").socket_folder == lab.socket_folder
    finally:
        vm.down("one")
    assert not lab.socket_folder.exists()


def test_a_short_path_keeps_its_sockets() -> None:
    assert switch.choose_socket_folder(Path("/s/labs/one")) == Path("/s/labs/one/run")


@given(st.integers(1, 150))
def test_a_folder_that_fits_takes_the_longest_socket(length: int) -> None:
    folder = Path("/" + "x" * length)
    longest = folder / f"{'h' * 32}.qmp"
    assert switch.fits(folder) <= (len(bytes(longest)) <= 107)
