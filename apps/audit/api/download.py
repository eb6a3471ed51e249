"""An export as a download: what the REST door and the page share."""

import tempfile

from django.http import FileResponse

from apps.audit import selectors, services
from apps.core import doors
from apps.core.actor import Actor

SPOOL_BYTES = 8 * 1024 * 1024


def export_response(actor: Actor, *, usecase_id: str | None) -> FileResponse:
    """Wait a moment for the sealer, export in one durable transaction, and answer with the ZIP.

    The file has no name on disk and is gone when the answer is sent.
    """
    left_out = selectors.wait_until_sealed(usecase_id=usecase_id) if actor.sees_everything or usecase_id else 0
    target = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  the response closes it
    try:
        made = doors.call(services.export, actor=actor, target=target, usecase_id=usecase_id, left_out=left_out)
    except BaseException:
        target.close()
        raise
    response = FileResponse(target, as_attachment=True, filename=made.filename, content_type="application/zip")
    response["X-Gatehouse-Audit-Event"] = str(made.event.id)
    response["X-Gatehouse-Tree-Size"] = str(made.tree_size)
    response["Cache-Control"] = "no-store"
    return response
