"""The sample inventories are a user's first documentation: valid as they stand and with each line in use, and complete."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import pytest
from pydantic import BaseModel

from strongroom import paths
from strongroom.catalog.load import checks
from strongroom.inventory import ansible
from strongroom.model.cluster import Cluster, Host, HostSettings, Inventory, Runtime, validate
from strongroom.model.kata_settings import ShimSettings
from strongroom.model.kubernetes import Kubernetes
from strongroom.model.network import Network, Proxy
from strongroom.phases.choice import choose
from strongroom.phases.context import shims

TEXT = paths.data("inventories", "bare_metal.py").read_text(encoding="utf-8")
OFFERED = re.compile(r"^( *)# (?=\"\w[\w.-]*\": )", re.MULTILINE)
PLACES = [found.start() for found in OFFERED.finditer(TEXT)]


def inventory(text: str) -> Inventory:
    """What a text in the form of the sample says, by the same rules as pyinfra's for names and data."""
    names: dict[str, Any] = {}
    exec(compile(text, "sample", "exec"), names)
    everyone, shared = names["all"]
    data = {key: value for key, value in shared.items() if key != "cluster"}
    hosts = {
        name: ([group for group in ("control_plane", "workers") if (name, own) in names[group]], {**data, **own})
        for name, own in everyone
    }
    return validate(shared["cluster"], hosts)


def used(text: str, place: int) -> str:
    """The text with the offered line at a place in use."""
    return text[:place] + OFFERED.sub(r"\1", text[place:], count=1)


def test_the_sample_is_a_valid_inventory() -> None:
    ours = inventory(TEXT)
    assert [host.name for host in ours.hosts] == ["cp1", "w1", "w2"]
    assert [shim.name for shim in choose(ours, shims())] == ["qemu-coco-dev"]


@pytest.mark.parametrize("place", PLACES)
def test_each_line_that_is_offered_is_allowed(place: int) -> None:
    text = used(TEXT, place)
    assert text != TEXT
    choose(inventory(text), shims())


def test_all_lines_that_are_offered_are_allowed_together() -> None:
    ours = inventory(OFFERED.sub(r"\1", TEXT))
    choose(ours, shims())
    assert {host.platform for host in ours.role("workers")} == {"snp"}


def test_what_is_offered_as_a_default_is_the_default() -> None:
    before, after = inventory(TEXT).cluster, inventory(OFFERED.sub(r"\1", TEXT)).cluster
    assert before.kubernetes == after.kubernetes == Kubernetes()
    assert before.host.reboot_timeout_minutes == HostSettings().reboot_timeout_minutes
    assert after.host.inotify_instances == HostSettings().inotify_instances
    assert after.host.memlock == HostSettings().memlock


@pytest.mark.parametrize("model", [Cluster, Kubernetes, HostSettings, Runtime, ShimSettings, Network, Proxy, Host])
def test_every_key_that_there_is_is_shown(model: type[BaseModel]) -> None:
    given = {"name", "roles"} if model is Host else set()  # a host's name and groups stand elsewhere
    missing = [key for key in model.model_fields if key not in given and f'"{key}": ' not in TEXT]
    assert not missing


def test_what_is_waived_in_the_sample_is_a_check() -> None:
    for check in inventory(OFFERED.sub(r"\1", TEXT)).cluster.waive:
        assert checks().check(check).id == check


def test_the_ansible_sample_says_the_same() -> None:
    read = ansible.read(paths.data("inventories", "ansible", "hosts.yml"))
    theirs, ours = validate(read.cluster, read.hosts), inventory(TEXT)
    assert theirs.hosts == ours.hosts
    assert theirs.cluster == ours.cluster.model_copy(update={"runtime": theirs.cluster.runtime})
    assert theirs.cluster.runtime.shims == ours.cluster.runtime.shims
    assert not read.ignored
    assert all(data["_sudo"] is True for _, data in read.hosts.values())


def test_the_vagrant_sample_shares_no_address() -> None:
    from strongroom.inventory.vagrant import SETTINGS, settings

    machines = settings(paths.data("inventories", SETTINGS))
    hosts = {name: ([machine.group], {"address": machine.address}) for name, machine in machines.items()}
    names: dict[str, Any] = {}
    text = paths.data("inventories", "vagrant.py").read_text(encoding="utf-8")
    exec(text[text.index("cluster = ") : text.index("all = ")], names)
    assert set(chain(*(host.roles for host in validate(names["cluster"], hosts).hosts))) == {
        "control_plane",
        "workers",
    }
    choose(validate(names["cluster"], hosts), shims())
