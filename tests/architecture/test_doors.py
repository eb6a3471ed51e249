"""Every change that a page makes can be made through the API too, by the same service."""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator

from apps.dashboard.web import edits, kpi_forms

# page route -> (method and path of the API's operation, name of the service that both call)
DOORS: dict[str, tuple[str, str]] = {
    "account/": ("POST tokens/", "issue_token"),
    "account/tokens/<uuid:token_id>/revoke/": ("DELETE tokens/{token_id}/", "revoke_token"),
    "account/password/": ("POST users/{user_id}/password/", "set_password"),
    "people/": ("POST users/", "create_user"),
    "people/<uuid:user_id>/roles/": ("POST users/{user_id}/roles/", "assign_role"),
    "people/<uuid:user_id>/roles/remove/": ("DELETE users/{user_id}/roles/", "remove_role"),
    "people/<uuid:user_id>/close/": ("DELETE users/{user_id}/", "deactivate_user"),
    "account/codes/": ("POST me/second-factor/", "begin_second_factor"),
    "account/codes/confirm/": ("PUT me/second-factor/", "confirm_second_factor"),
    "account/codes/remove/": ("POST users/{user_id}/second-factor/remove/", "remove_second_factor"),
    "people/<uuid:user_id>/codes/remove/": ("POST users/{user_id}/second-factor/remove/", "remove_second_factor"),
    "endpoints/new/": ("POST endpoints/", "create_endpoint"),
    "endpoints/<slug:slug>/deploy/": ("POST deployments/", "request_deployment"),
    "endpoints/<slug:slug>/roll-back/": ("POST endpoints/{reference}/roll-back/", "roll_back"),
    "endpoints/<slug:slug>/rehearse/": ("POST endpoints/{reference}/rehearse-rollback/", "rehearse_rollback"),
    "endpoints/<slug:slug>/keys/": ("POST endpoints/{reference}/keys/", "issue_key"),
    "endpoints/<slug:slug>/keys/<uuid:key_id>/revoke/": ("DELETE endpoints/{reference}/keys/{key_id}/", "revoke_key"),
    "endpoints/<slug:slug>/deployments/<uuid:deployment_id>/stop/": ("POST deployments/{deployment_id}/stop/", "stop_deployment"),
    "load-tests/start/": ("POST load-tests/", "request_run"),
    "endpoints/<slug:slug>/monitoring/create/<str:kind>/": ("POST monitors/", "create_monitor"),
    "endpoints/<slug:slug>/monitoring/monitors/<uuid:monitor_id>/judge/": ("POST monitors/{monitor_id}/evaluate/", "evaluate_monitor"),
    "endpoints/<slug:slug>/monitoring/monitors/<uuid:monitor_id>/retire/": ("DELETE monitors/{monitor_id}/", "retire_monitor"),
    "endpoints/<slug:slug>/monitoring/incidents/": ("POST incidents/", "open_incident"),
    "endpoints/<slug:slug>/monitoring/incidents/<uuid:incident_id>/close/": ("POST incidents/{incident_id}/close/", "close_incident"),
    "policies/new/": ("POST policies/", "publish"),
    "usecases/<slug:slug>/phases/": ("POST usecases/{ref}/phases/", "plan_phase"),
    "usecases/<slug:slug>/phases/<uuid:phase_id>/change/": ("PATCH phases/{phase_id}/", "change_phase"),
    "usecases/<slug:slug>/phases/<uuid:phase_id>/drop/": ("DELETE phases/{phase_id}/", "drop_phase"),
    "usecases/<slug:slug>/phases/<uuid:phase_id>/gate/": ("POST gates/", "open_gate"),
    "usecases/<slug:slug>/phases/<uuid:phase_id>/close/": ("POST phases/{phase_id}/close/", "close_phase"),
    "endpoints/<slug:slug>/keys/<uuid:key_id>/group/": ("PATCH endpoints/{reference}/keys/{key_id}/", "assign_key"),
    "policies/check/": ("POST policies/check/", "check_policy"),
    "gates/new/": ("POST gates/", "open_gate"),
    "delegations/": ("POST delegations/", "delegate"),
    "delegations/<uuid:delegation_id>/end/": ("DELETE delegations/{delegation_id}/", "end_delegation"),
    "gates/<uuid:gate_id>/comments/": ("POST gates/{gate_id}/comments/", "comment"),
    "gates/<uuid:gate_id>/attachments/": ("POST gates/{gate_id}/attachments/", "attach"),
    "gates/<uuid:gate_id>/waivers/": ("POST gates/{gate_id}/waivers/", "ask_waiver"),
    "gates/<uuid:gate_id>/waivers/<uuid:waiver_id>/sign/": ("POST waivers/{waiver_id}/signature/", "sign_waiver"),
    "gates/<uuid:gate_id>/answer/": ("POST gates/{gate_id}/attestations/", "attest"),
    "gates/<uuid:gate_id>/request/": ("POST gates/{gate_id}/request/", "request_gate"),
    "gates/<uuid:gate_id>/sign/": ("POST gates/{gate_id}/signatures/", "sign"),
    "gates/<uuid:gate_id>/withdraw/": ("POST gates/{gate_id}/withdraw/", "withdraw"),
    "gates/<uuid:gate_id>/revoke/": ("POST decisions/{decision_id}/revoke/", "revoke_decision"),
    "usecases/new/": ("POST usecases/", "create_usecase"),
    "usecases/<slug:slug>/tier/": ("POST usecases/{ref}/tier-exceptions/", "ask_tier"),
    "usecases/<slug:slug>/tier/<uuid:exception_id>/": ("POST tier-exceptions/{exception_id}/signature/", "sign_tier"),
    "rates/": ("POST rate-cards/", "set_rate_card"),
    "signing-keys/": ("POST signing-keys/", "trust_key"),
    "signing-keys/<uuid:key_id>/retire/": ("POST signing-keys/{key_id}/retire/", "retire_key"),
    "models/<str:name>/versions/<int:number>/": ("PATCH models/{name}/versions/{number}/card/", "save_card"),
    "notices/by-email/": ("PUT notices/by-email/", "choose_mail"),
    "webhooks/": ("POST webhooks/", "add_webhook"),
    "webhooks/<uuid:webhook_id>/change/": ("PATCH webhooks/{webhook_id}/", "change_webhook"),
    "webhooks/<uuid:webhook_id>/rotate-key/": ("POST webhooks/{webhook_id}/rotate-key/", "rotate_key"),
    "webhooks/<uuid:webhook_id>/test/": ("POST webhooks/{webhook_id}/test/", "test_webhook"),
    "webhooks/<uuid:webhook_id>/end/": ("DELETE webhooks/{webhook_id}/", "end_webhook"),
    "webhooks/deliveries/<uuid:delivery_id>/redeliver/": ("POST deliveries/{delivery_id}/redeliver/", "redeliver"),
    "models/<str:name>/owner/": ("PUT models/{name}/owner/", "assign_owner"),
    "models/<str:name>/failure-modes/": ("POST models/{name}/failure-modes/", "record_failure_mode"),
    "models/<str:name>/failure-modes/<uuid:failure_id>/": ("PATCH failure-modes/{failure_id}/", "change_failure_mode"),
    "models/<str:name>/versions/<int:number>/evaluations/": ("POST models/{name}/versions/{number}/evaluations/", "attach_evaluation"),
    "models/<str:name>/versions/<int:number>/evaluations/from-run/": (
        "POST models/{name}/versions/{number}/evaluations/from-run/",
        "attach_from_run",
    ),
    "datasets/<uuid:dataset_id>/": ("PATCH datasets/{dataset_id}/", "govern_dataset"),
    "models/<str:name>/versions/<int:number>/scan/": ("POST models/{name}/versions/{number}/scans/", "request_scan"),
    "trail/downloads/": ("POST audit/downloads/", "request_download"),
    "trail/export/": ("POST audit/exports/", "export_response"),
}
EDIT, KPI = "usecases/<slug:slug>/edit/<slug:what>/", "kpis/<uuid:kpi_id>/<slug:what>/"
# The two pages with many forms behind one route: the form's name -> the same.
FORMS: dict[str, dict[str, tuple[str, str]]] = {
    EDIT: {
        "words": ("PATCH usecases/{ref}/", "update_usecase"),
        "requirements": ("PUT usecases/{ref}/requirements/", "set_requirements"),
        "integrations": ("POST usecases/{ref}/integrations/", "add_integration"),
        "kpis": ("POST kpis/", "define_kpi"),
        "people": ("POST usecases/{ref}/access/", "give_access"),
        "take-access": ("DELETE usecases/{ref}/access/{user_id}/", "take_access"),
        "models": ("POST usecases/{ref}/models/", "link_model"),
        "fall-back": ("POST usecases/{ref}/fall-back/", "fall_back"),
        "hold": ("POST usecases/{ref}/hold/", "put_on_hold"),
        "resume": ("POST usecases/{ref}/resume/", "resume"),
        "stop": ("POST usecases/{ref}/stop/", "stop"),
    },
    KPI: {
        "record": ("POST kpis/{kpi_id}/measurements/", "record_measurements"),
        "paste": ("POST kpis/{kpi_id}/measurements/", "record_measurements"),
        "baseline": ("POST kpis/{kpi_id}/baselines/", "freeze_baseline"),
        "worth": ("POST kpis/{kpi_id}/value-conversion/", "set_value_conversion"),
        "definition": ("PATCH kpis/{kpi_id}/", "change_kpi"),
    },
}
# A browser's session is its own matter: scripts send a token.
OWN = {"sign-in/", "sign-in/code/", "sign-out/"}
SOURCES = {EDIT: edits, KPI: kpi_forms}


