"""What a user gets for bad input: one line that names it, the designed exit code, no traceback, nothing connected."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import paths
from strongroom.fetch.bundle import write_manifest
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest
from tests.ssh_servers import make_keys

STRONGROOM = Path(sys.executable).with_name("strongroom")
INVENTORY = """\
control_plane = [("cp1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port}, "ssh_user": "root",
                          "ssh_known_hosts_file": "/dev/null", "ssh_strict_host_key_checking": "yes",
                          "address": "10.0.0.1"{host}}})]
cluster = {{"name": "x", "claim": "none", "bundle": "{bundle}"{cluster}}}
all = (control_plane, {{"cluster": cluster}})
"""


def strongroom(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([STRONGROOM, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    content = b"a program"
    digest = hashlib.sha256(content).hexdigest()
    artifact = Artifact(
        component="runc",
        version="1",
        arch="amd64",
        kind="binary",
        file="runc",
        size=len(content),
        sha256=digest,
        licence="Apache-2.0",
        source="https://example.org",
        files=(BundledFile(path="bin/runc", sha256=digest, mode="0755"),),
    )
    folder = tmp_path / "bundle"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "runc").write_bytes(content)
    write_manifest(
        BundleManifest(arch="amd64", origin="upstream", digest=f"sha256:{digest}", artifacts=(artifact,)), folder
    )
    return folder


def inventory(tmp_path: Path, bundle: Path, *, port: int = 1, host: str = "", cluster: str = "") -> Path:
    file = tmp_path / "inventory.py"
    file.write_text(INVENTORY.format(port=port, bundle=bundle, host=host, cluster=cluster))
    return file


def test_an_unknown_key(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("apply", inventory(tmp_path, bundle, cluster=', "kuberntes": {}'))
    assert done.returncode == 2
    assert "cluster: kuberntes: unknown key" in done.stderr
    assert "did you mean 'kubernetes'" in done.stderr


@pytest.mark.parametrize(
    ("of_all", "said"),
    [
        ("control_plane", "group workers: w1 is not among the hosts of all, which names every host that there is"),
        ("[]", "group control_plane: cp1 is not among the hosts of all"),
        ('["cp1"]', "group workers: w1 is not among the hosts of all"),
    ],
)
def test_a_host_that_is_not_in_all_is_not_left_out_in_silence(tmp_path: Path, of_all: str, said: str) -> None:
    """pyinfra makes the hosts of `all` alone; without its worker a cluster's pods would go to the control plane."""
    file = tmp_path / "inventory.py"
    file.write_text(
        'control_plane = [("cp1", {"address": "10.0.0.1"})]\nworkers = [("w1", {"address": "10.0.0.2"})]\n'
        f'all = ({of_all}, {{"cluster": {{"name": "x", "claim": "none"}}}})\n'
    )
    done = strongroom("plan", file)
    assert done.returncode == 2
    assert f"strongroom: {file}: {said}" in done.stderr
    assert "all = (control_plane + workers, {…})" in done.stderr


def test_an_inventory_without_hosts(tmp_path: Path) -> None:
    file = tmp_path / "inventory.py"
    file.write_text('all = ([], {"cluster": {"name": "x", "claim": "none"}})\n')
    done = strongroom("plan", file)
    assert done.returncode == 2
    assert f"strongroom: {file}: no hosts" in done.stderr


