"""The inventory's words: the ``cluster`` dict and the data of each host, validated before anything connects."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, ValidationError, field_validator

from strongroom.errors import ConfigError
from strongroom.model import existing
from strongroom.model.explain import explain, gathered, nearest
from strongroom.model.frozen import Frozen, PathText
from strongroom.model.kata_settings import ShimSettings
from strongroom.model.kubernetes import Kubernetes
from strongroom.model.network import Network
from strongroom.model.platform import Platform


def _pci_id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", value):
        raise ValueError("vendor:device in lower-case hex, as 10de:2331")
    return value


PciId = Annotated[str, AfterValidator(_pci_id)]


class Mode(StrEnum):
    """What is isolated: each pod, or each whole node."""

    CONTAINERS = "confidential-containers"
    CLUSTER = "confidential-cluster"


BUILT = (Mode.CONTAINERS,)
"""The modes that this version has phases for; no other is offered to somebody who misspelt one."""


class Runtime(Frozen):
    """The container runtime of every worker."""

    engine: Literal["containerd", "crio"] = Field(
        "containerd", description="what runs containers: containerd, or, in an existing cluster, CRI-O"
    )
    containerd: Literal["bundle", "distribution"] = Field(
        "bundle", description="where containerd comes from: 2.x of the bundle, or what the host's distribution has"
    )
    snapshotters: Literal["unchanged", "per-shim"] = Field(
        "unchanged", description="per-shim: a handler gets the snapshotter its shim is made for, nydus or devmapper"
    )
    shims: tuple[str, ...] = Field(
        ("qemu-coco-dev",),
        min_length=1,
        description="Kata shims, by name; each host gets those that its platform allows",
    )
    settings: dict[str, ShimSettings] = Field(
        default_factory=dict, description="settings of shims: name -> settings; the rest is as Kata's release has it"
    )
    nfd: StrictBool = Field(
        False,
        description="Node Feature Discovery runs: pods ask for TEE keys, and the rule that advertises them is applied",
    )


# No blank, quote or dollar: an option goes through shell files and command lines as it is.
KERNEL_OPTION = r"^[A-Za-z_][\w.-]*$"
_KERNEL_WORD = re.compile(r"[A-Za-z_][\w.-]*(=[\w.,:@/+-]+)?")


class HostSettings(Frozen):
    """How hosts are set up for their platform; what each platform itself wants is the catalogue's."""

    reboot: Literal["when-needed", "never"] = Field(
        "when-needed",
        description="whether strongroom reboots a host whose kernel has to read new options; never leaves it to you",
    )
    reboot_timeout_minutes: StrictInt = Field(
        30, ge=2, le=240, description="how long a host may take to come back; servers with much memory take their time"
    )
    kernel_options: tuple[str, ...] = Field(
        (), description="further options of the kernel's command line, on hosts with a platform; name or name=value"
    )
    hugepages: StrictInt = Field(
        0,
        ge=0,
        le=1 << 24,
        description="huge pages (of the kernel's own size, 2 MiB on x86) to keep for guests, 0 leaves them alone",
    )
    inotify_instances: StrictInt = Field(
        8192, ge=128, le=1 << 20, description="fs.inotify.max_user_instances; every guest's shim takes some"
    )
    memlock: Literal["unlimited", "unchanged"] = Field(
        "unlimited",
        description="memory that containerd's children may lock, on hosts with a platform: a confidential guest's is locked",
    )
    vfio_pci_ids: tuple[PciId, ...] = Field(
        (),
        description="devices to give to vfio-pci at boot (vendor:device, as lspci -nn says), on hosts with platform gpu",
    )

    @field_validator("kernel_options")
    @classmethod
    def _options(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not _KERNEL_WORD.fullmatch(word):
                raise ValueError(f"name or name=value, without blanks and quotes; {word!r} is not")
        names = [word.partition("=")[0].replace("-", "_") for word in value]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"each option once; {double!r} is there twice")
        return value


