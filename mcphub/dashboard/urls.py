"""Pages of the dashboard, at the root."""

from django.urls import include, path

from mcphub.dashboard import approvals, authorizing, connect, views
from mcphub.dashboard.why import why

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("mcphub.dashboard.people.urls")),
    path("connect/", connect.home, name="connections"),
    path("connect/callback", authorizing.callback, name="oauth-callback"),
    path("connect/begin/<uuid:upstream>/", authorizing.begin, name="oauth-begin"),
    path("client-metadata.json", authorizing.client_metadata, name="oauth-client-metadata"),
    path("connect/link/<str:token>/", connect.link_page, name="connect-link"),
    path("connect/<uuid:upstream_id>/", connect.upstream_page, name="connect-upstream"),
    path("connect/<uuid:upstream_id>/key/", connect.paste_key, name="connect-key"),
    path("connect/<uuid:upstream_id>/disconnect/", connect.disconnect, name="disconnect"),
    path("org/<slug:org>/approvals/", approvals.inbox, name="approvals"),
    path("org/<slug:org>/approvals/<uuid:approval>/", approvals.held_call, name="approval"),
    path("org/<slug:org>/approvals/<uuid:approval>/answer/", approvals.answer, name="answer-approval"),
    path("org/<slug:org>/approvals/<uuid:approval>/revoke/", approvals.take_back, name="revoke-approval"),
    path("why/<str:call_id>/", why, name="why"),
]
