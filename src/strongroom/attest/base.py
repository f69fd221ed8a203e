"""What a verifier says: Refused, or facts that are Authentic, or facts that are Verified; and who may say it.

There is nothing between Verified and Refused. :class:`Authentic` is a type of its own, not a weaker Verified: the gate
takes none, and no function turns one that was made without a policy into a Verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from strongroom.attest.marks import Mark
from strongroom.errors import AttestationRefused
from strongroom.model.platform import Platform

if TYPE_CHECKING:
    from strongroom.attest.policy import Policy

_TOKEN: Final = object()
_SHOWN = 4  # allowed values that a reason names before it counts the rest
_LONGEST_REASON = 1000  # characters; evidence may hold names as long as its maker likes


class Refused(AttestationRefused):
    """Evidence, collateral or policy do not hold together; nothing may be concluded from the evidence.

    Attributes:
        reason: one sentence with the value found and what is allowed.
        field: dotted name of what refused, for instance ``report.policy.debug``.
    """

    def __init__(self, reason: str, field: str, *, hint: str | None = None) -> None:
        self.reason = printable(reason)[:_LONGEST_REASON]
        self.field = printable(field)
        super().__init__(f"{self.field}: {self.reason}", hint=hint)


def printable(text: str) -> str:
    """The text with whatever would steer a terminal or a log escaped; evidence is a stranger's."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def refuse(field: str, reason: str, *, hint: str | None = None) -> NoReturn:
    """Raise :class:`Refused`."""
    raise Refused(reason, field, hint=hint)


def require(condition: bool, field: str, reason: str) -> None:
    """Raise :class:`Refused` unless the condition holds."""
    if not condition:
        raise Refused(reason, field)


@dataclass(frozen=True)
class Facts:
    """What signed evidence says, decoded.

    Attributes:
        kind: the kind of evidence, as the registry and ``--kind`` name it.
        platform: what isolates the one who made the evidence.
        report_data: the bytes that the one who asked chose: report data of SEV-SNP and TDX, a TPM quote's qualifying
            data, the nonce of a GPU, a realm's challenge. Azure: what the TPM quote covers, not the hash of the HCL's
            runtime data, which its verifier compares itself.
        measurements: by name, raw digests.
        must_compare: names out of ``measurements`` that no policy may pass over in silence.
        identity: chip id, EK or device id, raw; empty where the evidence names no device.
        aliases: other spellings of the same identity that a policy may use.
        fields: all else, for people and JSON: nested mappings, sequences, numbers, text and bytes.
        notes: what a reader should know, and what policy permitted that the default refuses.
        detail: the parsed evidence, for the kind's own section of the policy.
        marks: numbers of the collateral that this rests on, for whoever sees to it that none goes back.
        members: identities of the devices that evidence of several speaks for; one that is denied denies them all.
    """

    kind: str
    platform: Platform
    report_data: bytes
    measurements: Mapping[str, bytes]
    identity: bytes = b""
    fields: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    must_compare: tuple[str, ...] = ()
    aliases: tuple[bytes, ...] = ()
    detail: Any = field(default=None, compare=False, repr=False)
    marks: tuple[Mark, ...] = ()
    members: tuple[bytes, ...] = ()


class _Sealed:
    """Made with the private token alone, immutable, and neither copied, pickled nor inherited from."""

    __slots__ = ("facts", "policy_digest")
    facts: Facts
    policy_digest: str | None

    def __new__(cls, facts: Facts, policy_digest: str | None, *, token: object = None) -> Self:
        if token is not _TOKEN:
            raise TypeError(f"{cls.__name__} is made by strongroom.attest.base alone")
        self = super().__new__(cls)
        object.__setattr__(self, "facts", facts)
        object.__setattr__(self, "policy_digest", policy_digest)
        return self

    def __init_subclass__(cls, *, base: bool = False) -> None:
        if not base:
            raise TypeError("no class is derived from a verdict")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is neither copied nor pickled")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.facts.kind}, {self.facts.identity.hex()[:16]})"


class Authentic(_Sealed, base=True):
    """Chain, signature, dates, collateral, TCB status and production hold; nothing was compared with an expectation.

    ``policy_digest`` is that of the policy whose allowances were in force (what may be debug, how stale collateral may
    be), or None where there was none.
    """

    __slots__ = ()


