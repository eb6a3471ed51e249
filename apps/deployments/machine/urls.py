"""Addresses for machines: what gateways poll, and what they count."""

from django.urls import path

from apps.deployments.machine import views

urlpatterns = [path("internal/routing/", views.routing), path("internal/phase-tallies/", views.phase_tallies)]
