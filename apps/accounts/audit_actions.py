"""What accounts writes in the trail."""

ACTIONS = {
    "accounts.second_factor.begun": "A person began to set up a generator of codes",
    "accounts.second_factor.confirmed": "A person signs in and signs with codes from now on",
    "accounts.second_factor.removed": "A person's codes are asked for no more",
    "accounts.second_factor.recovered": "A recovery code was used instead of the generator",
    "accounts.user.created": "An account was made",
    "accounts.user.deactivated": "An account was closed",
    "accounts.password.changed": "The password of an account was changed",
    "accounts.role.assigned": "A role was given",
    "accounts.role.removed": "A role was taken away",
    "accounts.grant.given": "Access to one use case was given",
    "accounts.grant.removed": "Access to one use case was taken away",
    "accounts.token.issued": "An API token was issued",
    "accounts.token.revoked": "An API token was revoked",
    "accounts.session.opened": "A person signed in",
    "accounts.session.closed": "A person signed out",
    "accounts.session.refused": "A sign-in or a re-authentication failed",
}
