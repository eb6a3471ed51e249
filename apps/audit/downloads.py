"""Files that people ask for: ask, put together (packs), take, throw away. Asking and taking are events."""

import csv
import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from apps.audit import catalogue, pack, rows, selectors, services
from apps.audit.bundle import public_keys
from apps.audit.models import Checkpoint, Download, Piece
from apps.audit.proofs import Prover
from apps.audit.sealing import SealBroken
from apps.core.actor import Actor
from apps.core.canonical import canonical_json
from apps.core.clock import iso, now
from apps.core.doors import call
from apps.core.errors import Conflict, DomainError, Expired, Invalid, NotAllowed, NotFound
from apps.core.exports import cell
from apps.core.ids import slugify

log = logging.getLogger(__name__)

LINES_FORMAT = "gatehouse-audit-lines/1"
KEEP = timedelta(hours=24)
PIECE_BYTES = 1 << 20
# A worker that says nothing for this long is taken as dead; its pack is begun again by the next one.
SILENT_AFTER = timedelta(minutes=5)
MAX_WAITING = 5
# Lines that are made into one piece of an answer.
AT_ONCE = 200
COLUMNS = (
    "leaf_index", "id", "occurred_at", "action", "meaning", "actor_kind", "actor_id", "actor_label", "on_behalf_of", "object_type",
    "object_id", "object_label", "usecase_id", "decision_id", "request_id", "reason", "before", "after",
)  # fmt: skip


def visible(actor: Actor) -> QuerySet[Download]:
    """Files the actor asked for, newest first; all for auditors and administrators."""
    return Download.objects.visible_to(actor).order_by("-id")


def download(actor: Actor, download_id: Any) -> Download:
    """One of them, or NotFound."""
    found: Download = Download.objects.visible_to(actor).one("file", id=download_id)
    return found


@transaction.atomic
def request_download(*, actor: Actor, kind: str, filters: dict[str, str] | None = None) -> Download:
    """Ask for the events that meet the filters (of the REST list) as `jsonl` or `csv`, or for the `pack` of a use case or decision.

    jsonl and csv are ready at once and hold what is sealed now. Whole trail: auditors and administrators (NotAllowed); a use case: those
    who may see it (NotFound). Raises Invalid naming a filter, Conflict before anything was sealed or when five packs wait.
    """
    filters = {k: str(v) for k, v in (filters or {}).items() if v}
    if kind not in Download.Kind.values:
        raise Invalid("kind: choose jsonl, csv or pack.", errors={"kind": ["Unknown."]})
    for name in ("usecase", "decision"):
        _check_id(name, filters.get(name, ""))
    check_scope(actor, filters.get("usecase", ""))
    checkpoint = selectors.latest_checkpoint()
    if checkpoint is None:
        raise Conflict("Nothing has been sealed yet. Check that the seal process runs (`./gatehouse doctor`), then try again.")
    made = Download(
        kind=kind, filters=filters, usecase_id=filters.get("usecase") or None, decision_id=filters.get("decision") or None,
        actor_id=actor.id, user_id=actor.user_id, requested_by=actor.label, expires_at=now() + KEEP,
    )  # fmt: skip
    if kind == Download.Kind.PACK:
        _check_pack(actor, filters)
    else:
        made.state, made.tree_size = Download.State.READY, checkpoint.tree_size
        made.total = rows.count(actor, filters, tree_size=checkpoint.tree_size)
    made.save()
    services.record(
        "audit.download.requested", actor=actor, obj_type="download", obj_id=str(made.id), obj_label=kind,
        usecase_id=filters.get("usecase"), decision_id=filters.get("decision"),
        after={"kind": kind, "filters": filters, "tree_size": made.tree_size, "events": made.total if made.tree_size else None},
    )  # fmt: skip
    return made


def _check_id(name: str, given: str) -> None:
    try:
        UUID(given or "0" * 32)
    except ValueError as error:
        raise Invalid(
            f"{name}_id: give the id of a {name.replace('usecase', 'use case')}, as its page or REST shows it.",
            errors={f"{name}_id": ["Not an id."]},
        ) from error


def check_scope(actor: Actor, usecase_id: str) -> None:
    """That the actor may take this part of the trail away."""
    if actor.sees_everything:
        return
    if not usecase_id:
        raise NotAllowed("Only auditors and administrators export the whole trail. Name a use case you may see.")
    if usecase_id not in {str(u) for u in selectors.visible_usecases(actor)}:
        raise NotFound("There is no such use case, or you may not see it. Check its id.")


