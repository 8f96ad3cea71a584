"""The admin page of a model that belongs to orgs.

A signed-in person sees the rows of orgs where they hold `view_right` and changes those of orgs where they hold
`required_right`; hub admins cross orgs. Everything else answers as an unknown id does. Every change is on record,
and one that a service refuses (`services.Refused`) shows its reason.

Unfold's row, detail and list actions are plain links: use them to go somewhere, never to change something. What
changes rows is a Django action or a submit-line action, both of which are posted with a token.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.filters import RelatedFieldListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.decorators import display as unfold_display

from mcphub.accounts import acts
from mcphub.accounts.declared.owned import file_of, refuse_owned
from mcphub.accounts.models import Membership, Org, User
from mcphub.accounts.roles import Right
from mcphub.accounts.services import Refused
from mcphub.accounts.visitor import actor_of, orgs_allowing
from mcphub.core.fields import encrypted_fields, org_id_of

Column = TypeVar("Column", bound=Callable[..., object])


def pill(description: str, colours: Mapping[str, str]) -> Callable[[Column], Column]:
    """Show a column's text as a coloured label: text → `success`, `info`, `warning` or `danger`."""
    made: Callable[[Column], Column] = unfold_display(description=description, label=dict(colours))
    return made


def org_path_of(model: type[models.Model]) -> str | None:
    """The look-up from `model` to its org, or None for a model that belongs to none."""
    if model is Org:
        return "pk"
    path: str | None = getattr(model, "org_path", None)
    if path is None and any(item.name == "org" for item in model._meta.concrete_fields):
        path = "org"
    return path


def rows_in(model: type[models.Model], orgs: Iterable[str]) -> models.QuerySet[Any]:
    """The rows of `model` that belong to one of `orgs`; for people, the members of these orgs."""
    rows: models.QuerySet[Any] = model._default_manager.all()
    if model is User:
        return rows.filter(pk__in=Membership.objects.filter(org__in=set(orgs)).values("user"))
    path = org_path_of(model)
    return rows if path is None else rows.filter(**{f"{path}__in": orgs})


class OneOrgForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses a row that would point into another org than its own."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        own = self._own_org(cleaned)
        for name, value in list(cleaned.items()):
            rows = value if isinstance(value, models.QuerySet) else [value]
            if own and any(_org_of(row) not in {None, own} for row in rows if isinstance(row, models.Model)):
                self.add_error(name, "This belongs to another org.")
        return cleaned

    def _own_org(self, cleaned: dict[str, Any]) -> str | None:
        if not self.instance._state.adding:
            return _org_of(self.instance)
        first = (getattr(type(self.instance), "org_path", "org")).split("__")[0]
        owner = cleaned.get(
            first, getattr(self.instance, first, None) if f"{first}_id" in vars(self.instance) else None
        )
        return _org_of(owner) if isinstance(owner, models.Model) else None


def _org_of(row: models.Model) -> str | None:
    if isinstance(row, Org):
        return str(row.pk)
    return org_id_of(row) if org_path_of(type(row)) else None


