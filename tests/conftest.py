"""What every test may ask for: people of each role, tokens, a client of the API."""

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no finding.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

os.environ.setdefault("GATEHOUSE_SECRET_KEY", "tests-only-" + "k" * 40)

pytest_plugins = ["tests.completeness"]

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix):
    """One database for each parallel worker, copied from the migrated one where the launcher has made it."""
    from django.db import connections

    # What tests put into tables themselves is theirs; tests of the refusal take the name away (`nobody`).
    connections.databases["default"].setdefault("OPTIONS", {})["options"] = "-c gatehouse.actor=system:tests"
    if template := os.environ.get("GATEHOUSE_TEST_TEMPLATE"):
        connections.databases["default"].setdefault("TEST", {})["TEMPLATE"] = template


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests for which something is started once for their file run in one worker, so that it is started once."""
    for item in items:
        used = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
        if any(fixture.scope == "module" for fixtures in used for fixture in fixtures) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/{item.path.name}"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported and collected stays to the end: it need not be looked through again and again for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def static_files_listed_once() -> Iterator[None]:
    """The middleware looks for every static file when it is made, as each test's client does anew."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    listed: dict[str, Any] = {}

    def add(self: Any, look: Callable[[Any], None] = WhiteNoiseMiddleware.add_files_from_finders) -> None:
        if not listed:
            look(self)
            listed.update(self.files)
        self.files.update(listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add)
        yield


@pytest.fixture(autouse=True)
def composed_anew() -> None:
    """Tests of real commits empty every table, and Django's content types get other numbers, which a kept statement does not know."""
    from apps.registry.selectors.composed import _composed

    _composed.cache_clear()


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hashing that costs nothing: what is tested is who may, not how slow guessing is."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def system() -> Any:
    """One of the portal's own processes."""
    from apps.core.actor import Actor

    return Actor.system("tests")


@pytest.fixture
def make_user(db: Any, system: Any) -> Callable[..., Any]:
    """make_user("ml_engineer") or make_user("approver:risk", email=...) -> User with PASSWORD."""
    from apps.accounts import services

    count = iter(range(10_000))

    def make(*roles: str, email: str = "", name: str = "") -> Any:
        number = next(count)
        label = roles[0].replace(":", " ") if roles else "nobody"
        user = services.create_user(
            actor=system, email=email or f"{label.replace(' ', '.')}.{number}@example.org", full_name=name or f"{label.title()} {number}", password=PASSWORD
        )
        for role in roles:
            noun, _, function = role.partition(":")
            services.assign_role(actor=system, user=user, role=noun, function=function)
        return user

    return make


@pytest.fixture
def actor_of() -> Callable[[Any], Any]:
    """actor_of(user) -> Actor."""
    from apps.accounts.models import User
    from apps.accounts.selectors import actor_from_user

    return lambda user: actor_from_user(User.objects.get(id=user.id))


@pytest.fixture
def api(db: Any) -> Callable[..., Any]:
    """api(user) -> DRF client that sends the user's own token; api() sends none."""
    from rest_framework.test import APIClient

    from apps.accounts import services
    from apps.accounts.selectors import actor_from_user

    def client(user: Any = None, scopes: tuple[str, ...] = ("read", "write")) -> Any:
        made = APIClient()
        if user is not None:
            _, secret = services.issue_token(actor=actor_from_user(user), user=user, name="tests", scopes=list(scopes))
            made.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return made

    return client
