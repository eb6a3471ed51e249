"""Who gets through to MLflow with what: every role, every admitted route, an object in sight, one out of sight, one that is decided.

MLflow is not there: what would go on to it is written down, and a test that sees something go on which must not fails.
"""

import json
import re
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.test import Client

from apps.accounts import services as accounts
from apps.audit.models import Event
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.registry.gateways import forward, locate
from apps.registry.machine import routes
from apps.registry.machine.routes import refused
from apps.registry.models import AliasRecord, ModelVersion, RegisteredModel
from apps.usecases import services as usecases
from tests.registry.conftest import text
from tests.registry_endpoint.governed import govern
from tests.registry_endpoint.matrix import ALWAYS, EMPTY, HIDDEN, LEFT_OUT, NOTHING, ONCE_DECIDED, OURS, ROWS, TOLD, UNDECIDED

pytestmark = pytest.mark.django_db
CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST"}
# The rights of each to what they see; `out` is whether the hidden model is out of their sight. Its owner is no stranger to it.
READ, WORK = {"read"}, {"read", "log", "register"}
PEOPLE = {
    "stakeholder": ("stakeholder", READ, True),
    "approver": ("approver:risk", READ, True),
    "auditor": ("auditor", READ, False),
    "engineer, a stranger": ("ml_engineer", WORK, True),
    "engineer, the owner": ("ml_engineer", WORK | {"edit"}, False),
    "administrator": ("admin", WORK | {"edit", "delete"}, False),
}
PLACED = (
    ("run", "run"),
    ("loggedmodel", "logged"),
    ("trace", "trace"),
    ("labelschema", "schema"),
    ("reviewqueue", "queue"),
    ("issue", "issue"),
)
OBJECTS = ("seen", "hidden", "decided")
NUMBERS = {"seen": "910001", "hidden": "910002", "decided": "910003"}


def names_of(which):
    digit = NUMBERS[which][-1]
    return {
        "model": f"model-{which}", "experiment": NUMBERS[which], "run": digit * 32, "logged": "m-" + digit * 32, "trace": "tr-" + digit * 32,
        "dataset": "d-" + digit * 32, "schema": "ls-" + digit * 32, "queue": "rq-" + digit * 32, "issue": "iss-" + digit * 32,
    }  # fmt: skip


def filled(value, names):
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda m: names[m[1]], value)
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    return [filled(each, names) for each in value] if isinstance(value, list) else value


def spans():
    """One span of a new trace, as OpenTelemetry writes it."""
    message = b"\x0a\x10" + b"n" * 16
    for tag in (b"\x12", b"\x12", b"\x0a"):
        message = tag + bytes([len(message)]) + message
    return message


class Upstream:
    """In place of MLflow: says of everything where it belongs, refuses every write, and remembers what it was asked."""

    def __init__(self):
        self.asked, self.about = [], "seen"

    def send(self, method, path, *, query="", headers, content=None, meanwhile=None):
        if meanwhile is not None:
            # What it raises ends the connection: no answer is taken, so nothing was asked.
            meanwhile()
        self.asked.append((method, path))
        if not (content is None or isinstance(content, bytes)):
            b"".join(content)
        route = routes.match(method, path)
        if route is not None and route[0].kind == routes.WRITE:
            return Answer(400, {"error_code": "BAD_REQUEST", "message": "MLflow was asked"})
        return Answer(200, b"<html><head></head><body></body></html>" if path == "/" else self.said())

    def said(self):
        place = {"experiment_id": NUMBERS[self.about]}
        every = [names_of(which) for which in OBJECTS]
        return {
            "experiment": place, "run": {"info": place}, "model": {"info": place}, "experiment_ids": [NUMBERS[self.about]],
            "label_schema": place, "review_queue": place, "issue": place, "trace_info": place, "trace": {"trace_info": {"trace_location": {"mlflow_experiment": place}}},
            "registered_models": [{"name": n["model"]} for n in every], "model_versions": [{"name": n["model"]} for n in every],
            "experiments": [{"experiment_id": n["experiment"]} for n in every],
            "datasets": [{"dataset_id": n["dataset"], "experiment_ids": [n["experiment"]]} for n in every],
        }  # fmt: skip

    def call(self, method, path, **_):
        """What the portal itself asks, to know where something belongs."""
        for which in OBJECTS:
            if path.endswith(f"/{names_of(which)['dataset']}/experiment-ids"):
                return {"experiment_ids": [NUMBERS[which]]}
        raise NotFound("There is none.")


