"""Admin pages of orgs, people, members and keys."""

from typing import Any, Final

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from social_django.models import Association, Nonce, UserSocialAuth

from mcphub.accounts import admin_orgs, links, services
from mcphub.accounts.admin_base import OrgScopedAdmin, pill
from mcphub.accounts.admin_forms import PERSONAL, KeyForm, MemberForm, OrgForm, PersonForm, RolesForm
from mcphub.accounts.issuer_admin import IssuerAdmin
from mcphub.accounts.models import ApiKey, Membership, Org, User
from mcphub.accounts.roles import Right, givable_roles, role_names
from mcphub.accounts.services import NewKey
from mcphub.accounts.sign_in import password_offered
from mcphub.accounts.visitor import actor_of, request_rights
from mcphub.core.clock import now

__all__ = ["ApiKeyAdmin", "MembershipAdmin", "OrgAdmin", "UserAdmin", "admin_orgs"]

CHOSEN: Final = ("roles", "upstreams", "tools", "application", "expires_at")
"""What the maker of a key chooses, and may change."""

admin.site.unregister([Group, UserSocialAuth, Nonce, Association])


@admin.register(Org)
class OrgAdmin(OrgScopedAdmin):
    """Hub admins make, disable and delete orgs; an owner names theirs."""

    required_right = Right.MANAGE_ORG
    form = OrgForm
    list_display = ("slug", "name", "members", "enabled", "created_at")
    search_fields = ("slug", "name")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug", "name", "enabled") if obj is None else ("slug", "name", "enabled", "definition_changes")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("slug",) if self.has_add_permission(request) else ("slug", "enabled")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        made = services.create_org(obj.slug, obj.name, by=actor_of(request))
        obj.pk, obj._state.adding = made.pk, False

    @admin.display(description="Members")
    def members(self, org: Org) -> int:
        return org.memberships.count()


