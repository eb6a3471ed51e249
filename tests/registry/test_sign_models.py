"""Signatures made by the model-signing tool itself (see signed/README.md): verified, false, or of a key that nobody trusts."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.core.evidence import EvidenceSubject
from apps.registry import services
from apps.registry.evidence import CHECKS
from apps.registry.models import SigningKey
from apps.registry.rules import signatures, signing_keys
from apps.registry.rules.signing_keys import Trusted
from apps.registry.selectors import signing_keys as reads

SIGNED = Path(__file__).parent / "signed"
DATA = {str(p.relative_to(SIGNED / "model")): p.read_bytes() for p in (SIGNED / "model").rglob("*") if p.is_file()}
FILES = {path: hashlib.sha256(data).hexdigest() for path, data in DATA.items()}


def key(name):
    return Trusted(name, (SIGNED / name).read_text())


def judged(signature, *keys, files=FILES, change=None):
    bundle = json.loads((SIGNED / signature).read_text())
    if change:
        change(bundle)
    return signatures.judge(signatures.read(json.dumps(bundle), "model.sig", {**files, "model.sig": "0" * 64}), [key(k) for k in keys])


@pytest.mark.parametrize(
    ("signature", "keys", "state"),
    [
        ("key.sig", ["key.pub.pem"], "verified"),
        ("key384.sig", ["key.pub.pem", "key384.pub.pem"], "verified"),
        ("cert.sig", ["root.pem"], "verified"),
        ("cert.sig", ["int.pem"], "verified"),
        ("cert.sig", ["leaf.pem"], "verified"),
        ("key.sig", ["key384.pub.pem", "root.pem"], "unknown"),
        ("cert.sig", ["key.pub.pem"], "unknown"),
        ("key.sig", [], "unknown"),
    ],
)
def test_what_the_tool_signed_is_verified_with_the_right_key_alone(signature, keys, state):
    found = judged(signature, *keys)
    assert found.state == state and found.key == (keys[-1] if state == "verified" else "")


def test_files_that_differ_or_are_not_signed_are_named():
    found = judged("key.sig", "key.pub.pem", files={**FILES, "weights/w.bin": "1" * 64})
    assert found.state == "differs" and "weights/w.bin" in found.words
    assert judged("key.sig", "key.pub.pem", files={"MLmodel": FILES["MLmodel"]}).state == "differs", "a signed file is missing"
    found = judged("key.sig", "key.pub.pem", files={**FILES, "extra.py": "1" * 64})
    assert found.state == "partly" and "extra.py" in found.words


def _payload(bundle, change):
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


def test_a_statement_that_was_changed_is_false():
    def other_digest(bundle):
        _payload(bundle, lambda s: s["predicate"]["resources"][0].update(digest="1" * 64))

    assert judged("key.sig", "key.pub.pem", change=other_digest).state == "invalid"
    assert judged("cert.sig", "root.pem", change=other_digest).state == "invalid"

    def other_signature(bundle):
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = json.loads((SIGNED / "key384.sig").read_text())["dsseEnvelope"]["signatures"][0][
            "sig"
        ]

    assert judged("key.sig", "key.pub.pem", change=other_signature).state == "invalid"


def test_a_chain_counts_only_with_its_own_signer_and_issuers():
    def first_is_another(bundle):
        chain = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
        chain[0], chain[1] = chain[1], chain[0]

    assert judged("cert.sig", "root.pem", change=first_is_another).state == "invalid"

    def without_the_middle(bundle):
        del bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][1]

    assert judged("cert.sig", "root.pem", change=without_the_middle).state == "unknown"
    assert judged("cert.sig", "int.pem", change=without_the_middle).state == "verified", "ours stands in for what the bundle leaves out"


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.pop("dsseEnvelope"),
        lambda b: b["dsseEnvelope"].update(payload="%%"),
        lambda b: b["dsseEnvelope"].update(signatures=[]),
        lambda b: b["dsseEnvelope"].update(signatures=[{"sig": "%"}]),
        lambda b: _payload(b, lambda s: s.pop("predicate")),
        lambda b: b["verificationMaterial"].update(x509CertificateChain={"certificates": [{"rawBytes": "A"}] * 7}),
    ],
)
def test_what_is_no_signature_is_unreadable(change):
    assert judged("key.sig", "key.pub.pem", change=change).state == "unreadable"


def test_other_kinds_of_statement_are_not_taken_for_one_of_models():
    def another(bundle):
        bundle["dsseEnvelope"]["payloadType"] = "text/plain"

    assert judged("key.sig", "key.pub.pem", change=another).state == "invalid"
    assert signatures.judge({"state": "none"}, []).state == "none"

    def keyless(bundle):
        bundle["verificationMaterial"] = {"certificate": {"rawBytes": "x"}}

    found = judged("key.sig", "key.pub.pem", change=keyless)
    assert found.state == "unknown" and "Sign with a key" in found.words


def test_a_signature_in_a_folder_speaks_of_that_folder():
    inside = {f"inner/{path}": digest for path, digest in FILES.items()}
    read = signatures.read(
        (SIGNED / "key.sig").read_text(), "inner/model.sig", {**inside, "inner/model.sig": "0" * 64, "MLmodel": "1" * 64}
    )
    found = signatures.judge(read, [key("key.pub.pem")])
    assert found.state == "partly" and read["unlisted"] == ["MLmodel"]


def test_only_public_keys_on_the_tools_curves_are_taken():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def public(made):
        return made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for pem, says in (
        ("words", "cannot be read"), (private.decode(), "private key"), (public(ed25519.Ed25519PrivateKey.generate()), "cannot be read"),
        (public(ec.generate_private_key(ec.SECP256K1())), "cannot be read"), ("x" * 20_000, "too long"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=says):
            signing_keys.describe(pem)
    assert signing_keys.describe((SIGNED / "root.pem").read_text()).about.startswith("CN=Example root")


@pytest.mark.parametrize(
    ("usage", "purposes", "state"),
    [
        (True, None, "found"),
        (True, ["CODE_SIGNING"], "found"),
        (True, ["SERVER_AUTH", "CODE_SIGNING"], "found"),
        (None, ["CODE_SIGNING"], "found"),
        (True, ["SERVER_AUTH"], "not meant"),
        (True, ["SERVER_AUTH", "CLIENT_AUTH"], "not meant"),
        (False, ["CODE_SIGNING"], "not meant"),
        (None, ["SERVER_AUTH"], "not meant"),
        (None, None, "not meant"),
    ],
)
def test_a_certificate_for_other_ends_signs_no_model(usage, purposes, state):
    found = signing_keys.signer(*_signed_by_certificate(usage, purposes))
    assert (found.key is not None, found.broken) == ((True, False) if state == "found" else (False, True))
    assert state == "found" or state in found.words


def _signed_by_certificate(usage, purposes):
    """A signature by a new certificate of such a use under a root of ours, and what is trusted: the root."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(name, public, extensions):
        made = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root")]),
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            public_key=public, serial_number=x509.random_serial_number(), not_valid_before=datetime.now(UTC) - timedelta(days=1),
            not_valid_after=datetime.now(UTC) + timedelta(days=1),
        )  # fmt: skip
        for extension in extensions:
            made = made.add_extension(extension, critical=True)
        return made.sign(root_key, hashes.SHA256())

    def may(**more):
        every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        return x509.KeyUsage(**{**dict.fromkeys((*every, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False), **more})

    root = certificate("Root", root_key.public_key(), [x509.BasicConstraints(ca=True, path_length=0), may(key_cert_sign=True)])
    extensions = [may(digital_signature=usage, key_agreement=True)] if usage is not None else []
    if purposes:
        extensions.append(x509.ExtendedKeyUsage([getattr(x509.ExtendedKeyUsageOID, p) for p in purposes]))
    leaf = certificate("Leaf", key.public_key(), extensions)
    digest = hashlib.sha256(b"statement").digest()
    signature = {
        "key": "certificate",
        "chain": [base64.b64encode(leaf.public_bytes(serialization.Encoding.DER)).decode()],
        "signed": {"sha256": digest.hex()},
        "signature": base64.b64encode(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))).decode(),
    }
    return signature, [Trusted("root", root.public_bytes(serialization.Encoding.PEM).decode())]


