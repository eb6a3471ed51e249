"""Writes an evidence pack: a ZIP that opens without a network and that the offline verifier checks. Format: verifier/README.md.

Before the trail is added, the hashes of all documents are told in an event; once that is sealed, the pack proves its own documents.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any

from django.db.models import Q

from apps.audit import selectors, services
from apps.audit.bundle import Scope, write_trail
from apps.audit.models import Download, Event, EventQuerySet
from apps.core.actor import Actor
from apps.core.canonical import canonical_json
from apps.core.clock import iso, now
from apps.core.doors import call
from apps.core.errors import Conflict

FORMAT = "gatehouse-evidence-pack/1"
SEAL_WAIT_S = 10.0

README = """Evidence pack

  index.html      begin here; it needs no network
  documents.json  the SHA-256 of every document in this pack
  manifest.json   what was asked for, when, by whom
  trail/          the events behind it, each with a proof that it is in the sealed trail

Verify it with the verifier, which is a program of its own (Python and `cryptography`). Take it from the project's release, not from
whoever gave you this file:

  python -m verifier --bundle THIS.zip --checkpoint WITNESS/latest

WITNESS is the folder outside the database to which every checkpoint was written, with the public key beside it; keep a copy of the key.

What it proves: each event in trail/ is in the sealed trail, unchanged. A document is bound to the trail when such an event names its
hash, or frozen evidence that is bound does. The frozen evidence is named by the signatures, policies by their publication, evaluations by
their attachment; everything else by documents.json, which the event `audit.pack.made` names. A document that is bound only so says what
the portal said when the pack was made. That nothing was left out of a pack no pack can prove.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """One file of the pack."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Contents:
    """What an app above composes. object_ids: things whose events belong to the pack, beside those of the use case or decision.

    index: makes index.html of the paths written and the newest events. total: about how many documents there will be.
    """

    title: str
    object_ids: list[str]
    documents: Iterable[Document]
    total: int
    index: Callable[[list[str], list[Event]], bytes]


Progress = Callable[[str, int, int], None]


def events_of(owner: Actor, *, usecase_id: str, decision_id: str | None, object_ids: list[str]) -> EventQuerySet:
    """Events of a pack that its owner may see: of the use case or the decision, and about the objects named."""
    wanted = Q(usecase_id=usecase_id) if decision_id is None else Q(usecase_id=usecase_id) & Q(decision_id=decision_id)
    found: EventQuerySet = selectors.visible_to(owner).filter(wanted | Q(object_id__in=object_ids))
    return found


def write(target: IO[bytes], *, actor: Actor, owner: Actor, download: Download, contents: Contents, progress: Progress) -> int:
    """Write the pack; returns the tree size its proofs are under. Not in a transaction. Raises SealBroken, Conflict."""
    decision_id = str(download.decision_id) if download.decision_id else None
    usecase_id = str(download.usecase_id)
    # The pack's own event belongs to it.
    ids = [*contents.object_ids, str(download.id)]
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:

        def put(path: str, data: bytes) -> None:
            archive.writestr(path, data)
            hashes[path] = f"sha256:{hashlib.sha256(data).hexdigest()}"

        for number, document in enumerate(contents.documents):
            put(document.path, document.data)
            progress(document.path, number + 1, max(contents.total, number + 1))
        found = events_of(owner, usecase_id=usecase_id, decision_id=decision_id, object_ids=ids)
        put("index.html", contents.index(sorted(hashes), list(found[:200])))
        put("README.md", README.encode())
        documents = canonical_json({"files": hashes}).encode()
        archive.writestr("documents.json", documents)
        told = call(_tell, actor, owner, download, f"sha256:{hashlib.sha256(documents).hexdigest()}", len(hashes))
        progress("waiting for the seal", len(hashes), len(hashes))
        sealed = selectors.wait_for_seal(told.id, timeout_s=SEAL_WAIT_S)
        checkpoint = selectors.latest_checkpoint()
        if checkpoint is None:
            raise Conflict("Nothing has been sealed yet. Check that the seal process runs (`./gatehouse doctor`), then try again.")

        def alive() -> None:
            progress("the trail with its proofs", len(hashes), len(hashes))

        alive()
        scope = Scope(usecase_id=usecase_id, decision_id=decision_id, object_ids=tuple(sorted(set(ids))))
        who = {"id": owner.id, "label": owner.label}
        manifest = {"exported_at": iso(now()), "exported_by": who, "not_yet_sealed": 0 if sealed else 1}
        events = write_trail(archive, prefix="trail/", scope=scope, found=found, checkpoint=checkpoint, manifest=manifest, alive=alive)
        archive.writestr("manifest.json", _manifest(contents, scope, manifest, events, hashes))
    return int(checkpoint.tree_size)


def _tell(actor: Actor, owner: Actor, download: Download, digest: str, documents: int) -> Event:
    return services.record(
        "audit.pack.made", actor=Actor.system(actor.label, on_behalf_of=owner.id), obj_type="download", obj_id=str(download.id),
        obj_label="evidence pack", usecase_id=str(download.usecase_id), decision_id=str(download.decision_id) if download.decision_id else None,
        after={"documents": documents, "documents_digest": digest},
    )  # fmt: skip


def _manifest(contents: Contents, scope: Scope, more: dict[str, Any], events: int, hashes: dict[str, str]) -> str:
    document = {"format": FORMAT, "title": contents.title, "scope": scope.as_json(), "events": events, "documents": len(hashes), **more}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
