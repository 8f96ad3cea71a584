"""Pages of the dashboard, at the root."""

from django.urls import path

from mcphub.dashboard import views
from mcphub.dashboard.why import why

urlpatterns = [path("", views.home, name="home"), path("why/<str:call_id>/", why, name="why")]
