"""Codes from a generator: at sign-in, with a password given again, once each."""

from datetime import timedelta

import pyotp
import pytest

from apps.accounts import doors, services
from apps.accounts.models import SecondFactor
from apps.audit.models import Event
from apps.core import clock
from apps.core.doors import call
from apps.core.errors import Conflict, CredentialsRefused, Invalid, NotAllowed, NotFound, TooMany
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def person(make_user):
    return make_user("approver:risk")


@pytest.fixture
def generator(person, actor_of):
    """The person's confirmed generator, with `.recovery` codes; the code used for confirming is used up."""
    seed, _ = services.begin_second_factor(actor=actor_of(person))
    made = pyotp.TOTP(seed)
    with clock.fixed(clock.now() - timedelta(minutes=2)):
        made.recovery = doors.confirm_second_factor(actor=actor_of(person), password=PASSWORD, code=made.at(clock.now()))
    return made


def code(generator, seconds: float = 0) -> str:
    return generator.at(clock.now() + timedelta(seconds=seconds))


def test_nothing_is_asked_for_until_a_code_proves_the_generator(person, actor_of):
    seed, address = services.begin_second_factor(actor=actor_of(person))
    assert address.startswith("otpauth://totp/Gatehouse:") and services.verify_again(user=person, password=PASSWORD) == "password"
    assert seed not in SecondFactor.objects.get().seed_box
    with pytest.raises(CredentialsRefused):
        doors.confirm_second_factor(actor=actor_of(person), password=PASSWORD, code="000000")
    with pytest.raises(CredentialsRefused):
        doors.confirm_second_factor(actor=actor_of(person), password="wrong", code=pyotp.TOTP(seed).now())
    assert Event.objects.filter(action="accounts.session.refused").count() == 2
    codes = doors.confirm_second_factor(actor=actor_of(person), password=PASSWORD, code=pyotp.TOTP(seed).now())
    assert len(set(codes)) == 10
    with pytest.raises(Conflict):
        services.begin_second_factor(actor=actor_of(person))


def test_password_alone_no_longer_suffices_and_a_code_works_once(person, generator):
    with pytest.raises(CredentialsRefused) as refused:
        services.verify_again(user=person, password=PASSWORD)
    assert "code" in refused.value.errors
    now = code(generator)
    with pytest.raises(CredentialsRefused):
        services.verify_again(user=person, password="wrong", code=now)
    assert call(services.verify_again, user=person, password=PASSWORD, code=now) == "password and totp"
    with pytest.raises(CredentialsRefused):
        call(services.verify_again, user=person, password=PASSWORD, code=now)


@pytest.mark.parametrize(("seconds", "good"), [(-30, True), (30, True), (-90, False), (90, False)])
def test_clocks_may_differ_by_a_step(person, generator, seconds, good):
    if good:
        assert call(services.verify_again, user=person, password=PASSWORD, code=code(generator, seconds)) == "password and totp"
    else:
        with pytest.raises(CredentialsRefused):
            call(services.verify_again, user=person, password=PASSWORD, code=code(generator, seconds))


def test_a_recovery_code_works_once_and_is_in_the_trail(person, generator):
    text = generator.recovery[3].upper()
    assert call(services.verify_again, user=person, password=PASSWORD, code=text) == "password and recovery code"
    with pytest.raises(CredentialsRefused):
        call(services.verify_again, user=person, password=PASSWORD, code=text)
    event = Event.objects.get(action="accounts.second_factor.recovered")
    assert '"left":9' in event.payload and text.lower() not in event.payload


def test_guessing_codes_is_stopped(client, person, generator):
    client.post("/sign-in/", {"email": person.email, "password": PASSWORD})
    for _ in range(10):
        assert client.post("/sign-in/code/", {"code": "000000"}).status_code == 403
    answer = client.post("/sign-in/code/", {"code": code(generator)})
    assert answer.status_code == 429 and answer.headers["Retry-After"]
    with pytest.raises(TooMany):
        services.verify_again(user=person, password=PASSWORD, code=code(generator))


