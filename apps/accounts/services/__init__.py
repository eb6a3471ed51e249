"""Writes to accounts."""

from apps.accounts.services.credentials import close_session, open_session, record_failure, verify_again, verify_code, verify_credentials
from apps.accounts.services.grants import grant, revoke_grant
from apps.accounts.services.people import assign_role, create_user, deactivate_user, remove_role, set_password
from apps.accounts.services.second_factor import begin as begin_second_factor
from apps.accounts.services.second_factor import confirm as confirm_second_factor
from apps.accounts.services.second_factor import remove as remove_second_factor
from apps.accounts.services.sweeping import sweep
from apps.accounts.services.tokens import issue_token, revoke_token

__all__ = [
    "assign_role", "begin_second_factor", "close_session", "confirm_second_factor", "create_user", "deactivate_user", "grant", "issue_token", "open_session", "record_failure", "remove_role", "remove_second_factor",
    "revoke_grant", "revoke_token", "set_password", "sweep", "verify_again", "verify_code", "verify_credentials",
]  # fmt: skip
