"""Sign-in pages, at the root."""

from django.urls import path

from mcphub.accounts import views

urlpatterns = [
    path("sign-in/", views.sign_in_page, name="sign-in"),
    path("sign-out/", views.sign_out_page, name="sign-out"),
    path("set-password/", views.set_password_page, name="set-password"),
    path("set-password/<str:token>/", views.open_link, name="one-time-link"),
]
