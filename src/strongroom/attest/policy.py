"""The appraisal policy: what evidence has to say, as data. What it does not speak of refuses.

A policy has common keys and one optional section for each kind of evidence; a kind's module defines its section.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import cache, cached_property
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import yaml
from pydantic import BeforeValidator, Field, PlainSerializer, StrictInt, ValidationError, create_model, model_validator

from strongroom.attest import registry
from strongroom.attest.base import Facts
from strongroom.errors import ConfigError
from strongroom.model.explain import explain
from strongroom.model.frozen import Frozen

_MOST_GRACE_HOURS = 30 * 24  # as long as Intel's collateral lives; more would be no expiry at all


def unhex(value: object) -> bytes:
    """Bytes from hex digits; none at all is a template that nobody filled in, and would match what evidence leaves out.

    Raises:
        ValueError: it is not text, not hex, or empty.
    """
    if not isinstance(value, bytes | str):
        raise ValueError("text of hex digits, in quotes")
    try:
        found = value if isinstance(value, bytes) else bytes.fromhex(value.strip().removeprefix("0x"))
    except ValueError:
        raise ValueError("an even number of hex digits") from None
    if not found:
        raise ValueError("hex digits; an empty value allows nothing")
    return found


Hex: TypeAlias = Annotated[bytes, BeforeValidator(unhex), PlainSerializer(lambda value: value.hex(), return_type=str)]
Values: TypeAlias = Annotated[tuple[Hex, ...], Field(min_length=1)]


class Section(Frozen):
    """A kind's own keys; every default is the strict one. A kind derives its section from this."""

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """Refuse facts that are not what this section asks; called after the common keys were compared.

        Raises:
            Refused: something is not what the section asks.
        """


S = TypeVar("S", bound=Section)


class Policy(Frozen):
    """What is expected of evidence, and what may be passed over."""

    measurements: dict[str, Values] = Field(default_factory=dict, description="allowed digests by measurement")
    identities: tuple[Hex, ...] = Field((), description="devices that may speak: chip ids, EK digests, device ids")
    denied_identities: tuple[Hex, ...] = Field((), description="devices that may not, whatever else holds")
    report_data: Hex | None = Field(None, description="what the evidence was asked to cover, exactly")
    nonce: Hex | None = Field(None, description="another name of report_data, for kinds that call it so")
    collateral_grace_hours: StrictInt = Field(
        0, ge=0, le=_MOST_GRACE_HOURS, description="how long collateral may be used beyond its date"
    )
    not_compared: tuple[str, ...] = Field(
        (), description="what this policy passes over on purpose: measurements by name, identities, report_data"
    )

    @model_validator(mode="after")
    def _one_name(self) -> Policy:
        if self.nonce is not None and self.report_data is not None:
            raise ValueError("report_data or nonce, not both: they are one thing")
        return self

    @property
    def expected_report_data(self) -> bytes | None:
        """What the evidence was asked to cover, by either name."""
        return self.report_data if self.report_data is not None else self.nonce

    @property
    def grace(self) -> timedelta:
        """How long collateral may be used beyond its date."""
        return timedelta(hours=self.collateral_grace_hours)

    def passes_over(self, *names: str) -> bool:
        """Whether one of these names is listed under ``not_compared``."""
        return any(name in self.not_compared for name in names)

    def measures(self, kind: str, name: str) -> bool:
        """Whether a measurement of that name is this kind's business; a name that no kind knows is everybody's."""
        mine = registry.find(kind)
        return mine.measures(name) or not any(other.measures(name) for other in registry.kinds().values())

    def section(self, kind: str) -> Section:
        """The section of a kind; strict defaults where the policy has none."""
        section = getattr(self, _attribute(kind), None)
        return section if isinstance(section, Section) else registry.find(kind).section()

    def section_as(self, kind: str, model: type[S]) -> S:
        """The section of a kind, by its type; TypeError where it is of another."""
        section = self.section(kind)
        if not isinstance(section, model):
            raise TypeError(f"the section of {kind} is a {type(section).__name__}")
        return section

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the policy's values in canonical JSON, in hex; a comment or an order changes nothing."""
        values = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(values.encode()).hexdigest()

    def expecting(self, report_data: bytes) -> Policy:
        """This policy, with what the evidence was asked to cover this time."""
        return type(self).model_validate({**self.model_dump(by_alias=True), "report_data": report_data, "nonce": None})


def _attribute(kind: str) -> str:
    return f"kind_{kind.replace('-', '_')}"


def model() -> type[Policy]:
    """The model of a policy with the sections of all kinds."""
    return _model(tuple(registry.kinds()), by_alias=True)


@cache
def _model(names: tuple[str, ...], *, by_alias: bool) -> type[Policy]:
    sections: dict[str, Any] = {}
    for name in names:
        section = registry.find(name).section
        if by_alias:
            sections[_attribute(name)] = (section, Field(default_factory=section, alias=name))
        else:
            sections[name] = (section, Field(default_factory=section))
    return create_model("Policy", __base__=Policy, **sections)


def make(values: Mapping[str, object], where: str = "policy") -> Policy:
    """A policy from its keys.

    Raises:
        ConfigError: one line for each key that is unknown or holds what is not allowed.
    """
    try:
        return model().model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(*explain(where, _named(), error)) from error


def _named() -> type[Policy]:
    """The model under the names that users write, for messages alone."""
    return _model(tuple(registry.kinds()), by_alias=False)


def load(text: str, form: Literal["toml", "yaml"], where: str = "policy") -> Policy:
    """A policy from TOML or YAML text.

    Raises:
        ConfigError: the text is not of that form, or a key is unknown or holds what is not allowed.
    """
    try:
        values = tomllib.loads(text) if form == "toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{where}: not {form.upper()}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ConfigError(f"{where}: found {type(values).__name__}, allowed is a table of keys")
    return make(values, where)
