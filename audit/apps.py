from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit import keyuse
        from mcphub.core import rotation

        rotation.report_uses(keyuse.keys_in_use)