def _check_pack(actor: Actor, filters: dict[str, str]) -> None:
    if not filters.get("usecase"):
        raise Invalid("usecase_id: name the use case the pack is of.", errors={"usecase_id": ["Needed for a pack."]})
    if extra := sorted(set(filters) - {"usecase", "decision"}):
        raise Invalid(f"{extra[0]}: a pack is of a use case or a decision and takes no filter.", errors={extra[0]: ["Not for a pack."]})
    waiting = Download.objects.visible_to(actor).filter(actor_id=actor.id, kind="pack", state__in=["waiting", "working"]).count()
    if waiting >= MAX_WAITING:
        raise Conflict(f"{waiting} packs of yours are being put together. Wait for one of them.")


# --- taking it ----------------------------------------------------------------------------------------


@transaction.atomic
def take(*, actor: Actor, download_id: Any, after: int = -1) -> Download:
    """Note that the file is taken, from the event after leaf `after`, or a pack from byte `after` + 1. Raises Expired, Conflict, NotFound."""
    found = download(actor, download_id)
    check_scope(actor, str(found.usecase_id or ""))
    if found.state == Download.State.EXPIRED or found.expires_at <= now():
        raise Expired("The file was kept for a day. Ask for it again.")
    if found.state != Download.State.READY:
        raise Conflict(f"The file is {found.state}. {found.detail or 'Wait until it is ready.'}")
    services.record(
        "audit.download.taken", actor=actor, obj_type="download", obj_id=str(found.id), obj_label=found.kind,
        usecase_id=str(found.usecase_id) if found.usecase_id else None, decision_id=str(found.decision_id) if found.decision_id else None,
        after={"kind": found.kind, "filters": found.filters, "tree_size": found.tree_size, "after": after, "sha256": found.sha256 or None},
    )  # fmt: skip
    return found


def filename(found: Download) -> str:
    """What the file is called."""
    ending = {"pack": "zip"}.get(found.kind, found.kind)
    what = "evidence" if found.kind == "pack" else "audit"
    return f"{what}-{slugify(str(found.decision_id or found.usecase_id or 'trail'))}-{found.created_at:%Y%m%dT%H%M%SZ}.{ending}"


def content(actor: Actor, found: Download, *, after: int = -1) -> Iterator[bytes]:
    """The bytes of a file that `take` has let through, at constant memory."""
    if found.kind == Download.Kind.PACK:
        return _pieces(found, after + 1)
    return _told(actor, found, after)


