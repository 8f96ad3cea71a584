"""Sign-in pages, at the root."""

from django.urls import path

from mcphub.accounts import views
from mcphub.accounts.social import views as social

urlpatterns = [
    path("sign-in/", views.sign_in_page, name="sign-in"),
    path("auth/start/<slug:name>/", social.start, name="sign-in-start"),
    path("auth/complete/<slug:name>/", social.complete, name="sign-in-complete"),
    path("sign-out/", views.sign_out_page, name="sign-out"),
    path("sign-in/forgotten/", views.forgotten_page, name="forgotten"),
    path("set-password/", views.set_password_page, name="set-password"),
    path("set-password/<str:token>/", views.open_link, name="one-time-link"),
]
