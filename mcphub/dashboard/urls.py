"""Pages of the dashboard, at the root."""

from django.urls import include, path

from mcphub.dashboard import views

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("mcphub.dashboard.people.urls")),
]