class Cluster(Frozen):
    """The ``cluster`` dict of an inventory."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", description="DNS label of up to 40 characters")
    mode: Mode = Field(Mode.CONTAINERS, description="what is isolated: each pod, or each node")
    claim: Literal["confidential", "none"] = Field(description="what the cluster is said to be; verify holds you to it")
    bundle: PathText | None = Field(None, description="folder of artifacts; --bundle overrides it")
    kubeconfig: PathText | None = Field(None, description="where the kubeconfig goes; never over an existing file")
    kubernetes: Kubernetes = Kubernetes()
    host: HostSettings = HostSettings()
    runtime: Runtime = Runtime()
    network: Network = Network()
    waive: dict[str, str] = Field(default_factory=dict, description="preflight checks to waive: id -> reason")

    @field_validator("mode", mode="before")
    @classmethod
    def _is_built(cls, value: Any) -> Any:
        names = [mode.value for mode in BUILT]
        if value not in names:
            raise ValueError(f"{', '.join(map(repr, names))} in this version")
        return value


class Host(Frozen):
    """What strongroom needs to know of one host, beside how to reach it."""

    name: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$",
        description="small letters, digits, - and ., as Kubernetes has them for nodes, up to 63 of them",
    )
    address: str = Field(description="IPv4 address on the network between the hosts")
    platform: Platform = Field(Platform.NONE, description="the TEE this host must have")
    pod_subnet: str | None = Field(None, description="its /24 of the pod network; from the address's last octet")
    api_address: str | None = Field(
        None, pattern=r"^\S+:[0-9]{1,5}$", description="host:port of its API server as the controller reaches it"
    )
    roles: frozenset[str] = frozenset()

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError as error:
            raise ValueError("an IPv4 address such as 10.0.0.21, not a name") from error

    @field_validator("pod_subnet")
    @classmethod
    def _subnet(cls, value: str | None) -> str | None:
        try:
            network = ipaddress.IPv4Network(value) if value else None
        except ValueError:
            network = None
        if value is not None and (network is None or network.prefixlen != 24):
            raise ValueError("an IPv4 network such as 10.244.21.0/24")
        return value

    def api(self) -> str:
        """``host:port`` of the API server on this host, as the controller reaches it."""
        return self.api_address or f"{self.address}:6443"


ROLES = ("control_plane", "workers")
HOST_KEYS = ("address", "platform", "pod_subnet", "api_address")
#: pyinfra's key for what to do with a host key that is not pinned; its own default is to accept it.
STRICT = "ssh_strict_host_key_checking"
_FOREIGN = re.compile(r"^(ssh_|docker_|podman_|_|fake_|local_)|^cluster$")


class Inventory(Frozen):
    """A whole, valid inventory: the cluster and its hosts, in the order of their names."""

    cluster: Cluster
    hosts: tuple[Host, ...]

    def role(self, role: str) -> tuple[Host, ...]:
        """Hosts with a role, sorted by name."""
        return tuple(host for host in self.hosts if role in host.roles)

    @property
    def leader(self) -> Host:
        """The control plane host that starts the cluster: the first by name."""
        return self.role("control_plane")[0]

    @property
    def runtime_hosts(self) -> tuple[Host, ...]:
        """Hosts that carry the runtime and its pods: the workers, or the control plane where there are none."""
        return self.role("workers") or self.role("control_plane")

    def host(self, name: str) -> Host:
        """The host of that name."""
        return next(host for host in self.hosts if host.name == name)

    def pod_subnet(self, host: Host) -> str:
        """The /24 of the pod network that a host's pods use."""
        if host.pod_subnet:
            return host.pod_subnet
        network = ipaddress.IPv4Network(self.cluster.kubernetes.pod_cidr)
        return f"{network.network_address + 256 * int(host.address.rsplit('.', 1)[1])}/24"