class Answer:
    def __init__(self, status, said):
        self.status, self.headers = status, {"Content-Type": "application/json"}
        self._data = said if isinstance(said, bytes) else json.dumps(said).encode()

    def read(self, most_bytes):
        return self._data

    def close(self):
        pass

    def __iter__(self):
        return iter([self._data])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def upstream(monkeypatch):
    there = Upstream()
    monkeypatch.setattr(forward, "send", there.send)
    monkeypatch.setattr(locate, "call", there.call)
    locate.forget()
    for which in OBJECTS:
        names = names_of(which)
        for kind, key in PLACED:
            locate.note(kind, names[key], names["experiment"])
    yield there
    locate.forget()


@pytest.fixture
def world(make_user, actor_of, decide):
    """Three models of one owner, two in a use case that everybody sees and one in another; returns person -> User."""
    people = {who: make_user(role) for who, (role, _, _) in PEOPLE.items()}
    for which in OBJECTS:
        names = names_of(which)
        model = RegisteredModel.objects.create(name=names["model"], owner=people["engineer, the owner"])
        version = ModelVersion.objects.create(
            model=model, version=1, run_id=names["run"], experiment_id=names["experiment"], status="ready",
            source=f"mlflow-artifacts:/{names['experiment']}/models/{names['logged']}/artifacts",
            artifact_root=f"{names['experiment']}/{names['run']}/artifacts/model", artifact_digest="sha256:" + names["run"][0] * 64,
        )  # fmt: skip
        if which == "decided":
            decide(version)
            AliasRecord.objects.create(model=model, version=version, alias="champion", set_by="tests", set_at=now())
    usecase = govern("model-seen", "model-decided", person=people["stakeholder"])
    for who in ("approver", "engineer, a stranger"):
        usecases.give_access(actor=actor_of(people["stakeholder"]), usecase_id=usecase.id, user=people[who], level="view")
    govern("model-hidden")
    return people


def ask(token, row, names):
    path, said = filled(row.path, names), filled(row.said, names)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if row.method == "GET":
        return Client(headers=headers).get(f"/mlflow{path}{'?' + urlencode(said) if said else ''}")
    if said == "spans":
        headers["X-Mlflow-Experiment-Id"] = names["experiment"]
        return Client(headers=headers).generic(row.method, f"/mlflow{path}", spans(), content_type="application/x-protobuf")
    data, kind = (b"words", "application/octet-stream") if said == "file" else (json.dumps(said).encode(), "application/json")
    return Client(headers=headers).generic(row.method, f"/mlflow{path}", data, content_type=kind)


def expected(row, rights, out, which):
    """(status, whether MLflow is asked) by the contract."""
    write = row.needs != "read"
    if out and which == "hidden" and row.out_of_sight not in {NOTHING, OURS}:
        if row.out_of_sight == EMPTY:
            return 200, False
        return (404, row.out_of_sight == TOLD) if row.out_of_sight != LEFT_OUT else (200, True)
    if row.needs not in rights:
        return 403, False
    if row.frozen == ALWAYS or (row.frozen == ONCE_DECIDED and which == "decided") or (row.frozen == UNDECIDED and which != "decided"):
        return 403, False
    return (400 if write else 200), row.out_of_sight != OURS


def in_mlflows_words(answer, status):
    said = json.loads(text(answer))
    return set(said) == {"error_code", "message"} and said["error_code"] == CODES[status] and said["message"].endswith((".", ")"))