def _pieces(found: Download, start: int) -> Iterator[bytes]:
    first, skip = divmod(start, PIECE_BYTES)
    for number in range(first, -(-(found.size_bytes or 0) // PIECE_BYTES)):
        data = bytes(Piece.objects.values_list("data", flat=True).get(download=found, number=number))
        yield data[skip:] if number == first else data


def _told(actor: Actor, found: Download, after: int) -> Iterator[bytes]:
    size = found.tree_size or 0
    checkpoint = Checkpoint.objects.get(tree_size=size)
    write = _lines(checkpoint) if found.kind == Download.Kind.JSONL else _table
    if after < 0:
        yield _header(found, checkpoint) if found.kind == Download.Kind.JSONL else (",".join(COLUMNS) + "\r\n").encode()
    number = 0
    for batch in rows.pages(actor, found.filters, after=after, tree_size=size):
        for start in range(0, len(batch), AT_ONCE):
            yield write(batch[start : start + AT_ONCE])
        number += len(batch)
        if number % (50 * rows.BATCH) == 0:
            Download.objects.filter(id=found.id, done__lt=number).update(done=number)
    Download.objects.filter(id=found.id).update(done=found.total)
    if found.kind == Download.Kind.JSONL:
        yield (canonical_json({"end": True, "events": found.total}) + "\n").encode()


def _header(found: Download, checkpoint: Checkpoint) -> bytes:
    whole = not any(found.filters.values())
    document = {
        "format": LINES_FORMAT, "scope": {"kind": "trail"} if whole else {"kind": "filtered", "filters": found.filters},
        "events": found.total, "tree_size": found.tree_size, "checkpoint": checkpoint.note, "public_keys": public_keys(),
        "exported_at": iso(found.created_at), "exported_by": found.requested_by,
    }  # fmt: skip
    return (canonical_json(document) + "\n").encode()


def _lines(checkpoint: Checkpoint) -> Any:
    prover = Prover(checkpoint.tree_size, bytes(checkpoint.root))

    def write(batch: list[rows.Row]) -> bytes:
        # The event's own text last and as it is: whoever reads the line finds the hashed bytes in it.
        made = [f'{{"leaf_index":{index},"path":{prover.path(index, payload)},"event":{payload}}}\n' for index, payload in batch]
        return "".join(made).encode()

    return write


def _table(batch: list[rows.Row]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    for index, payload in batch:
        e = json.loads(payload)
        who, what = e["actor"], e["object"]
        told = [json.dumps(e[side], ensure_ascii=False, sort_keys=True) if e[side] else "" for side in ("before", "after")]
        values = (
            index, e["id"], e["occurred_at"], e["action"], catalogue.meaning(e["action"]), who["kind"], who["id"], who["label"],
            who["on_behalf_of"], what["type"], what["id"], what["label"], e["usecase_id"], e["decision_id"], e["request_id"], e["reason"],
            *told,
        )  # fmt: skip
        writer.writerow([cell(v) for v in values])
    return out.getvalue().encode()


# --- putting packs together ---------------------------------------------------------------------------


def to_prepare() -> list[Download]:
    """Packs that wait, and those whose worker has fallen silent; oldest first. Not filtered by person."""
    silent = Q(state=Download.State.WORKING, worked_at__lt=now() - SILENT_AFTER)
    return list(Download.objects.filter(Q(state=Download.State.WAITING) | silent, kind="pack").order_by("id")[:20])


@transaction.atomic
def _claim(download_id: Any) -> Download | None:
    found = Download.objects.select_for_update(skip_locked=True).filter(id=download_id).first()
    silent = found is not None and found.worked_at is not None and found.worked_at < now() - SILENT_AFTER
    if found is None or not (found.state == Download.State.WAITING or (found.state == Download.State.WORKING and silent)):
        return None
    found.state, found.worked_at, found.done = Download.State.WORKING, now(), 0
    found.save(update_fields=["state", "worked_at", "done"])
    return found


def prepare(*, actor: Actor, owner: Actor | None, download_id: Any, out_of_time: type[Exception] = TimeoutError) -> Download | None:
    """Put one pack together as its owner may see it (None: the account is closed). Not in a transaction; safe to repeat, and by two at once.

    out_of_time: what the caller raises in here when its time is over. None is returned when there is nothing to do, or another does it.
    """
    found = call(_claim, download_id)
    if found is None:
        return None
    try:
        if owner is None:
            raise NotAllowed("The account that asked for it is closed.")
        check_scope(owner, str(found.usecase_id))
        return _prepare(actor, owner, found)
    except (DomainError, SealBroken) as error:
        said = error.detail if isinstance(error, DomainError) else f"The trail does not match its seal: {error}."
    except out_of_time:
        log.warning("the pack %s took too long", found.id)
        said = "It took longer than a pack may take. Ask for the pack of one decision, or ask again when the portal has less to do."
    except Exception:
        log.exception("a pack could not be put together")
        said = "The portal failed; its log says why. Ask for the pack again."
    call(_fail, found.id, said)
    return Download.objects.get(id=found.id)


def _fail(download_id: Any, detail: str) -> None:
    Download.objects.filter(id=download_id).update(state=Download.State.FAILED, detail=detail, step="")


def _prepare(actor: Actor, owner: Actor, found: Download) -> Download:
    def progress(step: str, done: int, total: int) -> None:
        Download.objects.filter(id=found.id).update(step=step, done=done, total=total, worked_at=now())

    contents: pack.Contents = import_string(settings.AUDIT_PACK_CONTENTS)(
        owner, str(found.usecase_id), found.decision_id and str(found.decision_id)
    )
    with tempfile.TemporaryFile() as target:
        size = pack.write(target, actor=actor, owner=owner, download=found, contents=contents, progress=progress)
        target.seek(0)
        digest = hashlib.file_digest(target, "sha256").hexdigest()  # type: ignore[arg-type]
        target.seek(0)
        return call(_keep, found.id, target, digest, size)


def _keep(download_id: Any, target: Any, digest: str, tree_size: int) -> Download:
    found: Download = Download.objects.select_for_update().get(id=download_id)
    found.pieces.all().delete()
    length = number = 0
    while data := target.read(PIECE_BYTES):
        Piece.objects.create(download=found, number=number, data=data)
        number, length = number + 1, length + len(data)
    found.state, found.size_bytes, found.sha256, found.tree_size = Download.State.READY, length, digest, tree_size
    found.step, found.detail, found.expires_at, found.done = "", "", now() + KEEP, found.total
    found.save()
    return found


@transaction.atomic
def sweep() -> int:
    """Throw away what has expired; that it was asked for and taken stays in the trail. Returns how many files."""
    due = Download.objects.filter(expires_at__lte=now()).exclude(state=Download.State.EXPIRED)
    ids = list(due.values_list("id", flat=True)[:1000])
    Piece.objects.filter(download_id__in=ids).delete()
    return Download.objects.filter(id__in=ids).update(state=Download.State.EXPIRED)
