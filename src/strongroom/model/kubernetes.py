"""The inventory's words on Kubernetes itself: how it is set up, or whose cluster it is."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, StrictBool, StrictInt, field_validator

from strongroom.model.distribution import Distribution, distributions
from strongroom.model.explain import nearest
from strongroom.model.frozen import Frozen


class Kubernetes(Frozen):
    """How the control plane is set up; the version is the bundle's."""

    distribution: str = Field(
        "kubeadm",
        description="kubeadm: strongroom sets Kubernetes up; else whose cluster it is that gets Kata alone: k3s, rke2, k0s, existing",
    )
    pod_cidr: str = Field("10.244.0.0/16", description="addresses of pods, a /16; every host takes one /24 of it")
    service_cidr: str = Field("10.96.0.0/16", description="virtual addresses of services")
    cni: Literal["ptp", "cilium"] = Field("ptp", description="pod network: plain routes between hosts, or Cilium")
    dns: StrictBool = Field(True, description="CoreDNS, where the bundle has it")
    key_algorithm: Literal["ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096"] = Field(
        "ECDSA-P256",
        description="keys of the cluster's certificates (kubeadm's encryptionAlgorithm), made once at its start",
    )
    timeout_minutes: StrictInt = Field(5, ge=1, le=60, description="how long kubeadm waits for each thing it starts")
    etcd_heartbeat_ms: StrictInt = Field(
        100, ge=50, le=2000, description="etcd heartbeat; elections take ten times as long"
    )
    lease_seconds: StrictInt = Field(
        15, ge=15, le=300, description="leader election lease of controllers and scheduler"
    )

    @field_validator("distribution")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in distributions():
            raise ValueError(f"{', '.join(distributions())}{nearest(value, tuple(distributions()))}")
        return value

    @property
    def of(self) -> Distribution:
        """What the distribution's nodes look like."""
        return distributions()[self.distribution]

    @field_validator("pod_cidr", "service_cidr")
    @classmethod
    def _network(cls, value: str) -> str:
        try:
            return str(ipaddress.IPv4Network(value))
        except ValueError as error:
            raise ValueError("an IPv4 network such as 10.244.0.0/16, with no bits behind its prefix") from error