@pytest.mark.parametrize("who", PEOPLE)
def test_each_person_gets_through_with_what_the_contract_allows_and_with_nothing_else(world, upstream, actor_of, who):
    _, rights, out = PEOPLE[who]
    _, token = accounts.issue_token(actor=actor_of(world[who]), user=world[who], name="matrix", scopes=["mlflow"])
    wrong, refused_writes, passed_writes = [], 0, 0
    # Nobody can take out of the trail what tests of real commits left there.
    denied, written = (Event.objects.filter(action=f"registry.mlflow.{what}") for what in ("denied", "written"))
    before = denied.count(), written.count()
    for row in ROWS:
        for which in OBJECTS[:1] if row.out_of_sight in {NOTHING, OURS} else OBJECTS:
            upstream.asked, upstream.about = [], which
            answer = ask(token, row, names_of(which))
            status, asked = expected(row, rights, out, which)
            said = text(answer)
            found = SimpleNamespace(status=answer.status_code, asked=bool(upstream.asked))
            case = f"{which}: {row.name}: {found.status}{', asked' if found.asked else ''} {said[:160]}; expected {status}, {asked}"
            if (found.status, found.asked) != (status, asked) or (status == 400 and "MLflow was asked" not in said):
                wrong.append(case)
            elif status in CODES and not in_mlflows_words(answer, status):
                wrong.append(f"not in MLflow's words: {case}")
            elif status == 403 and row.needs in rights and "http" not in json.loads(said)["message"]:
                wrong.append(f"says not where the gate is requested: {case}")
            elif row.out_of_sight == LEFT_OUT and (names_of("hidden")["model"] in said or NUMBERS["hidden"] in said) is out:
                wrong.append(f"shows what is hidden: {case}")
            elif row.out_of_sight == EMPTY and not asked and json.loads(said) != {}:
                wrong.append(f"finds something: {case}")
            if row.needs != "read":
                refused_writes, passed_writes = refused_writes + (not asked), passed_writes + asked
    assert not wrong, f"{len(wrong)} of {len(ROWS)} rows:\n" + "\n".join(wrong)
    assert (denied.count(), written.count()) == (before[0] + refused_writes, before[1] + passed_writes)


def test_nobody_gets_through_with_anything(world, upstream, actor_of):
    """Without a token, with a wrong one, with one that has ended, and with one for another door."""
    admin = world["administrator"]
    _, other = accounts.issue_token(actor=actor_of(admin), user=admin, name="other door", scopes=["read", "write"])
    row_of_token, ended = accounts.issue_token(actor=actor_of(admin), user=admin, name="ended", scopes=["mlflow"])
    accounts.revoke_token(actor=actor_of(admin), token_id=row_of_token.id)
    wrong = []
    for token, status in (("", 401), ("gh_" + "0" * 40, 401), (ended, 401), (other, 403)):
        for row in ROWS:
            answer = ask(token, row, names_of("seen"))
            if answer.status_code != status or not in_mlflows_words(answer, status):
                wrong.append(f"{status}: {row.name}: {answer.status_code} {text(answer)[:160]}")
    assert not wrong, "\n".join(wrong)
    assert upstream.asked == []


@pytest.mark.parametrize("who", ["engineer, the owner", "administrator"])
def test_what_is_refused_by_name_is_refused_to_all(world, upstream, actor_of, who):
    _, token = accounts.issue_token(actor=actor_of(world[who]), user=world[who], name="matrix", scopes=["mlflow"])
    wrong = []
    for name, (status, sentence, _) in refused.NAMED.items():
        for method, path in refused.lines(name):
            answer = Client(headers={"Authorization": f"Bearer {token}"}).generic(method, f"/mlflow{path.replace('{}', 'x')}", b"")
            odd = path.endswith("/") and answer.status_code == 400
            if not odd and (answer.status_code != status or json.loads(text(answer))["message"] != sentence):
                wrong.append(f"{method} {path}: {answer.status_code} {text(answer)[:160]}")
    assert not wrong, "\n".join(wrong)
    assert upstream.asked == []


def test_the_matrix_asks_every_admitted_route():
    """And of no row does the code think otherwise what kind of request it is."""
    found = {row.name: routes.match(row.method, filled(row.path, names_of("seen"))) for row in ROWS}
    assert not [name for name, route in found.items() if route is None]
    assert {route[0].name for route in found.values()} == {route.name for route in routes.ROUTES}
    assert {row.out_of_sight for row in ROWS} == {HIDDEN, TOLD, EMPTY, LEFT_OUT, NOTHING, OURS}
