"""Paths of the OAuth client, at the root."""

from django.urls import path

from upstreams.oauth import views

urlpatterns = [
    path("client-metadata.json", views.client_metadata, name="oauth-client-metadata"),
    path("connect/begin/<uuid:upstream>/", views.begin, name="oauth-begin"),
    path("connect/callback", views.callback, name="oauth-callback"),
    path("connect/again/<str:token>/", views.again, name="oauth-again"),
]
