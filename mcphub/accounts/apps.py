from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "mcphub.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
