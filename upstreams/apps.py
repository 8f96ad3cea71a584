from django.apps import AppConfig


class UpstreamsConfig(AppConfig):
    name = "upstreams"
    label = "upstreams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mcphub.accounts import hooks
        from mcphub.accounts.declared import sections
        from upstreams import declared, oauth
        from upstreams.credentials import services

        hooks.on_membership_ended.register(services.end_member)
        hooks.on_service_key_ended.register(services.end_service_key)
        oauth.register()
        sections.register(declared.UpstreamSection())
        sections.register(declared.DefinitionSection())
