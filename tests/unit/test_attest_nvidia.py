"""NVIDIA evidence of a pretended vendor: one thing wrong at a time, and it is refused for that one."""

from __future__ import annotations

import json
import tracemalloc
from base64 import b64encode as b64
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attest import (
    nvidia_device,
    nvidia_evidence,
    nvidia_opaque,
    nvidia_rim,
    policy,
    registry,
    spdm,
    xml_tree,
)
from strongroom.attest import ocsp as responses
from strongroom.attest.base import Facts, Refused, Verified
from strongroom.attest.collateral import Collateral
from strongroom.fetch import collateral_seen
from tests.gpu_maker import DAY, FWID, NOW, Device, certificate, der, key, revoking, tcb_info


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    roots, rim_roots = made.pins
    monkeypatch.setattr(nvidia_device, "ROOTS", roots)
    monkeypatch.setattr(nvidia_rim, "ROOTS", rim_roots)
    return made


def authentic(
    device: Device, documents: dict[str, bytes] | None = None, crls: tuple[bytes, ...] = (), now: datetime = NOW
) -> Facts:
    collateral = Collateral(device.certificates(), crls, documents or {})
    return registry.authenticate("nvidia", device.transcript(), collateral, None, now).facts


def refused(device: Device, why: str, documents: dict[str, bytes] | None = None, crls: tuple[bytes, ...] = ()) -> None:
    with pytest.raises(Refused, match=why):
        authentic(device, documents, crls)


def full(device: Device) -> dict[str, bytes]:
    return {**device.rims(), **device.answers()}


def wanted(facts: Facts, **section: object) -> policy.Policy:
    return policy.make(
        {"identities": [facts.identity.hex()], "nonce": facts.report_data.hex(), "nvidia": {"devices": 1, **section}}
    )


def test_all_that_the_strict_policy_asks(device: Device) -> None:
    documents = full(device)
    facts = authentic(device, documents)
    assert facts.notes == ()
    shown = facts.fields["devices"]
    assert isinstance(shown, list)
    assert shown[0]["manifests_missing"] == shown[0]["revocation_not_known"] == []
    assert shown[0]["measurements_compared"] == list(range(64))
    collateral = Collateral(device.certificates(), (), documents)
    said = registry.verify("nvidia", device.transcript(), collateral, wanted(facts), NOW)
    assert isinstance(said, Verified)


@pytest.mark.parametrize("missing", ["driver", "vbios", "ocsp1", "ocsp2", "ocsp3", "ocsp-rim0", "ocsp-rim1"])
def test_whatever_is_missing_refuses(device: Device, missing: str) -> None:
    documents = full(device)
    facts = authentic(device, documents)
    del documents[missing]
    with pytest.raises(Refused, match="the policy asks for it"):
        registry.verify(
            "nvidia",
            device.transcript(),
            Collateral(device.certificates(), (), documents),
            wanted(facts),
            NOW,
        )


def test_a_measurement_that_the_manifest_does_not_know(device: Device) -> None:
    documents = device.rims()
    device.measurements[64] = b"x" * 48
    refused(device, "measurement 63 is 7878", documents)
    del device.measurements[64]
    refused(device, "no measurement 63", documents)


def test_the_decoder_that_is_not_there_is_not_compared(device: Device) -> None:
    documents = device.rims()
    device.measurements[36] = bytes(48)
    refused(device, "measurement 35", documents)
    device.opaque[11] = b"\x55"
    authentic(device, documents)
    device.opaque[11] = b"\x56"
    refused(device, "nvdec0_status", documents)


def test_two_manifests_of_one_index(device: Device) -> None:
    documents = device.rims()
    documents["again"] = device.rim("550.1", {63: [device.measurements[64]]})
    refused(device, "another manifest speaks of index", documents)


def test_a_manifest_of_another_chip_is_not_the_devices(device: Device) -> None:
    """One version of the driver has a manifest for each chip; those of a mixed fleet are given together."""
    documents = full(device)
    allowed = {index: [device.measurements[index + 1]] for index in range(40, 64)}
    other = device.rim("550.1", {40: [bytes(48)]}, product="GB999")
    facts = authentic(device, {**documents, "other": other})
    assert facts.notes == ()
    right = documents.pop("driver")
    for product in ("GB999", "gh999", "GH99", ""):
        wrong = {**documents, "driver": device.rim("550.1", allowed, product=product)}
        with pytest.raises(Refused, match=r"manifest of driver 550.1 is not given"):
            registry.verify(
                "nvidia", device.transcript(), Collateral(device.certificates(), (), wrong), wanted(facts), NOW
            )
    refused(device, r"are of 550.1 for GB999, the devices have 550.1 on GH999, 96.00", {"other": other})
    device.opaque[35] = b"GB999\0"
    authentic(device, {"driver": device.rim("550.1", allowed, product="GB999")})
    authentic(device, {"driver": right})


