"""Addresses of the account pages."""

from django.urls import path

from apps.accounts.web import people, views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("account/", views.account, name="account"),
    path("account/password/", views.password, name="password"),
    path("account/tokens/<uuid:token_id>/revoke/", views.revoke_token, name="revoke-token"),
    path("people/", people.people, name="people"),
    path("people/<uuid:user_id>/", people.person, name="person"),
    path("people/<uuid:user_id>/roles/", people.assign_role, name="assign-role"),
    path("people/<uuid:user_id>/roles/remove/", people.remove_role, name="remove-role"),
    path("people/<uuid:user_id>/close/", people.close, name="close-account"),
]