def test_sign_in_takes_two_steps_and_the_first_opens_nothing(client, person, generator):
    first = client.post("/sign-in/", {"email": person.email, "password": PASSWORD, "next": "/gates/"})
    assert first.status_code == 302 and first.url == "/sign-in/code/"
    assert client.get("/account/").status_code == 302 and "_auth_user_id" not in client.session
    assert "code is not right" in client.post("/sign-in/code/", {"code": "123456"}).content.decode()
    done = client.post("/sign-in/code/", {"code": code(generator)})
    assert done.url == "/gates/" and client.get("/account/").status_code == 200
    assert Event.objects.filter(action="accounts.session.opened").count() == 1


def test_the_second_step_ends_after_minutes_and_needs_the_first(client, person, generator):
    assert client.get("/sign-in/code/").url == "/sign-in/"
    client.post("/sign-in/", {"email": person.email, "password": PASSWORD})
    with clock.fixed(clock.now() + timedelta(minutes=6)):
        assert client.post("/sign-in/code/", {"code": code(generator)}).url == "/sign-in/"


def test_a_person_turns_it_off_with_both_and_an_administrator_with_a_reason(person, generator, actor_of, make_user):
    with pytest.raises(CredentialsRefused):
        doors.remove_second_factor(actor=actor_of(person), user_id=person.id, password=PASSWORD)
    with pytest.raises(NotFound):
        doors.remove_second_factor(actor=actor_of(make_user("approver:risk")), user_id=person.id, reason="x")
    admin = actor_of(make_user("admin"))
    with pytest.raises(Invalid):
        doors.remove_second_factor(actor=admin, user_id=person.id)
    doors.remove_second_factor(actor=admin, user_id=person.id, reason="Phone lost.")
    assert "Phone lost." in Event.objects.get(action="accounts.second_factor.removed").payload
    assert services.verify_again(user=person, password=PASSWORD) == "password"


def test_a_system_actor_has_no_generator(system):
    with pytest.raises(NotAllowed):
        services.begin_second_factor(actor=system)


def test_pages_show_seed_and_recovery_codes_once(client, person):
    client.force_login(person, backend=BACKEND)
    assert "Set up a generator" in client.get("/account/").content.decode()
    begun = client.post("/account/codes/")
    text = begun.content.decode()
    assert "<svg" in text and "style=" not in text.split("<svg")[1].split("</svg>")[0] and begun.headers["Cache-Control"] == "no-store"
    seed = text.split('<p class="secret">')[1].split("</p>")[0].replace(" ", "")
    refused = client.post("/account/codes/confirm/", {"password": PASSWORD, "code": "1"})
    assert refused.status_code == 403 and seed not in refused.content.decode()
    shown = client.post("/account/codes/confirm/", {"password": PASSWORD, "code": pyotp.TOTP(seed).now()}).content.decode()
    assert shown.count("<li>") >= 10 and "Ask for codes no more" in client.get("/account/").content.decode()
    wrong = client.post("/account/codes/remove/", {"password": "no", "code": "1"})
    assert wrong.status_code == 403 and "password is not right" in wrong.content.decode()
    with clock.fixed(clock.now() + timedelta(minutes=1)):
        assert client.post("/account/codes/remove/", {"password": PASSWORD, "code": pyotp.TOTP(seed).at(clock.now())}).status_code == 302
    assert not SecondFactor.objects.exists()


def test_rest_does_the_same(api, person, make_user):
    client = api(person)
    begun = client.post("/api/v1/me/second-factor/")
    assert begun.status_code == 201
    made = client.put("/api/v1/me/second-factor/", {"password": PASSWORD, "code": pyotp.TOTP(begun.data["seed"]).now()})
    assert len(made.data["recovery_codes"]) == 10
    where = f"/api/v1/users/{person.id}/second-factor/remove/"
    assert client.post(where, {"password": PASSWORD, "code": "1"}).status_code == 403
    assert api(make_user("admin")).post(where, {"reason": "Phone lost."}).status_code == 204


def test_a_changed_secret_key_locks_nobody_out_silently(person, generator, settings):
    settings.SECRET_KEY = "other" * 10
    with pytest.raises(CredentialsRefused, match="administrator"):
        call(services.verify_again, user=person, password=PASSWORD, code="123456")
