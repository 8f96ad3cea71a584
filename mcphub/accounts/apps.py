from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import m2m_changed


class HubAdminConfig(admin_apps.SimpleAdminConfig):
    default = False
    default_site = "mcphub.accounts.admin_site.HubAdminSite"


class AccountsConfig(AppConfig):
    default = True
    name = "mcphub.accounts"
    label = "accounts"
    verbose_name = "People and keys"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit import access
        from mcphub.accounts import devices, keyuse
        from mcphub.accounts.declared import orgs, sections
        from mcphub.accounts.versioned import many_to_many_changed
        from mcphub.accounts.visitor import orgs_with_record
        from mcphub.core import rotation

        access.register(orgs_with_record)
        rotation.report_uses(keyuse.keys_in_use)
        user_logged_in.connect(devices.begin, dispatch_uid="accounts.devices")
        sections.register(orgs.OrgSection())
        m2m_changed.connect(many_to_many_changed, dispatch_uid="accounts.versioned")
