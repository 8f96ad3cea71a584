from django.apps import AppConfig


class McphubConfig(AppConfig):
    name = "mcphub"
    label = "mcphub"

    def ready(self) -> None:
        from mcphub import checks  # noqa: F401  # registers the start checks