def _patterns(rows: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for row in rows:
        route = prefix + str(row.pattern)
        if isinstance(row, URLResolver):
            yield from _patterns(row.url_patterns, route)
        else:
            yield route, row


def _pages() -> dict[str, Any]:
    return {route: p.callback for route, p in _patterns(get_resolver().url_patterns) if ".web." in p.callback.__module__}


def _takes_posts(view: Any) -> bool:
    """What a view answers to a method that no page knows names those it knows."""
    answer = view(RequestFactory().generic("TRACE", "/"))
    assert answer.status_code == 405, f"{view.__module__}.{view.__name__} does not say which methods it takes"
    return "POST" in answer.headers["Allow"]


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """`METHOD path` -> the view of the API, for everything in its schema."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    known = {f"{m.upper()} {p.removeprefix('/api/v1/')}" for p, methods in schema["paths"].items() for m in methods}
    routes = ((route.removeprefix("api/v1/"), p) for route, p in _patterns(get_resolver().url_patterns) if route.startswith("api/v1/"))
    views = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route): p.callback for route, p in routes}
    return {operation: views[operation.split(" ", 1)[1]] for operation in known}


def test_every_page_that_takes_a_post_is_in_this_list_and_none_else():
    posts = {route for route, view in _pages().items() if _takes_posts(view)}
    assert posts - OWN == set(DOORS) | set(FORMS)
    assert set(edits.CHANGES) == set(FORMS[EDIT]) and set(kpi_forms.CHANGES) == set(FORMS[KPI])


def _doors() -> Iterator[Any]:
    for route, (operation, service) in DOORS.items():
        yield pytest.param(route, operation, service, id=route)
    for route, forms in FORMS.items():
        for form, (operation, service) in forms.items():
            yield pytest.param(route, operation, service, id=f"{route} {form}")


@pytest.mark.parametrize(("route", "operation", "service"), list(_doors()))
def test_the_api_does_the_same_by_the_same_service(operations, route, operation, service):
    assert operation in operations
    page = SOURCES.get(route) or sys.modules[_pages()[route].__module__]
    for module in (page, sys.modules[operations[operation].view_class.__module__]):
        assert re.search(rf"\b{service}\b", inspect.getsource(module)), f"{module.__name__} does not call {service}"
