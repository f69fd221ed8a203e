"""What an inventory may say, and the line that names what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.errors import ConfigError
from strongroom.model.cluster import validate
from strongroom.model.verdict import Verdict

CLUSTER: dict[str, Any] = {"name": "lab", "claim": "none"}
HOSTS: dict[str, Any] = {
    "cp1": (["control_plane"], {"address": "10.0.0.1", "ssh_user": "root"}),
    "w1": (["workers"], {"address": "10.0.0.2", "_sudo": True}),
}


def test_a_good_inventory_knows_its_roles() -> None:
    inventory = validate(CLUSTER, HOSTS)
    assert inventory.leader.name == "cp1"
    assert [host.name for host in inventory.runtime_hosts] == ["w1"]
    assert inventory.pod_subnet(inventory.host("w1")) == "10.244.2.0/24"
    assert inventory.leader.api() == "10.0.0.1:6443"


@pytest.mark.parametrize(
    ("cluster", "hosts", "words"),
    [
        ({"nmae": "x"}, {}, ["cluster: nmae: unknown key", "did you mean 'name'"]),
        ({"kubernetes": {"cnni": "ptp"}}, {}, ["kubernetes.cnni: unknown key", "did you mean 'cni'"]),
        ({"claim": "confidental"}, {}, ["claim: found 'confidental'", "did you mean 'confidential'"]),
        ({"mode": "confidential-container"}, {}, ["mode: found 'confidential-container'", "'confidential-containers'"]),
        *[
            # Whom one was offered would be refused it next.
            ({"mode": mode}, {}, [f"mode: found {mode!r}, allowed is 'confidential-containers' in this version"])
            for mode in ("confidential-vms", "confidential-cluster", 5)
        ],
        *[
            ({key: "a\0b"}, {}, [f"{key}: found 'a\\x00b', allowed is a path, which has no null byte in it"])
            for key in ("bundle", "kubeconfig")
        ],
        ({"network": {"ca_file": "\0"}}, {}, ["network.ca_file: found '\\x00', allowed is a path"]),
        (
            {"network": {"proxy": {"http": "file:\0"}}},
            {},
            ["network.proxy.http: found 'file:\\x00', allowed is env:NAME"],
        ),
        ({"kubernetes": {"pod_cidr": "10.0.0.0/8"}}, {}, ["10.0.0.1 lies in kubernetes.pod_cidr"]),
        ({"kubernetes": {"cni": "cillium"}}, {}, ["kubernetes.cni: found 'cillium'", "did you mean 'cilium'"]),
        (
            {"kubernetes": {"cni": "cilium"}},
            {"w1": (["workers"], {"address": "10.0.0.2", "pod_subnet": "10.244.9.0/24"})},
            ["host w1: pod_subnet: found '10.244.9.0/24', allowed with kubernetes.cni 'ptp' only"],
        ),
        ({"kubernetes": {"service_cidr": "10.244.0.0/16"}}, {}, ["overlaps pod_cidr"]),
        ({"kubernetes": {"service_cidr": "10.96.0.0/29"}}, {}, ["service_cidr: found 10.96.0.0/29, allowed is a /28"]),
        (
            {"kubernetes": {"pod_cidr": "10.244.0.0/28"}},
            {},
            ["host cp1: pod_subnet: 10.244.1.0/24, made of the address, is not in kubernetes.pod_cidr 10.244.0.0/28"],
        ),
        ({"kubernetes": {"pod_cidr": "10.244.0.128/25"}}, {}, ["is not in kubernetes.pod_cidr 10.244.0.128/25"]),
        ({"kubernetes": {"dns": "no"}}, {}, ["kubernetes.dns: found 'no', allowed is true or false"]),
        ({"host": {"hugepages": "8"}}, {}, ["host.hugepages: found '8', allowed is a whole number"]),
        ({"host": {"hugepages": True}}, {}, ["host.hugepages: found True, allowed is a whole number"]),
        ({"runtime": {"shims": "qemu"}}, {}, ["runtime.shims: found 'qemu', allowed is a list"]),
        ({"runtime": {"shims": []}}, {}, ["runtime.shims: found [], allowed is a list of 1 or more"]),
        *[
            (
                {"runtime": {"settings": {"qemu": {"kernel_params": [word]}}}},
                {},
                [f"kernel_params.0: found {word!r}, allowed is one word of printable ASCII, without blanks"],
            )
            for word in ("a b", "", 'a"b')
        ],
        (
            {"runtime": {"settings": {"qemu": {"kernel_params": ["x" * 257]}}}},
            {},
            ["kernel_params.0: found 'xxx", "xxx', allowed is text of up to 256 characters"],
        ),
        ({"network": {"ca_file": ""}}, {}, ["network.ca_file: found '', allowed is text of 1 or more characters"]),
        (
            {"network": {"mirrors": {"Docker IO": []}}},
            {},
            ["found 'Docker IO', allowed is a registry, HOST or HOST:PORT"],
        ),
        ({"runtime": "kata"}, {}, ["runtime: found 'kata', allowed is a table of keys"]),
        ({"name": "Not A Label"}, {}, ["cluster: name: found 'Not A Label'"]),
        ({}, {"w1": (["workers"], {"address": "10.0.0.1"})}, ["host w1: address: 10.0.0.1 is cp1's as well"]),
        ({}, {"w1": (["workers"], {"address": "10.0.1.1"})}, ["host w1: pod_subnet: 10.244.1.0/24 is cp1's as well"]),
        ({}, {"w1": (["workers"], {"address": "w1.example"})}, ["host w1: address: found 'w1.example'"]),
        (
            {},
            {"w1": (["workers"], {"address": "10.0.0.2", "platfrom": "snp"})},
            ["platfrom: unknown key", "'platform'"],
        ),
        (
            {},
            {"w1": (["workers"], {"address": "10.0.0.2", "platform": "snpp"})},
            ["platform: found 'snpp'", "mean 'snp'"],
        ),
        ({}, {"w1": (["wokers"], {"address": "10.0.0.2"})}, ["in none of the groups", "did you mean 'workers'"]),
        (
            {},
            {"w1": ([], {"address": "10.0.0.2"})},
            ["host w1: in none of the groups control_plane, workers; found no"],
        ),
        ({}, {"w1": (["workers"], {})}, ["host w1: address: missing; it says IPv4 address on the network between"]),
        *[
            (
                {},
                {"w1": (["workers"], {"address": "10.0.0.2", "platform": written})},
                [f"platform: found '{written}'", f"did you mean '{meant}'?"],
            )
            for written, meant in [("SEV-SNP", "snp"), ("amd_snp", "snp"), ("SEV_ES", "sev"), ("Intel TDX", "tdx")]
        ],
        (
            {},
            {"w1": (["workers"], {"address": "10.0.0.2", "ssh_strict_host_key_checking": "no"})},
            ["host w1: ssh_strict_host_key_checking: found 'no', allowed is 'yes': host keys are pinned"],
        ),
        (
            {},
            {"w1": (["workers"], {"address": "10.0.0.2", "_sudo_password": "x"})},
            ["w1: _sudo_password: not allowed"],
        ),
        *[
            (
                {},
                {"w1": (["workers"], {"address": "10.0.0.2", "pod_subnet": subnet})},
                [f"pod_subnet: found '{subnet}'"],
            )
            for subnet in ("10.244.300.0/24", "10.244.9.0/25", "10.99.9.0/24", "w1")
        ],
        (
            {},
            {"w1": (["workers"], {"address": "10.0.0.2", "api_address": "w1.example"})},
            ["api_address: found 'w1.example', allowed is host:port of its API server"],
        ),
        (
            {},
            {"W_1": (["workers"], {"address": "10.0.0.3"})},
            ["W_1: name: found 'W_1', allowed is small letters, digits"],
        ),
        (
            {"kubernetes": {"pod_cidr": "10.244.0.1/16"}},
            {},
            ["pod_cidr: found '10.244.0.1/16', allowed is an IPv4 network"],
        ),
        ({}, {"w1": (["control_plane"], {"address": "10.0.0.2"})}, ["control_plane: found 2 hosts (cp1, w1)"]),
        ({}, {"cp1": (["workers"], {"address": "10.0.0.9"})}, ["control_plane: found 0 hosts"]),
    ],
)
def test_each_mistake_is_one_line_that_names_it(
    cluster: dict[str, Any], hosts: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        validate({**CLUSTER, **cluster}, {**HOSTS, **hosts})
    for word in words:
        assert word in str(caught.value)


def test_a_mistake_that_many_hosts_have_is_one_line() -> None:
    rack = {
        f"w{number:02}": (["workers"], {"address": f"10.0.0.{number}", "platform": "snpp"}) for number in range(2, 32)
    }
    with pytest.raises(ConfigError) as caught:
        validate(CLUSTER, {"cp1": HOSTS["cp1"], **rack})
    (line,) = str(caught.value).splitlines()
    assert line.startswith("hosts w02, w03, w04 and 27 more: platform: found 'snpp', allowed is ")


def test_with_cilium_the_inventory_gives_no_host_a_pod_subnet() -> None:
    hosts = {**HOSTS, "w1": (["workers"], {"address": "10.0.1.1"})}  # with ptp this would be cp1's subnet as well
    assert validate({**CLUSTER, "kubernetes": {"cni": "cilium"}}, hosts).cluster.kubernetes.cni == "cilium"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        validate({**CLUSTER, "x": 1, "claim": "maybe"}, {**HOSTS, "w1": (["workers"], {})})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("cluster", [None, [], "lab"])
def test_a_cluster_that_is_no_dict(cluster: Any) -> None:
    with pytest.raises(ConfigError, match="allowed is a dict"):
        validate(cluster, HOSTS)


@pytest.mark.parametrize("stand_ins", [True, False])
def test_without_evidence_nothing_is_confidential(stand_ins: bool) -> None:
    verdict = Verdict.without_evidence(stand_ins)
    assert str(verdict).startswith("NOT CONFIDENTIAL")
    assert verdict.equals("none")
    assert not verdict.equals("confidential")


def test_one_cause_is_one_line() -> None:
    twice = {"w1": (["workers"], {"address": "10.0.0.7"}), "w2": (["workers"], {"address": "10.0.0.7"})}
    with pytest.raises(ConfigError) as caught:
        validate(CLUSTER, {"cp1": HOSTS["cp1"], **twice})
    assert str(caught.value) == "host w2: address: 10.0.0.7 is w1's as well; give each its own"