@pytest.mark.parametrize(
    ("find", "put", "why"),
    [
        (b'tagId="t"', b'tagId="u"', "digest"),
        (b"550.1", b"550.2", "digest"),
        (b' active="True"', b' active="False"', "digest"),
        (b"<SoftwareIdentity", b"<!DOCTYPE x><SoftwareIdentity", "no use for"),
        (b"<SoftwareIdentity", b"<?x y?><SoftwareIdentity", "no use for"),
        (b'URI=""', b'URI="#x"', "whole document"),
        (b"enveloped-signature", b"base64", "Transform is"),
        (b"xmldsig-more#sha384", b"xmldsig-more#sha1", "DigestMethod is"),
        (b"ecdsa-sha384", b"hmac-sha1", "SignatureMethod is"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA", "bytes, allowed are 96"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>!", "no base64"),
        (b"</SoftwareIdentity>", b"", "no XML"),
        (b'tagId="t"', b'tagId="t" xml:lang="en"', "xml's"),
        (b"<s:Payload>", b"<s:Payload><x:y/>", "not declared"),
        (b"<ds:KeyInfo>", b"<ds:KeyInfo>text", "holds other"),
        (b'tagId="t"', b'tagId="t" tagId="t"', "no XML"),
        (b'xmlns:h="', b'xmlns:k="http://www.w3.org/2001/04/xmlenc#sha384" xmlns:h="', "digest"),
    ],
)
def test_a_changed_manifest(device: Device, find: bytes, put: bytes, why: str) -> None:
    document = device.rims()["driver"]
    assert find in document
    refused(device, why, {"driver": document.replace(find, put)})


def test_white_space_in_tags_and_the_order_of_attributes_are_not_signed(device: Device) -> None:
    """Canonical XML drops them, so that they may change: nothing is read out of them."""
    document = device.rims()["driver"]
    authentic(device, {"driver": document.replace(b' tagId="t"', b'\n   tagId="t" ')})
    authentic(device, {"driver": document.replace(b"></s:Meta>", b"/>")})


def test_a_manifest_with_values_that_are_not_compared_is_refused(device: Device) -> None:
    extra = '<s:Resource active="True" alternatives="1" index="70" name="svn" size="2" type="OpaqueData"></s:Resource>'
    document = device.rim("550.1", {1: [device.measurements[2]]}, extra=extra)
    refused(device, "of type 'OpaqueData', allowed are measurements", {"driver": document})
    twice = device.rim(
        "550.1", {1: [device.measurements[2]]}, extra=extra.replace("OpaqueData", "Measurement").replace("70", "1")
    )
    refused(device, "index 1 is there twice", {"driver": twice})


def test_a_manifest_of_another_signer(device: Device) -> None:
    device.rim_chain[2] = certificate("RIM Root", other := key(), "RIM Root", other)
    refused(device, "signature does not verify", device.rims())
    device.__post_init__()
    refused(device, "not a pinned root's", device.rims())


def test_an_ocsp_responder_signs_no_manifest(device: Device) -> None:
    device.rim_chain[0] = certificate(
        "RIM responder", device.keys["rim"], "RIM CA", device.keys["rim-ca"], authority=False, ocsp_signing=True
    )
    refused(device, "RIM responder may not sign documents", device.rims())


def test_an_expired_manifest(device: Device) -> None:
    device.rim_chain[0] = certificate(
        "RIM L4", device.keys["rim"], "RIM CA", device.keys["rim-ca"], authority=False, until=NOW - DAY
    )
    refused(device, "RIM L4 is valid", device.rims())


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("reason", [x509.ReasonFlags.certificate_hold, x509.ReasonFlags.key_compromise, None])
def test_a_revoked_certificate(device: Device, number: int, reason: x509.ReasonFlags | None) -> None:
    answer = device.answer(
        device.chain, number, device.issuer_key(number), status=ocsp.OCSPCertStatus.REVOKED, reason=reason
    )
    refused(device, "revoked on", {**full(device), f"ocsp{number}": answer})