def test_a_waiver_of_no_check(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("preflight", inventory(tmp_path, bundle, cluster=', "waive": {"snp-cgf": "VLEKs come later"}'))
    assert done.returncode == 2
    assert "cluster: waive: found 'snp-cgf', allowed is the id of a check; did you mean 'SNP-CFG'?" in done.stderr


def test_an_unreachable_host(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("apply", inventory(tmp_path, bundle, port=free_port()))
    assert done.returncode == 1
    assert "strongroom: cp1: cannot connect:" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such private key file"), (b"no key", "Invalid private key file"), (b"\xab\xff", "is no text")],
)
def test_a_private_key_that_is_none_is_a_line_of_its_host(
    tmp_path: Path, bundle: Path, content: bytes | None, said: str
) -> None:
    """For pyinfra that is no failed connection: its error went past all others' handlers."""
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    file = inventory(tmp_path, bundle, port=free_port(), host=f', "ssh_key": "{key}"')
    for verb in ("preflight", "plan", "apply"):
        done = strongroom(verb, file)
        assert done.returncode == 1
        (line,) = [one for one in done.stderr.splitlines() if one.startswith("strongroom:")]
        assert line.startswith("strongroom: cp1: cannot connect: ")
        assert said in line
    assert "ssh_key" in done.stderr


def test_a_flipped_byte_in_the_bundle_stops_before_anything_connects(tmp_path: Path, bundle: Path) -> None:
    file = bundle / "artifacts" / "runc"
    file.write_bytes(b"A" + file.read_bytes()[1:])
    done = strongroom("apply", inventory(tmp_path, bundle, port=free_port()))
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "cannot connect" not in done.stderr


def test_no_bundle(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("plan", inventory(tmp_path, tmp_path / "nothing"))
    assert done.returncode == 2
    assert f"{tmp_path / 'nothing'}: no bundle there (bundle.json is missing)" in done.stderr
    done = strongroom("plan", inventory(tmp_path, Path("~nobody-of-this-name/bundle")))
    assert "strongroom: ~nobody-of-this-name/bundle: no bundle there (bundle.json is missing)" in done.stderr
    assert "strongroom bundle create" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("control_plane = [", "SyntaxError|never closed"),
        ("x = 1 / 0", ":1: ZeroDivisionError"),
        ("", "allowed is a dict"),
        # One that leaves early must not pass for a run that found nothing to do.
        ("import sys\nsys.exit()", ":2: the inventory ended the program"),
        ("raise SystemExit(0)", ":1: the inventory ended the program: SystemExit: 0"),
        ("# \udcff\n", "no Python: byte 2 is not UTF-8"),
    ],
)
def test_an_inventory_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "inventory.py"
    file.write_text(text, errors="surrogateescape")
    done = strongroom("plan", file)
    assert done.returncode == 2
    assert any(word in done.stderr for word in words.split("|"))


def test_two_hosts_of_one_name_are_not_one(tmp_path: Path, bundle: Path) -> None:
    file = inventory(tmp_path, bundle)
    text = file.read_text()
    file.write_text(
        text.replace(
            "all = (control_plane", 'workers = [("cp1", {"address": "10.0.0.9"})]\nall = (control_plane + workers'
        )
    )
    done = strongroom("plan", file)
    assert done.returncode == 2
    assert "inventory.py: host cp1: is there twice, with address '10.0.0.1' and '10.0.0.9'" in done.stderr
    # In two groups, and told the same or nothing new, it is one host.
    file.write_text(text.replace("all = (control_plane", "workers = control_plane\nall = (control_plane + workers"))
    assert "is there twice" not in strongroom("plan", file).stderr


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ('"ssh_usr": "root"', "ssh_usr: pyinfra has no such key; did you mean 'ssh_user'?"),
        ('"_sodo": True', "_sodo: pyinfra has no such key; did you mean '_sudo'?"),
        ('"_sudo": "yes"', "_sudo: found 'yes', allowed is True or False"),
        ('"ssh_key": 7', "ssh_key: found 7, allowed is text"),
        ('"ssh_password": 123456', "ssh_password: found a value of type int, allowed is text"),
    ],
)
def test_what_pyinfra_would_ignore_or_trip_over(tmp_path: Path, bundle: Path, host: str, words: str) -> None:
    done = strongroom("plan", inventory(tmp_path, bundle, host=f", {host}"))
    assert done.returncode == 2
    assert f"inventory.py: host cp1: {words}" in done.stderr
    assert "123456" not in done.stderr


def test_helpers_of_group_data_and_what_a_host_takes_back_are_left_alone(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data" / "all.py").write_text(
        '_base = "10.0.0."\n_sudo_user = None\n\ndef _ip(n):\n    return n\n'
    )
    done = strongroom("preflight", inventory(tmp_path, bundle, port=free_port()))
    assert "cannot connect" in done.stderr


@pytest.mark.parametrize(
    "words", [("--phase", "runtme"), ("--skip-phase", "runtme"), ("--destroy", "--phase", "runtme")]
)
def test_a_phase_that_there_is_not_is_refused_before_anything_connects(
    tmp_path: Path, bundle: Path, words: tuple[str, ...]
) -> None:
    done = strongroom("plan", inventory(tmp_path, bundle), *words)
    assert done.returncode == 2
    assert "found 'runtme'" in done.stderr
    assert "cannot connect" not in done.stderr


