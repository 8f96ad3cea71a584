from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    label = "gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gateway.authserver import approvals
        from mcphub.accounts import hooks

        hooks.on_membership_ended.register(approvals.membership_ended)
