from django.apps import AppConfig
from django.db.models.signals import m2m_changed


class AccountsConfig(AppConfig):
    name = "mcphub.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mcphub.accounts.versioned import many_to_many_changed

        m2m_changed.connect(many_to_many_changed, dispatch_uid="accounts.versioned")
