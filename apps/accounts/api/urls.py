"""REST addresses of accounts."""

from django.urls import path

from apps.accounts.api import views

urlpatterns = [
    path("me/", views.MeView.as_view()),
    path("me/second-factor/", views.SecondFactorView.as_view()),
    path("users/<uuid:user_id>/second-factor/remove/", views.RemoveSecondFactorView.as_view()),
    path("users/", views.UsersView.as_view()),
    path("users/<uuid:user_id>/", views.UserView.as_view()),
    path("users/<uuid:user_id>/roles/", views.RolesView.as_view()),
    path("users/<uuid:user_id>/password/", views.PasswordView.as_view()),
    path("tokens/", views.TokensView.as_view()),
    path("tokens/<uuid:token_id>/", views.TokenView.as_view()),
]
