"""The verifier is tried on real trails: the same fixtures as the trail's own tests."""

from tests.audit.conftest import (  # noqa: F401
    actor,
    attack,
    copies,
    environment_url,
    happen,
    own_database,
    seal_key,
    sealer,
    superuser_url,
    unflushed,
    verify,
    witness_folder,
)