@admin.register(User)
class UserAdmin(OrgScopedAdmin):
    """People of the whole installation, for hub admins. Owners find their people under memberships."""

    required_right = Right.MANAGE_MEMBERS
    form = PersonForm
    list_display = ("email", "name", "state", "orgs", "last_login")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_superuser", "is_active")
    actions = ("enable", "disable")
    actions_submit_line = ("new_password_link",)

    def scoped(self, request: HttpRequest, rows: Any, right: Right) -> Any:
        return rows if self._is_hub_admin(request) else rows.none()

    def _may(self, request: HttpRequest, right: Right, obj: Any) -> bool:
        return self._is_hub_admin(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_hub_admin(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People are disabled: what they did stays attached to their name."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("is_active",) if obj is not None else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj is not None else self.fields[:3]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        by = actor_of(request)
        made = services.create_user(obj.email, obj.name, hub_admin=obj.is_superuser, proven=True, by=by)
        obj.pk, obj._state.adding, obj.email = made.pk, False, made.email
        _show_link(request, made)

    @admin.action(description="Enable")
    def enable(self, request: HttpRequest, people: Any) -> None:
        for person in people:
            services.set_active(person, True, by=actor_of(request))

    @admin.action(description="Disable: no sign-in, no keys")
    def disable(self, request: HttpRequest, people: Any) -> None:
        for person in people:
            services.set_active(person, False, by=actor_of(request))

    @admin.action(description="New set-password link")
    def new_password_link(self, request: HttpRequest, person: User) -> None:
        self.record(request, person, "new_password_link", {})
        _show_link(request, person)

    @pill("State", {"hub admin": "info", "active": "success", "disabled": "danger"})
    def state(self, person: User) -> str:
        if not person.is_active:
            return "disabled"
        return "hub admin" if person.is_superuser else "active"

    @admin.display(description="Orgs")
    def orgs(self, person: User) -> str:
        return ", ".join(person.memberships.values_list("org__slug", flat=True)) or "–"

    @staticmethod
    def _is_hub_admin(request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))


class _RolesAdmin(OrgScopedAdmin):
    """A page whose rows carry roles: nobody gives, or touches, more rights than they hold."""

    form: Any

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: type[RolesForm] = super().get_form(request, obj, change, **kwargs)
        form.rights = {
            org_id: held for org_id, held in request_rights(request).items() if self.required_right in held
        }
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        row = self.get_object(request, obj) if isinstance(obj, str) else obj
        if row is None or not super().has_change_permission(request, row):
            return row is None and obj is None and super().has_change_permission(request)
        org_id = str(row.org_id)
        known = frozenset(row.roles) & role_names(org_id)
        return known <= givable_roles(org_id, request_rights(request)[org_id])


@admin.register(Membership)
class MembershipAdmin(_RolesAdmin):
    required_right = Right.MANAGE_MEMBERS
    form = MemberForm
    list_display = ("user", "org", "role_list", "state", "created_at")
    list_filter = ("org",)
    list_select_related = ("user", "org")
    search_fields = ("user__email", "user__name")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("org", "email", "roles", "attributes") if obj is None else ("user", "org", "roles", "attributes")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("user", "org")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj is not None:
            form.base_fields.pop("email", None)
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        by = actor_of(request)
        if change:
            services.set_roles(Membership.objects.get(pk=obj.pk), form.cleaned_data["roles"], by=by)
            super().save_model(request, obj, form, change)
            return
        user = User.objects.filter(email=form.cleaned_data["email"].strip().lower()).first()
        if user is None:
            user = services.create_user(form.cleaned_data["email"], by=by)
            _show_link(request, user)
        made = services.add_member(obj.org, user, form.cleaned_data["roles"], by=by)
        obj.pk, obj.user, obj._state.adding = made.pk, user, False

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.remove_member(obj, by=actor_of(request))

    @admin.display(description="Roles")
    def role_list(self, member: Membership) -> str:
        return ", ".join(sorted(member.held_roles))

    @pill("State", {"active": "success", "disabled": "danger"})
    def state(self, member: Membership) -> str:
        return "active" if member.user.is_active else "disabled"


@admin.register(ApiKey)
class ApiKeyAdmin(_RolesAdmin):
    required_right = Right.MANAGE_KEYS
    form = KeyForm
    list_display = ("name", "org", "speaks_for", "role_list", "scope", "last_used", "expires_at", "state")
    list_filter = ("org",)
    list_select_related = ("user", "org")
    search_fields = ("name", "public_id", "user__email")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("org", "name", "holder", *CHOSEN)
        return ("name", "org", "speaks_for", *CHOSEN, "public_id", "state", "last_used", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("org", "speaks_for", "public_id", "state", "last_used", "created_at")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if obj is not None:
            form.base_fields.pop("holder", None)
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        ended = isinstance(obj, ApiKey) and obj.revoked_at is not None
        return not ended and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keys are revoked: the record goes on naming them."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        values = {
            name: form.cleaned_data[name] for name in ("roles", "upstreams", "tools", "application", "expires_at")
        }
        me = request.user if isinstance(request.user, User) else None
        user = me if form.cleaned_data["holder"] == PERSONAL else None
        made = services.create_key(obj.org, obj.name, user=user, **values, by=actor_of(request))
        obj.pk, obj._state.adding = made.row.pk, False
        request._new_key = made  # type: ignore[attr-defined]  # handed to `response_add` of this request

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """One way to save: a new key's answer is the page that shows it."""
        only = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, {**context, **only}, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        """The plain key goes into this one answer: into no message, cookie or session."""
        made: NewKey = request._new_key  # type: ignore[attr-defined]  # set by `save_model`
        context = {
            **self.admin_site.each_context(request),
            "title": f"Key {made.row.name}",
            "key": made,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/accounts/apikey/shown_once.html", context)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: Any) -> None:
        for key in keys.filter(revoked_at=None):
            if self.has_change_permission(request, key):
                services.revoke_key(key, by=actor_of(request))
                self.message_user(request, f"{key.name} is revoked.", messages.SUCCESS)

    @admin.display(description="Speaks for")
    def speaks_for(self, key: ApiKey) -> str:
        return key.user.email if key.user else "itself (service key)"

    @admin.display(description="Roles")
    def role_list(self, key: ApiKey) -> str:
        return ", ".join(key.roles) or "as the person"

    @admin.display(description="Scope")
    def scope(self, key: ApiKey) -> str:
        return ", ".join([*key.upstreams, *key.tools]) or "everything"

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        if key.last_used_at is None:
            return "never"
        return f"{key.last_used_at:%Y-%m-%d %H:%M} UTC from {key.last_used_from or 'unknown'}"

    @pill("State", {"works": "success", "revoked": "danger", "expired": "warning"})
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        return "expired" if key.expires_at and key.expires_at <= now() else "works"


def _show_link(request: HttpRequest, user: User) -> None:
    if password_offered():
        minutes = int(settings.HUB.limits.link_s // 60)
        link = format_html("<code style='overflow-wrap: anywhere'>{}</code>", links.password_link(user))
        note = "Give {} this link to set a password. It works once, for {} minutes: {}"
        messages.info(request, format_html(note, user.email, minutes, link))


__all__ = ["ApiKeyAdmin", "IssuerAdmin", "MembershipAdmin", "OrgAdmin", "UserAdmin"]