def test_a_revoked_signer_of_manifests(device: Device) -> None:
    answer = device.answer(device.rim_chain, 0, device.keys["rim-ca"], status=ocsp.OCSPCertStatus.REVOKED)
    refused(device, "RIM L4 is revoked", {**full(device), "ocsp-rim0": answer})


def test_answers_that_say_nothing(device: Device) -> None:
    def said(**change: object) -> dict[str, bytes]:
        return {"ocsp1": device.answer(device.chain, 1, device.issuer_key(1), **change)}  # type: ignore[arg-type]

    refused(device, "unknown, allowed is good", said(status=ocsp.OCSPCertStatus.UNKNOWN))
    refused(device, "ended", said(until=NOW - DAY / 2))
    refused(device, "is of", said(at=NOW + DAY, until=NOW + 2 * DAY))
    refused(device, "no date of its end", said(until=None))
    refused(device, "does not verify", {"ocsp1": device.answer(device.chain, 1, key())})
    refused(device, "none speaks of the device", {"ocsp": device.answer(device.rim_chain, 0, device.keys["rim-ca"])})
    stranger = Device()
    refused(device, "none speaks of the device", stranger.answers())


def test_a_document_of_digits_is_no_answer(device: Device) -> None:
    authentic(device, {"nonce": b"00" * 32})
    refused(device, "status 3", {"error": b"\x30\x03\x0a\x01\x03"})
    refused(device, "cut off", {"cut": device.answers()["ocsp1"][:200]})


def test_a_responder_of_an_authority_of_the_chain(device: Device) -> None:
    responder_key = key()

    def said(issuer: str, issuer_key: object, **more: object) -> dict[str, bytes]:
        one = certificate("Responder", responder_key, issuer, issuer_key, authority=False, **more)  # type: ignore[arg-type]
        return {"ocsp1": device.answer(device.chain, 1, responder_key, responder=one)}

    authentic(device, said(device.names[2], device.keys["provisioner"], ocsp_signing=True))
    authentic(device, said(device.names[0], device.keys["root"], ocsp_signing=True))
    refused(device, "does not verify", said(device.names[2], device.keys["provisioner"]))
    refused(device, "Stranger", said("Stranger", key(), ocsp_signing=True))
    refused(
        device, "no certificate of GH999 A01 GSP BROM", said(device.names[3], device.keys["rom"], ocsp_signing=True)
    )
    itself = certificate(
        "Responder", responder_key, device.names[3], device.keys["rom"], authority=False, ocsp_signing=True
    )
    answer = device.answer(device.chain, 1, responder_key, responder=itself, more=(device.chain[1],))
    refused(device, "issued by none", {"ocsp1": answer})
    expired = said(device.names[2], device.keys["provisioner"], ocsp_signing=True, until=NOW - DAY)
    refused(device, "Responder is valid", expired)


def test_grace_is_the_policys(device: Device) -> None:
    late = device.answer(device.chain, 1, device.issuer_key(1), until=NOW - DAY / 2)
    collateral = Collateral(device.certificates(), (), {**full(device), "ocsp1": late})
    lenient = policy.make({"collateral_grace_hours": 24})
    said = registry.authenticate("nvidia", device.transcript(), collateral, lenient, NOW)
    assert any("within the policy's grace" in note for note in said.facts.notes)


def test_revocation_lists(device: Device) -> None:
    good = tuple(revoking(device.chain[n + 1], device.issuer_key(n)) for n in (1, 2, 3))
    facts = authentic(device, crls=good)
    shown = facts.fields["devices"]
    assert isinstance(shown, list)
    assert shown[0]["revocation_not_known"] == []
    for number in (1, 2, 3):
        bad = revoking(device.chain[number + 1], device.issuer_key(number), device.chain[number])
        refused(device, "was revoked on", crls=(bad,))
    refused(device, "does not verify", crls=(revoking(device.chain[2], key()),))
    refused(device, "ended", crls=(revoking(device.chain[2], device.issuer_key(1), until=NOW - DAY / 2),))