@pytest.mark.parametrize("words", [("rack.yml",), ("rack",), ("rack.py", "--for", "ansible")])
def test_init_writes_nothing_under_a_name_that_no_verb_would_read(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = strongroom("init", tmp_path / words[0], *words[1:])
    assert done.returncode == 2
    assert "found the suffix" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_no_bug(unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [STRONGROOM, "lock", "check"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
            env=environment,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "a bug" not in done.stderr


def test_no_inventory_and_no_such_phase(tmp_path: Path, bundle: Path) -> None:
    assert strongroom("plan", tmp_path / "none.py").returncode == 2
    assert strongroom("plan").returncode == 2
    assert strongroom("nonsense").returncode == 2
    assert strongroom("--version").returncode == 0


def test_init_writes_a_valid_sample_once(tmp_path: Path, bundle: Path) -> None:
    file = tmp_path / "mine.py"
    assert strongroom("init", file).returncode == 0
    before = file.read_text()
    again = strongroom("init", file)
    assert again.returncode == 2
    assert "stays as it is" in again.stderr
    assert file.read_text() == before
    done = strongroom("render", file, "nobody", "--bundle", bundle)
    assert done.returncode == 2
    assert "allowed are cp1, w1, w2" in done.stderr


ANSIBLE = """\
all:
  vars:
    ntp_server: 192.0.2.1
    cluster: {{name: x, claim: none, bundle: {bundle}}}
  children:
    control_plane: {{hosts: {{cp1: {{ansible_host: 127.0.0.1, ansible_port: {port}, address: 10.0.0.1}}}}}}
    workers: {{hosts: {{"w[1:2]": {{platform: "{platform}"}}}}}}
"""


def ansible(tmp_path: Path, bundle: Path, *, platform: str = "none", port: int = 1) -> Path:
    file = tmp_path / "hosts.yml"
    file.write_text(ANSIBLE.format(bundle=bundle, platform=platform, port=port))
    for number in (1, 2):
        place = tmp_path / "host_vars" / f"w{number}.yml"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"{{ansible_host: 127.0.0.1, ansible_port: {port}, address: 10.0.0.{number + 1}}}")
    return file


def test_an_ansible_inventory_serves_a_verb(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("apply", ansible(tmp_path, bundle, port=free_port()))
    assert done.returncode == 1
    assert [line.split(":")[1] for line in done.stderr.splitlines() if "cannot connect" in line] == [
        " cp1",
        " w1",
        " w2",
    ]
    assert "left alone, because they are not strongroom's: ntp_server" in done.stderr


def test_an_ansible_inventory_is_validated_as_any_other(tmp_path: Path, bundle: Path) -> None:
    file = ansible(tmp_path, bundle, platform="SEV-SNP")
    done = strongroom("render", file, "w1")
    assert done.returncode == 2
    assert f"strongroom: {file}: hosts w1, w2: platform: found 'SEV-SNP'" in done.stderr
    assert "did you mean 'snp'?" in done.stderr


def test_other_files_are_no_inventories(tmp_path: Path) -> None:
    for name in ("hosts", "hosts.ini"):
        (tmp_path / name).write_text("[workers]\nw1\n")
        done = strongroom("plan", tmp_path / name)
        assert done.returncode == 2
        assert "allowed are .py, .yml, .yaml, .json" in done.stderr
        assert "ansible-inventory -i THIS_FILE" in done.stderr
    done = strongroom("plan", tmp_path)
    assert done.returncode == 2
    assert "a folder; name the inventory file in it" in done.stderr


def test_plain_pyinfra_reads_an_ansible_inventory(tmp_path: Path, bundle: Path) -> None:
    command = [str(STRONGROOM.with_name("pyinfra")), str(paths.data("inventories", "ansible.py")), "debug-inventory"]
    environment = {**os.environ, "STRONGROOM_ANSIBLE": str(ansible(tmp_path, bundle, port=2222))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("control_plane", "workers", "w2", "10.0.0.3", "2222", "'strict'", "ssh_strict_host_key_checking"):
        assert (word in done.stdout + done.stderr) != (word == "'strict'")


@pytest.mark.parametrize("place", ["all", "group", "file"])
def test_data_of_a_group_counts_for_its_hosts(tmp_path: Path, bundle: Path, place: str) -> None:
    file = inventory(tmp_path, bundle)
    text = file.read_text()
    if place == "all":
        file.write_text(text.replace('{"cluster": cluster}', '{"cluster": cluster, "platform": "snpp"}'))
    elif place == "group":
        file.write_text(f'{text}control_plane = (control_plane, {{"platform": "snpp"}})\n')
    else:
        (tmp_path / "group_data").mkdir()
        (tmp_path / "group_data" / "control_plane.py").write_text('platform = "snpp"\n')
    done = strongroom("plan", file)
    assert done.returncode == 2
    assert "host cp1: platform: found 'snpp'" in done.stderr


@pytest.mark.skipif(shutil.which("dropbear") is None, reason="no dropbear on this machine (dropbear-bin)")
def test_a_host_key_that_nobody_pinned_is_not_accepted(tmp_path: Path, bundle: Path) -> None:
    port = free_port()
    make_keys(tmp_path, [])
    file = inventory(tmp_path, bundle, port=port, host=f', "ssh_key": "{tmp_path}/id"')
    # pyinfra's own default would accept the key that is offered.
    file.write_text(file.read_text().replace('"ssh_strict_host_key_checking": "yes",', ""))
    server = subprocess.Popen(
        ["dropbear", "-F", "-s", "-P", tmp_path / "pid", "-r", tmp_path / "host_key", "-p", f"127.0.0.1:{port}"]
    )
    try:
        done = strongroom("preflight", file)
    finally:
        server.kill()
        server.wait()
    assert done.returncode == 1
    assert "No host key for" in done.stderr


@pytest.mark.parametrize("sample", ["ansible", "vagrant"])
def test_init_writes_other_samples(tmp_path: Path, bundle: Path, sample: str) -> None:
    place = tmp_path / "mine.yml"
    done = strongroom("init", place, "--for", sample)
    assert done.returncode == 0, done.stderr
    assert strongroom("init", place, "--for", sample).returncode == 2
    if sample == "vagrant":
        assert {file.name for file in place.iterdir()} == {"vagrant.py", "vagrant-hosts.yaml", "Vagrantfile"}
        assert f"strongroom preflight {place}/vagrant.py" in done.stdout
    else:
        done = strongroom("render", place, "nobody", "--bundle", bundle)
        assert "allowed are cp1, w1, w2" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--upgrade", "--destroy"), "--upgrade goes with none of --destroy, --phase and --skip-phase"),
        (("--upgrade", "--phase", "runtime"), "--upgrade goes with none of"),
        (("--rollback",), "--rollback and --batch go with --upgrade only"),
        (("--force",), "--force goes with --upgrade and --destroy only"),
        (("--batch", "2"), "go with --upgrade only"),
        (("--upgrade", "--batch", "0"), "--batch"),
    ],
)
def test_options_of_an_upgrades_plan_that_mean_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = strongroom("plan", *words, tmp_path / "none.py")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch", "x"), "--batch: found 'x', allowed is a valid integer"),
        (("--batch=0",), "--batch: found '0', allowed is greater than or equal to 1"),
        (("--batch", "1", "--drain-timeout", "0.5"), "--drain-timeout: found '0.5', allowed is a valid integer"),
    ],
)
def test_a_number_that_is_none_is_shown(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = strongroom("upgrade", tmp_path / "none.py", *words)
    assert done.returncode == 2
    assert done.stderr == f"strongroom: {said}\n"


def test_what_cannot_be_measured_is_named_with_its_file(tmp_path: Path) -> None:
    (file := tmp_path / "text").write_text("x" * 5000)
    done = strongroom("measure", "tdx", "--firmware", file)
    assert (done.returncode, done.stderr.partition(", allowed")[0]) == (2, f"strongroom: {file}: firmware: 5000 bytes")
    done = strongroom("measure", "pcr", "--uki", file)
    assert (done.returncode, done.stderr.startswith(f"strongroom: {file}: image: ")) == (2, True)
    done = strongroom("measure", "pcr", "--uki", file, "--loader", tmp_path / "text")
    assert (done.returncode, done.stderr.startswith(f"strongroom: {file} or {file}: image: ")) == (2, True)
    done = strongroom("measure", "pcr", "--uki", file, "--attempts", "-1")
    assert str(file) not in done.stderr


def test_a_traceback_that_was_asked_for_changes_no_exit_code(tmp_path: Path) -> None:
    plain = strongroom("plan", tmp_path / "nothere.py")
    done = subprocess.run(
        [STRONGROOM, "--debug", "plan", tmp_path / "nothere.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" in done.stderr
    assert done.returncode == plain.returncode == 2
    assert done.stderr.endswith(plain.stderr)


def test_it_runs_as_a_module_too() -> None:
    plain = strongroom("--version")
    done = subprocess.run([sys.executable, "-m", "strongroom", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == plain.stdout