def _host_problems(inventory: Inventory) -> list[str]:
    if not inventory.cluster.kubernetes.of.installed_by_us:
        return existing.problems(inventory)
    problems = []
    if (engine := inventory.cluster.runtime.engine) != "containerd":
        problems.append(
            f"cluster: runtime.engine: found {engine!r}, allowed with kubernetes.distribution 'kubeadm' is 'containerd':"
            " the runtime that strongroom installs"
        )
    planes = inventory.role("control_plane")
    if len(planes) != 1:
        names = ", ".join(host.name for host in planes) or "none"
        problems.append(
            f"group control_plane: found {len(planes)} hosts ({names}), allowed is one in this version"
            " (two would lose quorum with either of them)"
        )
    routed = inventory.cluster.kubernetes.cni == "ptp"
    problems += [
        f"host {host.name}: pod_subnet: found {host.pod_subnet!r}, allowed with kubernetes.cni 'ptp' only; else the"
        " controller manager picks it"
        for host in inventory.hosts
        if host.pod_subnet and not routed
    ]
    addresses: dict[str, str] = {}
    subnets: dict[str, str] = {}
    for host in inventory.hosts:
        if host.address in addresses:
            problems.append(
                f"host {host.name}: address: {host.address} is {addresses[host.address]}'s as well; give each its own"
            )
        elif routed and (subnet := inventory.pod_subnet(host)) in subnets:
            problems.append(
                f"host {host.name}: pod_subnet: {subnet} is {subnets[subnet]}'s as well; set pod_subnet on one of them"
            )
        addresses.setdefault(host.address, host.name)
        subnets.setdefault(inventory.pod_subnet(host), host.name)
    pods = ipaddress.IPv4Network(inventory.cluster.kubernetes.pod_cidr)
    services = ipaddress.IPv4Network(inventory.cluster.kubernetes.service_cidr)
    problems += [
        f"host {host.name}: pod_subnet: found {host.pod_subnet!r}, allowed is a part of kubernetes.pod_cidr {pods}"
        for host in inventory.hosts
        if host.pod_subnet and not ipaddress.IPv4Network(host.pod_subnet).subnet_of(pods)
    ]
    problems += [
        f"host {host.name}: pod_subnet: {inventory.pod_subnet(host)}, made of the address, is not in kubernetes.pod_cidr"
        f" {pods}; set pod_subnet, or take a /16"
        for host in inventory.hosts
        if routed and not host.pod_subnet and int(host.address.rsplit(".", 1)[1]) >= pods.num_addresses // 256
    ]
    # kubeadm wants ten addresses at least (kubeadm, constants.MinimumAddressesInServiceSubnet).
    if services.num_addresses < 16:
        problems.append(f"cluster: kubernetes.service_cidr: found {services}, allowed is a /28 or larger")
    if pods.overlaps(services):
        problems.append(f"cluster: kubernetes.service_cidr: {services} overlaps pod_cidr {pods}; take another range")
    for host in inventory.hosts:
        for network, key in ((pods, "pod_cidr"), (services, "service_cidr")):
            if ipaddress.IPv4Address(host.address) in network:
                problems.append(f"host {host.name}: address: {host.address} lies in kubernetes.{key} {network}")
    return problems


def _data_problems(data: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the data of a host, apart from the values of our own keys."""
    for key in data:
        if key not in HOST_KEYS and not _FOREIGN.match(key):
            yield (f"{key}: unknown key; allowed are {', '.join(HOST_KEYS)} and pyinfra's own{nearest(key, HOST_KEYS)}")
    if (found := data.get(STRICT, "yes")) != "yes":
        yield f"{STRICT}: found {found!r}, allowed is 'yes': host keys are pinned, in ssh_known_hosts_file"
    if "_sudo_password" in data:
        yield "_sudo_password: not allowed: it would stand on the host's command line; allow sudo without a password"


def _nearest_role(groups: Sequence[str]) -> str:
    own = sorted(name for name in groups if name not in ("all", "ungrouped"))
    near = next((text for name in own if (text := nearest(name.replace("-", "_"), ROLES))), "")
    return f"; found {', '.join(own) or 'no group'}{near}"


def validate(
    cluster: Any,
    hosts: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]],
    further: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _: (),
) -> Inventory:
    """Check a whole inventory.

    Args:
        cluster: the ``cluster`` dict as the inventory has it.
        hosts: name -> (groups, data), as pyinfra merged them.
        further: what is wrong with those keys of a host's data that are not strongroom's.

    Raises:
        ConfigError: one line for every problem found, not only for the first.
    """
    problems: list[str] = []
    of_hosts: list[tuple[str, str]] = []
    parsed: Cluster | None = None
    if not isinstance(cluster, dict):
        raise ConfigError(
            f"cluster: found {type(cluster).__name__}, allowed is a dict in the data of group all",
            hint="strongroom init writes a commented sample",
        )
    try:
        parsed = Cluster.model_validate(cluster)
    except ValidationError as error:
        problems += explain("cluster", Cluster, error)
    valid = []
    for name, (groups, data) in sorted(hosts.items()):
        of_hosts += [(name, problem) for problem in (*_data_problems(data), *further(data))]
        roles = frozenset(groups) & frozenset(ROLES)
        if not roles:
            of_hosts.append((name, f"in none of the groups {', '.join(ROLES)}{_nearest_role(groups)}"))
        fields = {key: data[key] for key in HOST_KEYS if key in data}
        try:
            valid.append(Host(name=name, roles=roles, **fields))
        except ValidationError as error:
            of_hosts += [(name, problem) for problem in explain("", Host, error)]
    problems += gathered(of_hosts)
    if parsed is not None and len(valid) == len(hosts):
        inventory = Inventory(cluster=parsed, hosts=tuple(valid))
        problems += _host_problems(inventory)
        if not problems:
            return inventory
    raise ConfigError(*(problems or ["inventory: no hosts"]))
