from django.apps import AppConfig


class PoliciesConfig(AppConfig):
    name = "policies"
    label = "policies"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mcphub.accounts import hooks
        from mcphub.accounts.declared import sections
        from policies import cases, declared, selectors, service

        hooks.known_roles.register(selectors.role_names)
        hooks.role_rights.register(selectors.role_rights)
        hooks.roles_of_claims.register(selectors.roles_of_claims)
        hooks.on_org_created.register(service.make_builtin_roles)
        for section in declared.SECTIONS:
            sections.register(section())
        sections.register_check("tests", cases.check_cases)
