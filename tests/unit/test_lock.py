"""The locks: schema, order, pins, selection, and the commands that check and update them."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strongroom import paths
from strongroom.catalog.load import hosts
from strongroom.cli.lock import app
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import create, lockfile, pinning
from strongroom.fetch.hashing import sha256_file
from strongroom.fetch.http import Client
from strongroom.model.lock import Lock, LockEntry, version_key
from strongroom.model.platform import Platform
from strongroom.plan.snapshots import COMPONENT
from tests.unit.test_fetch import DATA, Reply, Server, serve
from tests.unit.test_fetch import SHA as DATA_SHA

SHA = "ab" * 32
ENTRY: dict[str, Any] = {
    "component": "runc",
    "version": "1.4.3",
    "arch": "amd64",
    "kind": "binary",
    "url": "https://example.org/runc",
    "sha256": SHA,
    "licence": "Apache-2.0",
    "source": "https://example.org/",
}
IMAGE: dict[str, Any] = {
    "component": "pause",
    "version": "3.10",
    "arch": "amd64",
    "kind": "image",
    "image": "example.org/pause:3.10",
    "digest": "unpinned",
    "licence": "Apache-2.0",
    "source": "https://example.org/",
}


def lock(*entries: dict[str, Any], **default: str) -> dict[str, Any]:
    return {"schema_version": 1, "default": default, "artifacts": list(entries)}


def write(folder: Path, content: object) -> Path:
    path = folder / "a.lock"
    path.write_text(yaml.safe_dump(content))
    return path


class TestPackaged:
    """What is shipped."""

    def test_it_is_of_its_schema_and_sorted(self) -> None:
        packaged = lockfile.load()
        keys = [entry.key for entry in packaged.artifacts]
        assert keys == sorted(set(keys))
        assert list(packaged.default) == sorted(packaged.default)

    def test_its_text_is_what_would_be_written(self) -> None:
        assert lockfile.artifacts_path().read_text() == lockfile.dump(lockfile.load())

    @pytest.mark.parametrize("arch", ["amd64", "arm64"])
    def test_every_component_is_there_for_every_architecture(self, arch: str) -> None:
        assert [entry.component for entry in lockfile.load().select(arch)] == sorted(lockfile.load().default)

    def test_urls_name_version_and_architecture(self) -> None:
        for entry in lockfile.load().artifacts:
            where = entry.url or entry.image or ""
            assert entry.version in where, entry
            # A chart is for every architecture; firmware is for one that its archive does not name.
            assert entry.url is None or entry.arch in entry.url or entry.kind == "manifest" or entry.only, entry

    def test_urls_and_images_are_not_repeated(self) -> None:
        urls = [entry.url for entry in lockfile.load().artifacts if entry.url and entry.kind != "manifest"]
        assert len(urls) == len(set(urls))
        sums = [entry.sha256 for entry in lockfile.load().artifacts if entry.sha256 and entry.pinned]
        assert len(sums) == len(set(sums))

    def test_the_go_road_has_the_images_of_the_other_one(self) -> None:
        roads = lockfile.load(), lockfile.load_go()
        ours = {component.component for component in roads[1].components}
        assert {entry.component for entry in roads[0].artifacts} - ours == {
            "amd-sev-firmware",
            "cilium-agent",
            "cilium-operator",
            "kata-go",
            "nydus-snapshotter",
        }

    def test_only_the_kata_of_the_go_road_is_a_stand_in(self) -> None:
        assert [c.component for c in lockfile.load_go().components if c.stand_in] == ["kata"]
        assert not any(entry.stand_in for entry in lockfile.load().artifacts)


class TestRefusals:
    """Each is one line that names file, key and what was found."""

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (lock({**ENTRY, "colour": "red"}), ("artifacts.0 (runc 1.4.3 amd64).colour", "red")),
            (lock({**ENTRY, "sha256": "12"}), ("artifacts.0 (runc 1.4.3 amd64).sha256", "12")),
            (lock({**ENTRY, "arch": "s390x"}), ("artifacts.0 (runc 1.4.3 s390x).arch", "s390x")),
            (lock({**ENTRY, "url": "ftp://x"}), ("artifacts.0 (runc 1.4.3 amd64).url", "ftp://x")),
            (lock({**ENTRY, "prefix": "../x"}), ("artifacts.0 (runc 1.4.3 amd64).prefix", "../x")),
            (lock({**ENTRY, "size": 0}), ("artifacts.0 (runc 1.4.3 amd64).size", "0")),
            (lock({**ENTRY, "image": "a/b:1"}), ("runc 1.4.3", "no image")),
            (lock({**IMAGE, "sums": "https://example.org/sums"}), ("pause 3.10", "sums belongs to url")),
            (lock({**ENTRY, "only": ["a"]}), ("runc 1.4.3", "only belongs to the kind archive")),
            (lock({**ENTRY, "sums": "ftp://x"}), ("artifacts.0 (runc 1.4.3 amd64).sums", "ftp://x")),
            (lock({**IMAGE, "digest": None}), ("pause 3.10", "a digest")),
            (lock({**IMAGE, "digest": SHA}), ("artifacts.0 (pause 3.10 amd64).digest", SHA[:20])),
            (lock(ENTRY, ENTRY), ("sorted", "once")),
            (lock(ENTRY, IMAGE), ("sorted",)),
            (lock(ENTRY, runc="9"), ("default", "runc 9")),
            (lock(ENTRY, crun="1"), ("default", "crun 1")),
            ({**lock(ENTRY), "schema_version": 2}, ("schema_version", "2")),
            ([], ("a.lock",)),
        ],
    )
    def test_schema(self, tmp_path: Path, content: object, told: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError) as caught:
            lockfile.load(write(tmp_path, content))
        assert "a.lock" in str(caught.value)
        assert "\n" not in str(caught.value)
        for part in told:
            assert part in str(caught.value)

    def test_no_file_and_no_yaml(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            lockfile.load(tmp_path / "none.lock")
        (tmp_path / "bad.lock").write_text("a: [")
        with pytest.raises(ConfigError, match="no YAML"):
            lockfile.load(tmp_path / "bad.lock")

    @pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
    def test_one_nested_as_no_lock_is_does_not_end_the_process(self, tmp_path: Path, text: str) -> None:
        """libyaml composes a document by calling itself, and the stack ends before Python is asked."""
        (tmp_path / "deep.lock").write_text(text)
        with pytest.raises(ConfigError, match="is no YAML: nested deeper than 100 levels") as caught:
            lockfile.load(tmp_path / "deep.lock")
        assert "\n" not in str(caught.value)

    def test_a_few_lines_that_stand_for_a_milliard_are_refused(self, tmp_path: Path) -> None:
        """The line that says what was found would never have come to its end."""
        rows = ["a0: &a0 [x]", *(f"a{one}: &a{one} [{', '.join([f'*a{one - 1}'] * 10)}]" for one in range(1, 12))]
        (tmp_path / "bomb.lock").write_text("\n".join([*rows, "default: *a11", "artifacts: []"]))
        with pytest.raises(
            ConfigError, match=r"is no YAML: an alias of something that has aliases itself in .*line 2"
        ) as caught:
            lockfile.load(tmp_path / "bomb.lock")
        assert "\n" not in str(caught.value)

    def test_any_other_order_is_refused(self) -> None:
        entries = list(lockfile.load().artifacts)
        shuffled = random.Random(7).sample(entries, len(entries))
        with pytest.raises(ValueError, match="sorted"):
            Lock(default={}, artifacts=tuple(shuffled))

    def test_selection_names_what_there_is(self) -> None:
        packaged = lockfile.load()
        with pytest.raises(ConfigError, match=r"runc: '9\.9' is not in the lock, which has 1\.4\.1, 1\.4\.2, 1\.4\.3"):
            packaged.select("amd64", {"runc": "9.9"})
        with pytest.raises(ConfigError, match="it is no component"):
            packaged.select("amd64", {"crun": "1"})
        with pytest.raises(ConfigError, match="s390x"):
            packaged.select("s390x")

    def test_unpinned_is_refused_by_name(self) -> None:
        packaged = lockfile.load()
        with pytest.raises(ConfigError) as caught:
            create.selection(packaged, "amd64", {}, "artifacts.lock")
        assert "kata 4.1.0 amd64" in str(caught.value)
        assert "runc" not in str(caught.value)
        hint = caught.value.hint or ""
        assert "strongroom lock update --lock FILE --arch amd64 --component" in hint
        assert "--component kata --component kata-go" in hint
        with pytest.raises(ConfigError) as caught:
            create.selection(packaged, "amd64", {"kata": "3.32.0"}, "artifacts.lock")
        assert "kata 3.32.0" not in str(caught.value)


def test_sev_firmware_is_taken_only_when_it_is_asked_for_and_has_the_name_that_hosts_look_for() -> None:
    packaged = lockfile.load()
    (version,) = packaged.versions("amd-sev-firmware")
    assert hosts().of(Platform.SNP).firmware == "amd-sev-firmware"
    assert "amd-sev-firmware" not in {entry.component for entry in packaged.select("amd64")}
    chosen = {entry.component: entry for entry in packaged.select("amd64", {"amd-sev-firmware": version})}
    assert not chosen["amd-sev-firmware"].pinned, "nobody here has seen its sum"
    with pytest.raises(ConfigError, match=r"amd-sev-firmware: the lock has no .* for arm64"):
        packaged.select("arm64", {"amd-sev-firmware": version})


def test_nydus_is_taken_only_when_it_is_asked_for() -> None:
    packaged = lockfile.load()
    (version,) = packaged.versions(COMPONENT)
    for arch in ("amd64", "arm64"):
        assert COMPONENT not in {entry.component for entry in packaged.select(arch)}
        chosen = {entry.component: entry for entry in packaged.select(arch, {COMPONENT: version})}
        assert not chosen[COMPONENT].pinned, "nobody here has seen its sum"


def test_versions_are_sorted_by_number() -> None:
    versions = ["1.10.0", "3.6.8-1", "3.6.8", "1.9.1", "1.9.1-rc.1", "3.6.8-0", "1.36.3"]
    assert sorted(versions, key=version_key) == [
        "1.9.1-rc.1",
        "1.9.1",
        "1.10.0",
        "1.36.3",
        "3.6.8",
        "3.6.8-0",
        "3.6.8-1",
    ]


def test_selection_replaces_versions() -> None:
    chosen = {entry.component: entry for entry in lockfile.load().select("arm64", {"kata": "3.32.0"})}
    assert chosen["kata"].version == "3.32.0"
    assert chosen["runc"].version == "1.4.3"
    assert {entry.arch for entry in chosen.values()} == {"arm64"}


def test_kubernetes_sets_what_is_released_together() -> None:
    versions = create.parse_versions(["kubernetes=1.36.4", "kata=3.32.0"])
    assert versions["kube-proxy"] == versions["kubelet"] == "1.36.4"
    assert versions["kata"] == "3.32.0"
    assert "etcd" not in versions
    lockfile.load().select("amd64", versions)
    with pytest.raises(ConfigError, match="component=version"):
        create.parse_versions(["kubelet"])


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_cilium_is_taken_only_when_it_is_asked_for(arch: str) -> None:
    packaged = lockfile.load()
    assert not [entry for entry in packaged.select(arch) if entry.component.startswith("cilium")]
    chosen = packaged.select(arch, create.parse_versions(["cilium=1.19.6"]))
    taken = {entry.component: entry.kind for entry in chosen if entry.component.startswith("cilium")}
    assert taken == {"cilium": "manifest", "cilium-agent": "image", "cilium-operator": "image"}
    with pytest.raises(ConfigError, match=r"cilium: '9\.9' is not in the lock, which has 1\.19\.6"):
        packaged.select(arch, create.parse_versions(["cilium=9.9"]))
    with pytest.raises(ConfigError, match=r"cilium-agent 1\.19\.6"):  # not until somebody recorded its digest
        create.selection(packaged, arch, create.parse_versions(["cilium=1.19.6"]), "artifacts.lock")


class Recording(Client):
    """A client that answers without a network."""

    def measure(self, url: str) -> tuple[str, int]:
        return SHA[::-1], 77


class TestUpdate:
    """`lock update`."""

    def test_it_pins_what_is_unpinned_and_leaves_pins_alone(self) -> None:
        loose = {**ENTRY, "version": "1.4.4", "sha256": "unpinned"}
        before = Lock.model_validate(lock(ENTRY, loose, runc="1.4.3"))
        after, failed = pinning.update(before, None, (), Recording())
        assert not failed
        assert after.artifacts[0] == before.artifacts[0]
        assert (after.artifacts[1].sha256, after.artifacts[1].size) == (SHA[::-1], 77)

    def test_it_can_be_told_what(self) -> None:
        loose = {**ENTRY, "sha256": "unpinned"}
        before = Lock.model_validate(lock(loose, {**loose, "arch": "arm64"}, runc="1.4.3"))
        after, _ = pinning.update(before, "arm64", (), Recording())
        assert [entry.pinned for entry in after.artifacts] == [False, True]
        after, _ = pinning.update(before, None, ("crictl",), Recording())
        assert after == before

    def test_it_writes_to_the_named_file_only(self, tmp_path: Path) -> None:
        packaged = sha256_file(lockfile.artifacts_path())
        out = tmp_path / "mine.lock"
        done = CliRunner().invoke(app, ["update", "--lock", str(out), "--component", "runc"])
        assert done.exit_code == 0, done.output
        assert lockfile.load(out) == lockfile.load()
        assert sha256_file(lockfile.artifacts_path()) == packaged
        assert [path.name for path in tmp_path.iterdir()] == ["mine.lock"]

    def test_without_a_file_or_with_a_wrong_component_it_refuses(self, tmp_path: Path) -> None:
        assert CliRunner().invoke(app, ["update"]).exit_code == 2
        done = CliRunner().invoke(app, ["update", "--lock", str(tmp_path / "x"), "--component", "crun"])
        assert isinstance(done.exception, ConfigError)
        assert not (tmp_path / "x").exists()

    def test_go_modules_are_pinned_as_they_are(self, tmp_path: Path) -> None:
        text = lockfile.go_modules_path().read_text()
        assert lockfile.repin_go(text, paths.catalog("go")) == text
        pin = lockfile.load_go().module("runc").go_sum
        out = tmp_path / "go-modules.lock"
        out.write_text(text.replace(pin, SHA))
        done = CliRunner().invoke(app, ["update", "--go-modules", "--lock", str(out)])
        assert done.exit_code == 0, done.output
        assert out.read_text() == text


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "lock").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StrongroomError, match="lock: cannot be written: No space left on device"):
        lockfile.write(tmp_path / "lock", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("lock", "old")]


def test_check_lists_what_is_unpinned() -> None:
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 0, done.output
    unpinned = [line for line in done.output.splitlines() if line.startswith("unpinned: ")]
    assert len(unpinned) == len(lockfile.load().unpinned()) > 0


def test_an_entry_says_which_it_is() -> None:
    assert str(LockEntry.model_validate(ENTRY)) == "runc 1.4.3 amd64"


BARE = f"{SHA}\n"
LIST = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{'c' * 64}  other\n{SHA.upper()} *runc.amd64\n"


class TestPublishersSums:
    """`sums`: the publisher's own file."""

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            (BARE, SHA),
            (f"{SHA}  runc.amd64\n", SHA),
            (f"{SHA}  ./dist/runc.amd64\r\n", SHA),
            (LIST, SHA),
            (f"SHA256 (runc.amd64) = {SHA}\n", SHA),
            (f"{SHA}  runc.arm64\n", None),
            (f"{SHA}\n{'c' * 64}\n", None),
            (f"{SHA}{SHA}  runc.amd64\n", None),
            ("<html>", None),
            ("", None),
        ],
    )
    def test_forms(self, text: str, found: str | None) -> None:
        assert pinning.published(text, "runc.amd64") == found

    @given(st.text(max_size=300), st.text(min_size=1, max_size=20))
    def test_any_text_gives_a_sum_that_is_in_it_or_none(self, text: str, name: str) -> None:
        found = pinning.published(text, name)
        assert found is None or found in text.lower()

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for served in serve():
            served.replies["/runc.amd64"] = Reply(DATA)
            yield served

    def content(self, server: Server, **more: str) -> dict[str, Any]:
        entry = {**ENTRY, "url": f"{server.url}/runc.amd64", "sums": f"{server.url}/sums", "sha256": "unpinned", **more}
        return lock(entry, runc="1.4.3")

    def test_a_sum_that_the_publisher_does_not_say_is_not_pinned(self, server: Server, tmp_path: Path) -> None:
        server.replies["/sums"] = Reply(f"{SHA}  runc.amd64\n".encode())
        file = write(tmp_path, self.content(server))
        done = CliRunner().invoke(app, ["update", "--lock", str(file)])
        assert isinstance(done.exception, StrongroomError)
        assert f"its SHA-256 is {DATA_SHA}, and its publisher says {SHA}" in done.output
        assert not lockfile.load(file).artifacts[0].pinned

    @pytest.mark.parametrize(
        ("reply", "told"), [(Reply(status=404), "answered 404"), (Reply(b"x"), "has no SHA-256 of")]
    )
    def test_without_the_publishers_word_nothing_is_pinned(
        self, server: Server, tmp_path: Path, reply: Reply, told: str
    ) -> None:
        server.replies["/sums"] = reply
        file = write(tmp_path, self.content(server))
        done = CliRunner().invoke(app, ["update", "--lock", str(file)])
        assert told in str(done.exception)
        assert not lockfile.load(file).artifacts[0].pinned

    @pytest.mark.parametrize(
        ("body", "told"),
        [(b"\n<!DOCTYPE HTML><title>Log in", "is a page for a browser, and no file"), (b"", "is empty")],
    )
    def test_what_a_portal_answers_is_not_pinned(self, server: Server, tmp_path: Path, body: bytes, told: str) -> None:
        """Kata's releases have no sums file that would contradict it."""
        server.replies["/runc.amd64"] = Reply(body)
        content = self.content(server)
        del content["artifacts"][0]["sums"]
        file = write(tmp_path, content)
        done = CliRunner().invoke(app, ["update", "--lock", str(file)])
        assert f"{server.url}/runc.amd64: {told}" in str(done.exception)
        assert not lockfile.load(file).artifacts[0].pinned

    def test_what_both_say_is_pinned_and_told(self, server: Server, tmp_path: Path) -> None:
        server.replies["/sums"] = Reply(f"{DATA_SHA}  runc.amd64\n".encode())
        file = write(tmp_path, self.content(server))
        done = CliRunner().invoke(app, ["update", "--lock", str(file)])
        assert done.exit_code == 0, done.output
        assert f"pinned: runc 1.4.3 amd64 {DATA_SHA}" in done.output.splitlines()
        assert lockfile.load(file).artifacts[0].sha256 == DATA_SHA
        online = CliRunner().invoke(app, ["check", "--lock", str(file), "--online"])
        assert online.exit_code == 0, online.output
        assert "1 pins are what their publishers say" in online.output

    def test_a_pin_that_the_publisher_contradicts_is_told_and_never_changed(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.replies["/sums"] = Reply(f"{DATA_SHA}  runc.amd64\n".encode())
        file = write(tmp_path, self.content(server, sha256=SHA))
        before = file.read_text()
        online = CliRunner().invoke(app, ["check", "--lock", str(file), "--online"])
        assert isinstance(online.exception, StrongroomError)
        assert f"runc 1.4.3 amd64: its SHA-256 is {SHA}, and its publisher says {DATA_SHA}" in online.output
        assert file.read_text() == before
        done = CliRunner().invoke(app, ["update", "--lock", str(file)])
        assert done.exit_code == 0, done.output
        assert lockfile.load(file).artifacts[0].sha256 == SHA
        assert server.paths() == ["/sums"], "the update asks nothing about what is pinned"

    def test_an_update_that_is_killed_keeps_what_it_has_pinned(self, server: Server, tmp_path: Path) -> None:
        """Killed while the second file is being asked for, again and again by a server that says nothing."""
        second = threading.Event()

        def silent(_: dict[str, str]) -> Reply:
            second.set()
            threading.Event().wait(30)
            return Reply(DATA)

        server.replies["/slow"] = silent
        first = {**ENTRY, "url": f"{server.url}/runc.amd64", "sha256": "unpinned"}
        later = {**first, "version": "1.4.4", "url": f"{server.url}/slow"}
        file = write(tmp_path, lock(first, later, runc="1.4.3"))
        code = "import sys; from strongroom.cli.main import main; sys.argv[0] = 'strongroom'; main()"
        command = [sys.executable, "-c", code, "lock", "update", "--lock", str(file)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert second.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert [entry.pinned for entry in lockfile.load(file).artifacts] == [True, False]
        assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]

    def test_the_packaged_lock_names_them_beside_what_they_are_of(self) -> None:
        named = [entry for entry in lockfile.load().artifacts if entry.sums]
        assert {entry.component for entry in named} >= {"containerd", "runc", "kubelet", "kubeadm", "kubectl", "crictl"}
        for entry in named:
            assert entry.url is not None
            assert entry.sums is not None
            assert entry.sums.rpartition("/")[0] == entry.url.rpartition("/")[0]
