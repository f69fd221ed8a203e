"""``strongroom attest collect``: have a host make evidence over a fresh challenge, and write it down, unjudged."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strongroom.attest import tpm_evidence, tpm_quote
from strongroom.attest.base import require
from strongroom.attest.collateral import NOTHING
from strongroom.attest.tpm_credential import make_credential, require_activated, require_attestation
from strongroom.cli.output import Output, OutputForm
from strongroom.errors import ConfigError, StrongroomError
from strongroom.model.cluster import Host
from strongroom.model.platform import Platform
from strongroom.probe import evidence

SCHEMA = "strongroom.dev/collected/v1"
SECONDS = 300  # a TPM needs up to a minute for an RSA key

_LOG = ".ccel"

Ask = Callable[[str], bytes]


class Kind(StrEnum):
    """Kinds that the evidence command makes."""

    SNP = "snp"
    TDX = "tdx"
    TPM = "tpm"
    NVIDIA = "nvidia"


_OF_PLATFORM = {Platform.SNP: Kind.SNP, Platform.TDX: Kind.TDX, Platform.VTPM: Kind.TPM, Platform.GPU: Kind.NVIDIA}


@dataclass(frozen=True)
class Bound:
    """Evidence whose AK was activated, the controller's document on that, and both keys' SHA-256 in hex."""

    evidence: bytes
    document: bytes | None
    keys: dict[str, str]


def collect(
    inventory: Annotated[Path, typer.Argument(metavar="INVENTORY", help="A pyinfra inventory file.")],
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host, as the inventory names it.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Write the evidence here.")],
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="What evidence; by the host's platform in the inventory.")
    ] = None,
    output: OutputForm = Output.TEXT,
) -> None:
    """Ask one host for evidence over a fresh challenge. Nothing is verified, and nothing on the host is changed."""
    if out.suffix == _LOG:
        raise ConfigError(f"--out: found {out}, allowed is any suffix but {_LOG}, which a guest's log gets beside it")
    challenge = secrets.token_bytes(evidence.CHALLENGE)
    with _connected(inventory, host) as (known, ask):
        wanted = (kind or _default(known)).value
        answer = evidence.read(ask(evidence.command(wanted, challenge)), wanted, challenge)
        bound = bind(answer.evidence, ask) if wanted == "tpm" else Bound(answer.evidence, None, {})
    files = {"evidence": (out, bound.evidence)}
    if bound.document is not None:
        files["credential"] = (out.with_suffix(".credential.json"), bound.document)
    if answer.event_log is not None:
        files["event_log"] = (out.with_suffix(_LOG), answer.event_log)
    _write(dict(files.values()))
    _say(
        {
            "schema": SCHEMA,
            "host": host,
            "kind": wanted,
            "covers": evidence.report_data(wanted, challenge).hex(),
            "boot_id": answer.boot_id,
            "keys": bound.keys,
            "files": {name: str(path) for name, (path, _) in files.items()},
        },
        output,
    )


def _default(host: Host) -> Kind:
    if host.platform not in _OF_PLATFORM:
        raise ConfigError(
            f"{host.name}: platform: {host.platform.value}, of which there is no evidence by itself; name it by --kind"
        )
    return _OF_PLATFORM[host.platform]


def _connected(inventory: Path, name: str) -> AbstractContextManager[tuple[Host, Ask]]:
    # Verifying needs nothing of what connects, and must not pay for it.
    from strongroom.cli.attest_asking import connected

    return connected(inventory, name, SECONDS)


def bind(answer: bytes, ask: Ask) -> Bound:
    """Have the TPM show that the AK of its evidence is in it beside the EK that it tells of.

    Args:
        answer: evidence of kind ``tpm``, unjudged.
        ask: runs one more command on the same host.

    Raises:
        Refused: one of the two is no such key, or the TPM did not give the secret back.
        AttestationRefused: the host says that it can't.
    """
    found = tpm_evidence.read(answer, NOTHING)
    require("ak_public" in found.parts, "ak_public", "the host gave none")
    ak = tpm_quote.key_of(found.parts["ak_public"], "ak_public")
    keys = {"ak_sha256": ak.spki_sha256.hex()}
    if "ek_public" not in found.parts:
        return Bound(answer, None, keys)
    ek = tpm_quote.key_of(found.parts["ek_public"], "ek_public")
    require(
        ak.public is not None and ek.public is not None, "ak_public", "a bare key; needed are the TPM's public areas"
    )
    assert ak.public is not None
    assert ek.public is not None
    require_attestation(ak.public)
    secret = secrets.token_bytes(32)
    made = make_credential(ek.public, ak.public.name, secret, seed=secrets.token_bytes(ek.public.name_algorithm.size))
    challenge = secrets.token_bytes(evidence.CHALLENGE)
    said = ask(evidence.activation(challenge, made.blob + made.secret))
    activated = evidence.read_activated(said, challenge)
    require_activated(secret, activated)
    document = {
        "ek_public": base64.b64encode(found.parts["ek_public"]).decode(),
        "ak_name": ak.public.name.hex(),
        "secret": base64.b64encode(secret).decode(),
    }
    return Bound(
        evidence.with_activated(answer, activated),
        json.dumps(document, indent=2).encode() + b"\n",
        {**keys, "ek_sha256": ek.spki_sha256.hex()},
    )


def _write(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        new = path.with_name(f".{path.name}.new")
        try:
            new.unlink(missing_ok=True)
            # What a credential holds has served its end, and still is nobody else's business.
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            new.replace(path)
        except OSError as error:
            raise StrongroomError(f"{path}: {error.strerror or error}") from error


def _say(told: dict[str, object], output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps(told, indent=2))
        return
    files, keys = told["files"], told["keys"]
    assert isinstance(files, dict)
    assert isinstance(keys, dict)
    typer.echo(
        f"{files['evidence']}: {told['kind']} evidence of {told['host']}, boot {told['boot_id']}; nothing was verified"
    )
    if "ek_sha256" in keys:
        typer.echo(f"EK {keys['ek_sha256']}, in one TPM with the AK")
    elif keys:
        typer.echo(f"AK {keys['ak_sha256']}; the host told of no EK, so that the AK stands for itself")
    words = ["strongroom", "attest", "verify", files["evidence"], "--kind", told["kind"], "--policy", "POLICY"]
    words += ["--nonce", told["covers"]]
    if "credential" in files:
        words += ["--collateral", f"credential={files['credential']}"]
    typer.echo(shlex.join(map(str, words)))