def test_revocation_lists_do_not_go_back(device: Device, tmp_path: Path) -> None:
    """The numbers of lists, of a device's authorities and of its manifests' signer, are what whoever keeps them compares."""

    def lists(number: int) -> tuple[bytes, ...]:
        own = tuple(revoking(device.chain[n + 1], device.issuer_key(n), number=number) for n in (1, 2, 3))
        return (*own, revoking(device.rim_chain[1], device.keys["rim-ca"], number=number))

    marks = authentic(device, device.rims(), crls=lists(7)).marks
    names = [mark.name.partition(" (")[0] for mark in marks]
    assert names == [*device.names[2::-1], "RIM CA"]
    assert {mark.number for mark in marks} == {7}
    assert marks[0].field == "device.0.certificate.1.revocation.crl.number"
    collateral_seen.advance(marks, tmp_path)
    collateral_seen.advance(authentic(device, device.rims(), crls=lists(8)).marks, tmp_path)
    for older in (lists(7)[:1], lists(7)[3:]):
        with pytest.raises(Refused, match=r"number 7 of .*, and number 8 of .* was seen before"):
            collateral_seen.advance(authentic(device, device.rims(), crls=(*lists(8)[1:3], *older)).marks, tmp_path)
    assert authentic(device, full(device)).marks == ()


def test_firmware_that_is_not_the_certificates(device: Device) -> None:
    device.opaque[20] = bytes(48)  # the second id of the certificate, which is that of no firmware
    refused(device, "the firmware id is 0000")
    device.opaque[20] = FWID[::-1]
    refused(device, "the firmware id is 2f2e")
    del device.opaque[20]
    authentic(device)


@pytest.mark.parametrize(("flag", "name"), [(0x40, "not secure"), (0x20, "recovery"), (0x10, "debug")])
def test_firmware_that_calls_itself_unsafe(device: Device, flag: int, name: str) -> None:
    device.fwid_extension = ("2.23.133.5.4.1.1", tcb_info(FWID, flags=bytes([0, flag, 0, 0, 1])))
    device.leaf()
    refused(device, name)
    documents = full(device)
    collateral = Collateral(device.certificates(), (), documents)
    permitted = policy.make({"nvidia": {"permit_debug": True}})
    facts = registry.authenticate("nvidia", device.transcript(), collateral, permitted, NOW).facts
    assert facts.notes == (f"device.0: its firmware is {name}, which the policy permits",)
    for permit in (True, False):
        asked = wanted(facts, permit_debug=permit)
        if permit:
            assert isinstance(registry.verify("nvidia", device.transcript(), collateral, asked, NOW), Verified)
        else:
            with pytest.raises(Refused, match=name):
                registry.verify("nvidia", device.transcript(), collateral, asked, NOW)


def test_a_leaf_that_is_no_leaf(device: Device) -> None:
    device.chain[0] = certificate("GH999 X", device.keys["leaf"], device.names[3], device.keys["rom"])
    refused(device, "is not given")
    device.chain[1] = device.chain[2] = device.chain[3] = device.chain[4]
    device.chain[0] = certificate("GH999 X", device.keys["leaf"], device.names[0], device.keys["root"], authority=False)
    refused(device, "has 2 certificates")


def test_an_ocsp_responder_is_no_device(device: Device) -> None:
    """NVIDIA's authorities certify other keys than devices': one for another purpose, or of no firmware, measures nothing."""

    def leaf(**more: object) -> None:
        issuer = device.names[2], device.keys["provisioner"]
        device.chain[0] = certificate("Responder", device.keys["leaf"], *issuer, authority=False, **more)  # type: ignore[arg-type]

    del device.chain[1]
    del device.opaque[20]
    leaf(ocsp_signing=True)
    refused(device, "Responder may not sign measurements")
    leaf(ocsp_signing=True, extensions=(device.fwid_extension,))
    refused(device, "Responder may not sign measurements")
    leaf()
    refused(device, "Responder has no DICE extension")
    leaf(extensions=(device.fwid_extension,))
    authentic(device)


def test_another_root(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    refused(device, "not a pinned root's")


def test_an_expired_chain(device: Device) -> None:
    with pytest.raises(Refused, match="is valid"):
        authentic(device, now=NOW + 500 * DAY)


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [(0, 0x12, "version"), (1, 0xE1, "starts"), (2, 0, "attributes"), (3, 1, "attributes"), (36, 8, "slot"), (37, 0x12, "version"),
     (38, 0x61, "code"), (41, 0, "follow"), (41, 65, "cut off"), (45, 0, "index"), (46, 2, "allowed is DMTF")],
)  # fmt: skip
def test_a_transcript_of_another_form(device: Device, at: int, value: int, why: str) -> None:
    data = bytearray(device.transcript())
    data[at] = value
    with pytest.raises(Refused, match=why):
        registry.authenticate("nvidia", bytes(data), Collateral(device.certificates()), None, NOW)


