"""Signatures in OpenSSF's model-signing format, read and compared, not trusted. Pure.

A signature is a Sigstore bundle (`model.sig`) around an in-toto statement that lists the digest of each file
(https://github.com/sigstore/model-transparency, predicate https://model_signing/signature/v1.0). The portal records that it is there
and whether the files it lists are those of the version. Who signed is not verified: that needs Sigstore's client and its trust root.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

NAMES = ("model.sig", "claims.jsonl", "model.sigstore.json", "model.sigstore")
PREDICATES = ("https://model_signing/signature/v1.0",)
MOST_BYTES = 20_000_000


def signature_file(paths: Any) -> str:
    """The path of a signature among a version's files, or ""."""
    return next((p for p in sorted(paths) if p.rsplit("/", 1)[-1] in NAMES), "")


def read(text: str, path: str, files: Mapping[str, str]) -> dict[str, Any]:
    """{"state": "present" | "unreadable", ...} of a bundle. files: path -> SHA-256 in hex, of the version as it was digested.

    Of a present one: predicate, key (a certificate or the hint of a public key), listed, differing (paths whose digest is another),
    unlisted (files the signature says nothing of), verified (always false, see above).
    """
    try:
        bundle = json.loads(text)
        envelope = bundle["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
        predicate = str(statement["predicateType"])
        resources = statement["predicate"]["resources"] if predicate in PREDICATES else statement["subject"]
        listed = {str(r["name"]): _digest(r) for r in resources}
        signatures = len(envelope["signatures"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError):
        return {"state": "unreadable", "path": path, "verified": False}
    material = bundle.get("verificationMaterial") or {}
    key = (
        "certificate"
        if "certificate" in material or "x509CertificateChain" in material
        else str((material.get("publicKey") or {}).get("hint") or "")
    )
    differing = sorted(p for p, d in listed.items() if p in files and d != files[p])
    missing = sorted(p for p in listed if p not in files)
    return {
        "state": "present", "path": path, "predicate": predicate[:200], "key": key[:200], "signatures": signatures, "listed": len(listed),
        "differing": (differing + missing)[:50], "unlisted": sorted(set(files) - set(listed) - {path})[:50], "verified": False,
    }  # fmt: skip


def _digest(resource: Mapping[str, Any]) -> str:
    digest = resource["digest"]
    if isinstance(digest, Mapping):
        return str(digest.get("sha256", ""))
    return str(digest) if str(resource.get("algorithm", "sha256")) == "sha256" else ""