# With the portal


@pytest.fixture
def admin(make_user, actor_of):
    return actor_of(make_user("admin"))


def trust(admin, name="key.pub.pem", called="Release team"):
    return services.trust_key(actor=admin, name=called, pem=(SIGNED / name).read_text())


@pytest.mark.django_db
def test_an_administrator_trusts_and_retires_a_key_and_the_trail_says_so(admin, events):
    row = trust(admin)
    assert trust(admin).id == row.id, "the same again changes nothing"
    assert events("registry.signing_key.trusted", "Release team")[0].facts["after"]["fingerprint"] == row.fingerprint
    with pytest.raises(Conflict, match="already, as Release team"):
        trust(admin, called="Another")
    with pytest.raises(Conflict, match="another key is called"):
        trust(admin, "key384.pub.pem")
    with pytest.raises(Invalid, match="because"):
        services.retire_key(actor=admin, key_id=row.id, because=" ")
    retired = services.retire_key(actor=admin, key_id=row.id, because="Its owner left.")
    assert services.retire_key(actor=admin, key_id=row.id, because="Again.").retired_because == "Its owner left."
    assert retired.retired_at and events("registry.signing_key.retired", "Release team")[0].facts["reason"] == "Its owner left."
    assert trust(admin).id != row.id, "it may be trusted anew"


