"""Pages of the dashboard, at the root."""

from django.urls import path

from mcphub.dashboard import connect, views
from mcphub.dashboard.why import why

urlpatterns = [
    path("", views.home, name="home"),
    path("why/<str:call_id>/", why, name="why"),
    path("connect/", connect.home, name="connections"),
    path("connect/link/<str:token>/", connect.link_page, name="connect-link"),
    path("connect/<uuid:upstream_id>/", connect.upstream_page, name="connect-upstream"),
    path("connect/<uuid:upstream_id>/key/", connect.paste_key, name="connect-key"),
    path("connect/<uuid:upstream_id>/disconnect/", connect.disconnect, name="disconnect"),
]
