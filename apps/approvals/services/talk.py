"""Comments and questions on a gate, files beside an answer, and reading them."""

import hashlib
from typing import Any

from django.db import transaction

from apps.approvals import rules, selectors, talk_rules
from apps.approvals.models import Attachment, Comment, Gate
from apps.approvals.services import news
from apps.approvals.services.requests import check_answerer, locked
from apps.audit import services as audit
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound


@transaction.atomic
def comment(*, actor: Actor, gate_id: Any, text: str, kind: str = "comment", answers: Any = None) -> Comment:
    """Say or ask something on a gate, or answer what was said there (`answers`: its id). Whoever sees the gate reads it."""
    gate = selectors.gate(actor, gate_id)
    person = talk_rules.check_may_comment(actor)
    text = talk_rules.check_comment(text, kind)
    to = gate.comments.filter(id=answers).first() if answers else None
    if answers and to is None:
        raise NotFound("answers: there is no such comment on this gate. Reload the page.")
    row = Comment.objects.create(gate=gate, by_id=person, kind=kind, text=text, answers=to, at=now())
    audit.record(
        "approvals.gate.commented", actor=actor, obj_type="gate", obj_id=str(gate.id), obj_label=str(gate), usecase_id=str(gate.usecase_id),
        after={"comment": str(row.id), "kind": kind, "text": text, "answers": str(to.id) if to else None},
    )  # fmt: skip
    news.commented(actor, gate, row)
    return row


@transaction.atomic
def attach(*, actor: Actor, gate_id: Any, item: str, name: str, content: bytes) -> Attachment:
    """Put a small file beside the answer to an item of a draft; its digest becomes part of the evidence.

    Raises Invalid naming the field for a file that is empty, too large or of a kind that is not taken, Conflict when it is there.
    """
    gate = locked(actor, gate_id)
    rules.check_state(gate.state, Gate.State.DRAFT)
    person = check_answerer(actor, gate, item)
    name, content_type = talk_rules.check_file(name, content)
    there = gate.attachments.filter(item=item)
    talk_rules.check_count(there.count())
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    if there.filter(digest=digest).exists():
        raise Conflict("content: this file is attached to the item already.", errors={"content": ["Attached already."]})
    row = Attachment.objects.create(
        gate=gate, item=item, name=name, content_type=content_type, size=len(content), digest=digest, content=content, by_id=person, at=now()
    )
    audit.record(
        "approvals.attachment.added", actor=actor, obj_type="attachment", obj_id=str(row.id), obj_label=name, usecase_id=str(gate.usecase_id),
        after={"gate": str(gate.id), "item": item, "digest": digest, "size": row.size},
    )  # fmt: skip
    return row


@transaction.atomic
def read_attachment(*, actor: Actor, gate_id: Any, attachment_id: Any) -> Attachment:
    """One file of a gate that the actor sees, with its content; the trail says who took it."""
    gate = selectors.gate(actor, gate_id)
    row: Attachment | None = gate.attachments.filter(id=attachment_id).first()
    if row is None:
        raise NotFound("There is no such file on this gate. Reload the page.")
    audit.record(
        "approvals.attachment.read", actor=actor, obj_type="attachment", obj_id=str(row.id), obj_label=row.name,
        usecase_id=str(gate.usecase_id), after={"gate": str(gate.id), "digest": row.digest},
    )  # fmt: skip
    return row