def test_versions_as_they_are_written(device: Device) -> None:
    devices = registry.find("nvidia").show(device.transcript(), Collateral())["devices"]
    assert isinstance(devices, list)
    shown = devices[0]
    assert shown["opaque"]["vbios_version"] == "96.00.A5.00.01"
    assert shown["opaque"]["mode"] == "single GPU"
    assert shown["measurements"][0] == device.measurements[1]


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    for attempt in (data, b"\x11\xe0\x01\xff" + data, b"11e0" + data, b"[" + data, b'{"__cmwc_t":"x","g":' + data):
        with pytest.raises(Refused):
            registry.authenticate("nvidia", attempt, Collateral(), None, NOW)
    for read in (lambda: xml_tree.parse(data, "x"), lambda: responses.load(data), lambda: spdm.parse(data)):
        with pytest.raises(Refused):
            read()


@pytest.mark.parametrize(
    "text",
    [b"[]", b"{}", b"[1]", b'[{"evidence":1}]', b'[{"evidence":"!"}]', b'[{"evidence":"AA==","nonce":"x"}]', b"[" * 5000,
     b'{"evidence_list":1}', b'{"__cmwc_t":1}', b'{"__cmwc_t":1,"a":{"evidence":["x","y"]}}', b'[{"evidence":"AAA"}]', b"11e0f"],
)  # fmt: skip
def test_json_of_another_form(text: bytes) -> None:
    with pytest.raises(Refused):
        nvidia_evidence.devices(text)


def test_xml_that_nests_or_is_large() -> None:
    for document in (
        b"<a>" * 100 + b"</a>" * 100,
        b"<a/>" + bytes(5 * 1024 * 1024),
        b"<a>&b;</a>",
        b"\xff\xfe<\0a\0/\0>\0",
    ):
        with pytest.raises(Refused):
            xml_tree.parse(document, "x")


