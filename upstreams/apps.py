from django.apps import AppConfig


class UpstreamsConfig(AppConfig):
    name = "upstreams"
    label = "upstreams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from upstreams import oauth

        oauth.register()
