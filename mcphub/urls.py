"""Every URL that Django serves. MCP endpoints are answered before Django (`gateway.edge`)."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("mcphub.dashboard.urls")),
    path("", include("mcphub.accounts.urls")),
    path("", include("upstreams.urls")),
    path("admin/", admin.site.urls),
]
