"""Every URL that Django serves. MCP endpoints are answered before Django (`gateway.edge`)."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
