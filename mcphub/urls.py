"""Every URL that Django serves. MCP endpoints are answered before Django (`gateway.edge`)."""

from django.contrib import admin
from django.urls import include, path, re_path

from mcphub.api import api, nothing_there

admin.autodiscover()  # with the URLs, so that commands do not load pages

urlpatterns = [
    path("api/v1/", api.urls),
    re_path("^api/", nothing_there),
    path("", include("mcphub.dashboard.urls")),
    path("", include("mcphub.accounts.urls")),
    path("", include("gateway.authserver.urls")),
    path("", include("upstreams.urls")),
    path("admin/", admin.site.urls),
]
