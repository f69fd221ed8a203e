"""What an inventory may say of one Kata shim: the few things worth setting, each typed, all others as the release has them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, model_validator

from strongroom.model.bundle import Frozen

# One word of a kernel's command line, or of an annotation's pattern: it goes into TOML strings that Kata splits at blanks.
# Printable ASCII alone: of a control character, or of one beyond 16 bits, no TOML comes that Kata reads.
_WORD = re.compile(r"[!#-\[\]-~]+")


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("one word of printable ASCII, without blanks, double quotes and backslashes")
    return value


Word = Annotated[str, Field(max_length=256), AfterValidator(_word)]


class ShimSettings(Frozen):
    """Settings of one shim; what is not set stays as Kata's release ships it.

    ``kernel_params``, ``kbs`` and ``memory_mib`` are part of what a confidential guest's launch measurement, or its policy,
    is made of: a change of them is a change of reference values.
    """

    memory_mib: StrictInt | None = Field(None, ge=256, le=4 << 20, description="MiB of memory that a guest starts with")
    vcpus: StrictInt | None = Field(None, ge=1, le=1024, description="virtual CPUs that a guest starts with")
    kernel_params: tuple[Word, ...] = Field((), description="added to the guest kernel's command line, a word each")
    image_pull: Literal["guest", "host"] | None = Field(
        None, description="where images are pulled: inside the guest, or by containerd on the host"
    )
    kbs: str | None = Field(
        None,
        pattern=r"^https?://[!#-\[\]-~]+$",
        description="URL of Trustee's key broker, as the guest reaches it",
    )
    annotations: tuple[Word, ...] | None = Field(
        None, description="pod annotations that may change the guest: patterns of their names behind the last dot"
    )
    runtime_debug: StrictBool | None = Field(
        None,
        description="the shim's own debug log on the host; the guest stays as it is (else take the variant NAME-debug)",
    )
    create_timeout_seconds: StrictInt | None = Field(
        None, ge=1, le=7200, description="how long a container may take to be created, image pull in the guest included"
    )

    @model_validator(mode="after")
    def _one_kbs(self) -> ShimSettings:
        if any(word.startswith("agent.aa_kbc_params=") for word in self.kernel_params):
            raise ValueError("kernel_params: agent.aa_kbc_params is what kbs sets; set that")
        return self

    @property
    def added_params(self) -> tuple[str, ...]:
        """Words for the guest kernel's command line."""
        # guest-components: the attestation agent's and the confidential data hub's way to Trustee (kata agent, README).
        return (*self.kernel_params, *([f"agent.aa_kbc_params=cc_kbc::{self.kbs}"] if self.kbs else []))
