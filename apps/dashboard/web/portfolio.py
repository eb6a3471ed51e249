"""The portfolio: every use case a person may see, by stage."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts.web.access import page
from apps.approvals.models import Gate
from apps.approvals.web.reads import inbox
from apps.core.actor import Actor, Role
from apps.dashboard import selectors_portfolio as reads
from apps.dashboard.web.exports import download

COLUMNS = (
    "use case", "address", "stage", "days in stage", "risk tier", "owner", "sponsor", "KPI", "unit", "now", "baseline", "target", "floor",
    "attainment", "model version", "value realised", "run cost", "currency", "open gate", "open incidents",
)  # fmt: skip
MAX_EXPORT = 5_000


@require_GET
@page
def portfolio(request: HttpRequest) -> HttpResponse:
    """Use cases by stage, with age, KPI, value and what they wait for; filters stand in the address."""
    actor = request.actor  # type: ignore[attr-defined]
    filters = reads.Filters.read(request.GET)
    paginator = Paginator(reads.found(actor, filters), reads.PER_PAGE)
    shown = paginator.get_page(request.GET.get("page"))
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        "overview": reads.overview(actor),
        "filters": filters,
        "shown": shown,
        "rows": reads.rows(list(shown.object_list)),
        "tiers": reads.rules.TIERS,
        "needs": [] if filters or shown.number > 1 else reads.needs(actor, _asked(actor)),
        "answers_for": actor.has_role(Role.STAKEHOLDER, Role.APPROVER, Role.ML_ENGINEER),
        "may_create": actor.is_admin or actor.has_role(Role.STAKEHOLDER, Role.APPROVER, Role.ML_ENGINEER),
        "query": query.urlencode(),
    }
    return render(request, "dashboard/portfolio.html", context)


def _asked(actor: Actor) -> list[tuple[Gate, str]]:
    """Gates that wait for this person, with what they are asked."""
    waiting = inbox(actor)
    return [(row.gate, "your signature is asked") for row in waiting.sign] + [
        (row.gate, f"{len(row.items)} answer{'' if len(row.items) == 1 else 's'} asked of you") for row in waiting.answer
    ]


@require_GET
@page
def as_csv(request: HttpRequest) -> HttpResponse:
    """The same rows as a file, all pages of them."""
    actor = request.actor  # type: ignore[attr-defined]
    found = reads.rows(list(reads.found(actor, reads.Filters.read(request.GET))[:MAX_EXPORT]))
    return download("portfolio.csv", COLUMNS, (_line(request, row) for row in found))


def _line(request: HttpRequest, row: reads.Row) -> list[object]:
    usecase, kpi, head = row.usecase, row.kpi, row.head
    return [
        usecase.name, request.build_absolute_uri(f"/usecases/{usecase.slug}/"), usecase.stage, row.days, usecase.risk_tier,
        usecase.owner.full_name, usecase.sponsor.full_name if usecase.sponsor else "",
        *((kpi.name, kpi.unit, head["value"], head["baseline"], kpi.target, kpi.floor, head["attainment"].state, head["version_label"]) if kpi and head else [""] * 8),
        row.money, row.cost, usecase.currency, str(row.gate) if row.gate else "", row.incidents,
    ]  # fmt: skip
