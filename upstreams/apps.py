from django.apps import AppConfig


class UpstreamsConfig(AppConfig):
    name = "upstreams"
    label = "upstreams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mcphub.accounts.declared import sections
        from upstreams import declared, oauth

        oauth.register()
        sections.register(declared.UpstreamSection())
        sections.register(declared.DefinitionSection())
