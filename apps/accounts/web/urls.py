"""Addresses of the account pages."""

from django.urls import path

from apps.accounts.web import people, second_factor, views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-in/code/", views.sign_in_code, name="sign-in-code"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("account/", views.account, name="account"),
    path("account/password/", views.password, name="password"),
    path("account/tokens/<uuid:token_id>/revoke/", views.revoke_token, name="revoke-token"),
    path("account/codes/", second_factor.begin, name="begin-codes"),
    path("account/codes/confirm/", second_factor.confirm, name="confirm-codes"),
    path("account/codes/remove/", second_factor.remove, name="remove-codes"),
    path("people/<uuid:user_id>/codes/remove/", second_factor.remove_anothers, name="remove-anothers-codes"),
    path("people/", people.people, name="people"),
    path("people/<uuid:user_id>/", people.person, name="person"),
    path("people/<uuid:user_id>/roles/", people.assign_role, name="assign-role"),
    path("people/<uuid:user_id>/roles/remove/", people.remove_role, name="remove-role"),
    path("people/<uuid:user_id>/close/", people.close, name="close-account"),
]
