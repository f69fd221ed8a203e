"""The locks: schema, order, pins, selection, and the commands that check and update them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from strongroom import paths
from strongroom.cli.lock import app
from strongroom.errors import ConfigError
from strongroom.fetch import create, lockfile
from strongroom.fetch.hashing import sha256_file
from strongroom.fetch.http import Client
from strongroom.model.lock import Lock, LockEntry, version_key

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
            # A chart is for every architecture.
            assert entry.url is None or entry.arch in entry.url or entry.kind == "manifest", entry

    def test_urls_and_images_are_not_repeated(self) -> None:
        urls = [entry.url for entry in lockfile.load().artifacts if entry.url and entry.kind != "manifest"]
        assert len(urls) == len(set(urls))
        sums = [entry.sha256 for entry in lockfile.load().artifacts if entry.sha256 and entry.pinned]
        assert len(sums) == len(set(sums))

    def test_the_go_road_has_the_images_of_the_other_one(self) -> None:
        roads = lockfile.load(), lockfile.load_go()
        ours = {component.component for component in roads[1].components}
        assert {entry.component for entry in roads[0].artifacts} - ours == {
            "cilium-agent",
            "cilium-operator",
            "kata-go",
        }

    def test_only_the_kata_of_the_go_road_is_a_stand_in(self) -> None:
        assert [c.component for c in lockfile.load_go().components if c.stand_in] == ["kata"]
        assert not any(entry.stand_in for entry in lockfile.load().artifacts)


class TestRefusals:
    """Each is one line that names file, key and what was found."""

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (lock({**ENTRY, "colour": "red"}), ("artifacts.0.colour", "red")),
            (lock({**ENTRY, "sha256": "12"}), ("artifacts.0.sha256", "12")),
            (lock({**ENTRY, "arch": "s390x"}), ("artifacts.0.arch", "s390x")),
            (lock({**ENTRY, "url": "ftp://x"}), ("artifacts.0.url", "ftp://x")),
            (lock({**ENTRY, "prefix": "../x"}), ("artifacts.0.prefix", "../x")),
            (lock({**ENTRY, "size": 0}), ("artifacts.0.size", "0")),
            (lock({**ENTRY, "image": "a/b:1"}), ("runc 1.4.3", "no image")),
            (lock({**IMAGE, "digest": None}), ("pause 3.10", "a digest")),
            (lock({**IMAGE, "digest": SHA}), ("artifacts.0.digest", SHA[:20])),
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
        assert "lock update" in (caught.value.hint or "")
        with pytest.raises(ConfigError) as caught:
            create.selection(packaged, "amd64", {"kata": "3.32.0"}, "artifacts.lock")
        assert "kata 3.32.0" not in str(caught.value)


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
        after, failed = create.update(before, None, (), Recording())
        assert not failed
        assert after.artifacts[0] == before.artifacts[0]
        assert (after.artifacts[1].sha256, after.artifacts[1].size) == (SHA[::-1], 77)

    def test_it_can_be_told_what(self) -> None:
        loose = {**ENTRY, "sha256": "unpinned"}
        before = Lock.model_validate(lock(loose, {**loose, "arch": "arm64"}, runc="1.4.3"))
        after, _ = create.update(before, "arm64", (), Recording())
        assert [entry.pinned for entry in after.artifacts] == [False, True]
        after, _ = create.update(before, None, ("crictl",), Recording())
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


def test_check_lists_what_is_unpinned() -> None:
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 0, done.output
    unpinned = [line for line in done.output.splitlines() if line.startswith("unpinned: ")]
    assert len(unpinned) == len(lockfile.load().unpinned()) > 0


def test_an_entry_says_which_it_is() -> None:
    assert str(LockEntry.model_validate(ENTRY)) == "runc 1.4.3 amd64"
