"""Addresses of the account pages."""

from django.urls import path

from apps.accounts.web import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("account/", views.account, name="account"),
    path("account/tokens/<uuid:token_id>/revoke/", views.revoke_token, name="revoke-token"),
]