@pytest.mark.django_db
def test_nobody_else_says_whom_to_trust(admin, make_user, actor_of):
    row = trust(admin)
    for role in ("ml_engineer", "approver:security", "auditor", "stakeholder"):
        actor = actor_of(make_user(role))
        with pytest.raises(NotAllowed):
            trust(actor, "key384.pub.pem", "Mine")
        with pytest.raises(NotAllowed):
            services.retire_key(actor=actor, key_id=row.id, because="x")
        assert [k.id for k in reads.signing_keys(actor)] == [row.id]


@pytest.mark.django_db
def test_a_trusted_key_is_never_changed_in_the_database(admin):
    row = trust(admin)
    for sql in (
        "UPDATE registry_signingkey SET pem = 'x' WHERE id = %s", "DELETE FROM registry_signingkey WHERE id = %s",
        "UPDATE registry_signingkey SET retired_at = now() WHERE id = %s",
    ):  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, [row.id])
    services.retire_key(actor=admin, key_id=row.id, because="Lost.")
    with pytest.raises(IntegrityError), transaction.atomic():
        SigningKey.objects.filter(id=row.id).update(retired_at=None, retired_because="")


@pytest.mark.django_db
def test_a_signed_version_is_verified_from_scan_to_gate_and_follows_the_keys(ready, admin, events):
    row = ready(files={**DATA, "model.sig": (SIGNED / "key.sig").read_bytes()})
    services.scan_version(name=row.model.name, version=1)

    def gate(**parameters):
        return CHECKS["registry.signature_verified"].run(EvidenceSubject(usecase_id="", model_version_id=str(row.id)), parameters)

    assert reads.of_version(row).state == "unknown" and gate().state == "fail" and "not trusted" in gate().detail
    trusted = trust(admin)
    assert reads.of_version(row).state == "verified" and gate().state == "pass" and "Release team" in gate().found
    assert gate(keys="Release team").state == "pass" and gate(keys="Audit").state == "fail"
    services.retire_key(actor=admin, key_id=trusted.id, because="Lost.")
    assert gate().state == "fail"


@pytest.mark.django_db
def test_a_signature_that_leaves_files_out_is_enough_only_where_the_policy_says_so(ready, admin):
    row = ready(files={**DATA, "conda.yaml": b"name: x\n", "model.sig": (SIGNED / "key.sig").read_bytes()})
    subject = EvidenceSubject(usecase_id="", model_version_id=str(row.id))
    check = CHECKS["registry.signature_verified"]
    assert check.run(subject, {}).state == "missing", "not scanned yet"
    services.scan_version(name=row.model.name, version=1)
    trust(admin)
    assert check.run(subject, {}).state == "fail" and "conda.yaml" in check.run(subject, {}).detail
    assert check.run(subject, {"whole": False}).state == "pass"