class Verified(_Sealed, base=True):
    """All that :class:`Authentic` says, and everything that the policy of ``policy_digest`` asks."""

    __slots__ = ()
    policy_digest: str


def authentic(facts: Facts, policy: Policy | None) -> Authentic:
    """Said by a kind's verifier, at its end, of evidence that it authenticated under that policy's allowances."""
    return Authentic(facts, policy.digest if policy else None, token=_TOKEN)


def appraise(said: Authentic, policy: Policy) -> Verified:
    """Compare facts with what the policy expects.

    Args:
        said: what the kind's verifier made under this same policy.
        policy: the expectations; what it is silent about and does not list in ``not_compared`` refuses.

    Raises:
        Refused: something is not what the policy asks, or the policy says nothing of what it has to speak of.
    """
    facts = said.facts
    require(
        said.policy_digest == policy.digest,
        "policy",
        "the evidence was authenticated without a policy or under another one; verify it under this one",
    )
    _measurements(facts, policy)
    _identity(facts, policy)
    _report_data(facts, policy)
    policy.section(facts.kind).appraise(facts, policy)
    return Verified(facts, policy.digest, token=_TOKEN)


def one_of(found: bytes, allowed: tuple[bytes, ...], field: str, *, what: str = "") -> None:
    """Refuse a value that is not among the allowed ones, naming both."""
    if found not in allowed:
        refuse(field, f"{what or field.rpartition('.')[2]} is {found.hex() or 'empty'}, allowed is {listed(allowed)}")


def listed(allowed: tuple[bytes, ...]) -> str:
    """Allowed values in a sentence: the first few, then how many more."""
    shown = " or ".join(value.hex() or "empty" for value in allowed[:_SHOWN])
    rest = len(allowed) - _SHOWN
    return f"{shown or 'none'} (and {rest} more)" if rest > 0 else shown or "none"


def _measurements(facts: Facts, policy: Policy) -> None:
    for name, allowed in policy.measurements.items():
        if name in facts.measurements:
            one_of(facts.measurements[name], allowed, f"measurements.{name}")
        elif policy.measures(facts.kind, name):
            names = ", ".join(facts.measurements) or "none"
            refuse(f"measurements.{name}", f"the evidence has no measurement of this name, it has {names}")
    for name in facts.must_compare:
        if name not in policy.measurements and not policy.passes_over(name, "measurements"):
            refuse(
                f"policy.measurements.{name}",
                f"the policy says nothing of {name}, which is {facts.measurements[name].hex()};"
                " name what is allowed, or list it under not_compared",
            )


def _identity(facts: Facts, policy: Policy) -> None:
    names = (facts.identity, *facts.aliases) if facts.identity else ()
    if denied := [name for name in (*names, *facts.members) if name in policy.denied_identities]:
        refuse("identity", f"{denied[0].hex()} is among the policy's denied_identities")
    if policy.denied_identities and not names:
        refuse("identity", "the evidence names no device, so nobody knows that it is none of denied_identities")
    if policy.identities:
        together = facts.members and all(name in policy.identities for name in facts.members)
        if not together and not any(name in policy.identities for name in names):
            one_of(facts.identity, policy.identities, "identity")
    elif not policy.passes_over("identities"):
        refuse(
            "policy.identities",
            f"the policy names no device, and the evidence is of {facts.identity.hex() or 'a nameless one'};"
            " name those allowed, or list identities under not_compared",
        )


def _report_data(facts: Facts, policy: Policy) -> None:
    expected = policy.expected_report_data
    if expected is not None:
        one_of(facts.report_data, (expected,), "report_data", what="what the evidence was asked to cover")
    elif not policy.passes_over("report_data"):
        refuse(
            "policy.report_data",
            "the policy does not say what the evidence was asked to cover;"
            " name it (report_data or nonce), or list report_data under not_compared",
        )


def plain(value: object) -> Any:
    """The value in JSON's types: bytes as lower-case hex, times in ISO 8601, enumerations by their value.

    Raises:
        TypeError: a type that facts may not hold.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping | MappingProxyType):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [plain(inner) for inner in value]
    raise TypeError(f"facts hold no {type(value).__name__}")