def test_xml_that_declares_many_namespaces() -> None:
    """Each element that declares one has its own scope, of all that are in scope: a product of the two is refused early."""
    once = b"<a" + b"".join(b' xmlns:n%d="u"' % number for number in range(64)) + b">" + b"<b/>" * 10_000 + b"</a>"
    assert len(list(xml_tree.parse(once, "x").elements)) == 10_000
    some = 5_000
    wide = b"<a" + b"".join(b' xmlns:n%d="u"' % number for number in range(some)) + b">"
    deep = b'<b xmlns:c="d"/>' * some
    tracemalloc.start()
    for document in (wide + b"</a>", b"<a>" + deep + b"</a>", wide + deep + b"</a>"):
        with pytest.raises(Refused, match="more than 64 namespaces"):
            xml_tree.parse(document, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


def test_canonical_form() -> None:
    """Section 3 of Canonical XML: white space, attributes, namespaces, references."""
    source = (
        b'<?xml version="1.0"?>\n<!-- c --><b:a  xmlns:b="u:1" z="1" b:y=\'2\' a="&lt;&#9;&quot;" xmlns="u:0">'
        b'<c xmlns="u:0" xmlns:b="u:1" x="\n"/><d xmlns=""/>&gt;&amp;<![CDATA[<e>]]>\r\n<!-- c --></b:a>\n'
    )
    root = xml_tree.parse(source, "x")
    assert xml_tree.canonical(root) == (
        b'<b:a xmlns="u:0" xmlns:b="u:1" a="&lt;&#x9;&quot;" z="1" b:y="2"><c x=" "></c><d xmlns=""></d>&gt;&amp;&lt;e&gt;\n</b:a>'
    )
    inner = next(root.elements)
    assert xml_tree.canonical(inner) == b'<c xmlns="u:0" xmlns:b="u:1" x=" "></c>'
    assert der(Device().chain[0])[:1] == b"\x30"


def test_a_gpu_that_names_no_driver_is_no_switch(device: Device) -> None:
    """As Blackwell's FSP answers, with no data of its own: what it lacks asks for no less."""
    device.opaque.clear()
    facts = authentic(device, device.answers())
    assert "(the device names no version) and vbios (the device names no version)" in facts.notes[0]
    refused(device, "the devices have none", device.rims())
    for section, why in (
        ({}, "the manifest of driver .* is not given"),
        ({"manifests": "when-given", "driver_versions": ["550.1"]}, "driver_versions.0: '', allowed are 550.1"),
        ({"manifests": "when-given"}, "neither a manifest nor the policy"),
    ):
        with pytest.raises(Refused, match=why):
            registry.verify(
                "nvidia",
                device.transcript(),
                Collateral(device.certificates(), (), device.answers()),
                wanted(facts, **section),
                NOW,
            )


def test_a_switch_is_one_by_its_certified_name(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Device("LS_99")
    roots, rim_roots = switch.pins
    monkeypatch.setattr(nvidia_device, "ROOTS", roots)
    monkeypatch.setattr(nvidia_rim, "ROOTS", rim_roots)
    switch.opaque = {6: b"96.10.55.00.01\0", 20: FWID}
    firmware = switch.rim("96.10.55.00.01", {index: [switch.measurements[index + 1]] for index in range(64)})
    documents = {"firmware": firmware, **switch.answers()}
    facts = authentic(switch, documents)
    assert facts.notes == ()
    said = registry.verify(
        "nvidia",
        switch.transcript(),
        Collateral(switch.certificates(), (), documents),
        wanted(facts, models=["LS_99"], driver_versions=["550.1"], modes=["protected PCIe"]),
        NOW,
    )
    assert isinstance(said, Verified)


def test_opaque_data_with_a_header(device: Device) -> None:
    """The form since Rubin says the same as the one before it; what it must not be, and where it may be cut off."""
    older = authentic(device, full(device))
    device.opaque_header = b"NVDAOD\0\0\2\0\0\0"
    device.opaque[37] = b"\5\0"
    newer = authentic(device, full(device))
    assert newer.identity == older.identity
    shown, before = (facts.fields["devices"][0]["opaque"] for facts in (newer, older))  # type: ignore[index]
    assert shown == {**before, "type_37": b"\5\0"}
    for header, why in (
        (b"NVDAOD\1\0\2\0\0\0", "spdm.opaque.profile: profile 1"),
        (b"NVDAOD\0\0\3\0\0\0", "spdm.opaque.version: version 3"),
        (b"NVDAOD\0\0\2\0\1\0", "spdm.opaque.reserved"),
        (b"NVDAOE\0\0\2\0\0\0", "spdm.opaque.type_22094"),
        (b"NVDAOD\0\0\2\0", "spdm.opaque"),
    ):
        device.opaque_header = header
        refused(device, why)
    device.opaque_header, device.fwid_extension = b"NVDAOD\0\0\2\0\0\0", ("2.23.133.5.4.1.1", tcb_info(FWID[::-1]))
    device.leaf()
    refused(device, "fwid")


def test_opaque_data_with_a_header_at_every_length() -> None:
    data = b"NVDAOD\0\0\2\0\0\0" + b"\3\0\x86\0\4\0" + b"620\0"
    assert nvidia_opaque.parse(data).text("driver_version") == "620"
    for size in (*range(1, 12), *range(13, len(data))):
        with pytest.raises(Refused):
            nvidia_opaque.parse(data[:size])
    with pytest.raises(Refused, match="twice"):
        nvidia_opaque.parse(data + data[12:])


def test_a_device_that_is_denied_does_not_hide_behind_another(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Device(), Device()
    monkeypatch.setattr(nvidia_device, "ROOTS", frozenset(pin for device in devices for pin in device.pins[0]))
    pem = serialization.Encoding.PEM
    chains = [b"".join(one.public_bytes(pem) for one in device.chain) for device in devices]
    parts = [(device.transcript(), chain) for device, chain in zip(devices, chains, strict=True)]
    forms = [{"evidence": b64(report).decode(), "certificate": b64(chain).decode()} for report, chain in parts]

    def facts(*of: int) -> Facts:
        evidence = json.dumps([forms[one] for one in of]).encode()
        return registry.authenticate("nvidia", evidence, Collateral(), None, NOW).facts

    def judged(**more: object) -> str:
        section = {"manifests": "when-given", "revocation": "when-given"}
        asked = {"nonce": devices[0].nonce.hex(), "nvidia": section, "not_compared": ["nvidia.measurements"], **more}
        try:
            registry.verify("nvidia", json.dumps(forms).encode(), Collateral(), policy.make(asked), NOW)
        except Refused as reason:
            return reason.field
        return "verified"

    first, second, both = facts(0).identity, facts(1).identity, facts(0, 1).identity
    assert judged(identities=[both.hex()]) == "verified"
    assert judged(identities=[first.hex(), second.hex()]) == "verified"
    assert judged(identities=[first.hex()]) == "identity"
    assert judged(identities=[both.hex()], denied_identities=[second.hex()]) == "identity"
