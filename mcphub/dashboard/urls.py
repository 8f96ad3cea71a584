"""Pages of the dashboard, at the root."""

from django.urls import path

from mcphub.dashboard import views

urlpatterns = [path("", views.home, name="home")]