class ScopedChoices(RelatedFieldListFilter):
    """A filter over related rows that offers only those which the page itself may show."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: "admin.ModelAdmin[Any]") -> list[Any]:
        visible = model_admin.get_queryset(request).order_by().values(self.field_path)
        return [(str(row.pk), str(row)) for row in field.related_model._default_manager.filter(pk__in=visible)]


class _ScopedFields:
    """Choice fields offer only rows of orgs that the person may change."""

    required_right: ClassVar[Right]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        allowed = rows_in(db_field.related_model, orgs_allowing(request, self.required_right))
        kwargs["queryset"] = (kwargs["queryset"] & allowed) if "queryset" in kwargs else allowed
        found = super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]  # a mixin
        if found is not None and db_field.related_model is Org and allowed.count() == 1:
            found.initial = allowed.get().pk
            found.widget = forms.HiddenInput()
        return found

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = rows_in(db_field.related_model, orgs_allowing(request, self.required_right))
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]  # a mixin


class OrgScopedAdmin(_ScopedFields, ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Base of every admin page of an org's rows. Set `required_right`; `view_right` is `view_config` by default."""

    required_right: ClassVar[Right]
    view_right: ClassVar[Right] = Right.VIEW_CONFIG
    form: "type[forms.BaseModelForm[Any]]" = OneOrgForm

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return self.scoped(request, super().get_queryset(request), self.view_right)

    def scoped(self, request: HttpRequest, rows: models.QuerySet[Any], right: Right) -> models.QuerySet[Any]:
        """Those of `rows` in orgs where the person holds `right`."""
        return rows.filter(**{f"{org_path_of(self.model)}__in": orgs_allowing(request, right)})

    def row_or_404(self, request: HttpRequest, object_id: str) -> Any:
        """The row that an action of this page may change; `Http404` for any other id."""
        row = self.get_object(request, object_id)
        if row is None or not self.has_change_permission(request, row):
            raise Http404
        return row

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(orgs_allowing(request, self.view_right))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.view_right, obj) or self.has_change_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, self.required_right, None)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A row that a configuration file owns is changed there."""
        return self._may(request, self.required_right, obj) and not (
            isinstance(obj, models.Model) and self._file_of(request, obj)
        )

    @staticmethod
    def _file_of(request: HttpRequest, row: models.Model) -> str:
        """The file that owns the row, looked up once a request."""
        known: dict[Any, str] | None = getattr(request, "_files_of_rows", None)
        if known is None:
            known = request._files_of_rows = {}  # type: ignore[attr-defined]  # a memo on Django's request
        if row.pk not in known:
            known[row.pk] = file_of(row)
        return known[row.pk]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def _may(self, request: HttpRequest, right: Right, obj: models.Model | str | None) -> bool:
        """Whether the person holds `right` in the row's org, or in any; Unfold's actions give a row's id."""
        allowed = orgs_allowing(request, right)
        if obj is None:
            return bool(allowed)
        row = obj if isinstance(obj, models.Model) else self.get_object(request, str(obj))
        return row is not None and _org_of(row) in allowed

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseBase:
        view = super().changelist_view
        return self._or_refusal(request, lambda: view(request, extra_context))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponseBase:
        view = super().changeform_view
        return self._or_refusal(request, lambda: view(request, object_id, form_url, extra_context))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        view = super().delete_view
        return self._or_refusal(request, lambda: view(request, object_id, extra_context))

    def _or_refusal(self, request: HttpRequest, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
        """A refused change shows its reason and changes nothing."""
        try:
            return view()
        except Refused as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> Any:
        raise Http404

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = kwargs.get("form", self.form)
        if not issubclass(form, OneOrgForm):
            kwargs["form"] = type(form.__name__, (OneOrgForm, form), {})
        return super().get_form(request, obj, change, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A row never moves to another org."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        moves = org_path_of(self.model) == "org"
        return (*fixed, "org") if obj is not None and moves and "org" not in fixed else fixed

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        found = super().get_list_filter(request)
        return [(item, ScopedChoices) if self._leads_to_rows(item) else item for item in found]

    def _leads_to_rows(self, item: Any) -> bool:
        """Whether a filter is a plain path of fields that ends at another model, however long the path is."""
        return isinstance(item, str) and get_fields_from_path(self.model, item)[-1].is_relation

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        first = lookup.split("__")[0]
        hidden = {item.name for item in encrypted_fields(self.model)} | acts.SECRET_NAMES
        return first not in hidden and bool(super().lookup_allowed(lookup, value, request))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Actions touch only rows of orgs where the person holds `required_right`."""
        return {name: (self._limited(entry[0]), *entry[1:]) for name, entry in super().get_actions(request).items()}

    def _limited(self, action: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(action)
        def limited(page: Any, request: HttpRequest, rows: models.QuerySet[Any]) -> Any:
            return action(page, request, self.scoped(request, rows, self.required_right))

        return limited

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = self._stored(obj) if change else {}
        if not self._may(request, self.required_right, obj):
            raise PermissionDenied
        if change:
            refuse_owned(obj)
        super().save_model(request, obj, form, change)
        self.record(request, obj, "change" if change else "create", before)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        before = acts.facts(obj)
        self.record(request, obj, "delete", before, gone=True)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        before = {item.instance.pk: self._stored(item.instance) for item in formset.initial_forms}
        super().save_formset(request, form, formset, change)
        for row in formset.new_objects:
            self.record(request, row, "create", {})
        for row, _ in formset.changed_objects:
            self.record(request, row, "change", before.get(row.pk, {}))
        for row in formset.deleted_objects:
            self.record(request, row, "delete", before.get(row.pk, {}), gone=True)

    def record(
        self, request: HttpRequest, obj: models.Model, verb: str, before: dict[str, Any], *, gone: bool = False
    ) -> None:
        """Put a change of `obj` on record; a change that altered nothing leaves no trace."""
        old, new = acts.changed(before, {} if gone else acts.facts(obj))
        if old or new:
            org_id = _org_of(obj)
            org = Org.objects.filter(pk=org_id).first() if org_id else None
            acts.record(actor_of(request), org, f"{obj._meta.model_name}.{verb}", str(obj), old, new)

    @staticmethod
    def _stored(obj: models.Model) -> dict[str, Any]:
        found = type(obj)._base_manager.filter(pk=obj.pk).first()
        return acts.facts(found) if found else {}


class _ScopedInline(_ScopedFields):
    """Rows of a page's row follow the rights that the page asks for."""

    admin_site: Any
    parent_model: type[models.Model]

    def _page(self) -> OrgScopedAdmin:
        page: OrgScopedAdmin = self.admin_site._registry[self.parent_model]
        return page

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page().has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._page().has_change_permission(request, obj)


class ScopedTabularInline(_ScopedInline, TabularInline):  # type: ignore[misc]  # unfold ships no types
    """Inline rows under the parent page's rights; set `required_right` for its choice fields."""


class ScopedStackedInline(_ScopedInline, StackedInline):  # type: ignore[misc]  # unfold ships no types
    """Inline forms under the parent page's rights; set `required_right` for their choice fields."""
