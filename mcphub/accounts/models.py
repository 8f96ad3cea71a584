"""People, organisations, who belongs where, and the keys of machines."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import F

from mcphub.accounts.roles import role_names
from mcphub.accounts.versioned import Versioned, announce, bump
from mcphub.core.addresses import issuer_fault
from mcphub.core.ids import SLUG_PATTERN, new_uuid

UNSEEN_BY_SNAPSHOT: Final = frozenset({"last_login", "password", "email_proven", "must_change_password"})
VERSIONS: Final = frozenset({"config_version", "credentials_version"})


ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by public keys only: whoever can check a shared secret can also sign with it."""

SLUG_WORDS: Final = "2–32 lower-case letters, digits and inner hyphens."


def default_algorithms() -> list[str]:
    """What most providers sign with."""
    return ["RS256"]


class UserQuerySet(models.QuerySet["User"]):
    """Raises the version of every org of the people that it changes."""

    def _orgs(self) -> list[Any]:
        return list(Membership.objects.filter(user__in=self.order_by()).values_list("org_id", flat=True))

    def update(self, **changes: Any) -> int:
        if UNSEEN_BY_SNAPSHOT.issuperset(changes):
            return super().update(**changes)
        with transaction.atomic(using=self.db):
            orgs = self._orgs()
            count = super().update(**changes)
            bump(orgs)
        return count

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            orgs = self._orgs()
            done = super().delete()
            bump(orgs)
        return done


class UserManager(BaseUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]  # a class made at run time
    def create_user(self, email: str, password: str | None = None, **extra: Any) -> "User":
        """A person known by e-mail; without a password until they set one."""
        user: User = self.model(email=normal_email(email), **extra)
        user.set_password(password) if password else user.set_unusable_password()
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        found: User = self.get(email=normal_email(username or ""))
        return found


def normal_email(text: str) -> str:
    """The one spelling under which a person is stored and found."""
    return text.strip().lower()


class User(AbstractBaseUser, PermissionsMixin):
    """A person. `is_superuser` marks a hub admin, who runs the installation and crosses orgs.

    `email_proven`: whoever runs the hub, a provider or the address's own mail vouches that it is theirs. Nothing is
    given on the strength of an address that nobody vouches for.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    email_proven = models.BooleanField(default=False, db_default=False, editable=False)
    must_change_password = models.BooleanField(default=False, db_default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("email",)
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.email

    @property
    def is_staff(self) -> bool:
        """Asked by parts of Django's admin; who may open it is decided by rights in orgs."""
        return self.is_superuser

    def save(self, *args: Any, **kwargs: Any) -> None:
        only = kwargs.get("update_fields")
        with transaction.atomic():
            super().save(*args, **kwargs)
            if only is None or not UNSEEN_BY_SNAPSHOT.issuperset(only):
                bump(self.memberships.values_list("org_id", flat=True))

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            orgs = list(self.memberships.values_list("org_id", flat=True))
            done = super().delete(*args, **kwargs)
            bump(orgs)
        return done


class OrgQuerySet(models.QuerySet["Org"]):
    """Every change of an org is a change of its config, and is announced after commit."""

    def update(self, **changes: Any) -> int:
        if VERSIONS.isdisjoint(changes):
            changes["config_version"] = F("config_version") + 1
        with transaction.atomic(using=self.db):
            transaction.on_commit(announce, using=self.db)
            return super().update(**changes)

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            transaction.on_commit(announce, using=self.db)
            return super().delete()


class DefinitionChanges(models.TextChoices):
    HOLD = "hold", "Hold back until somebody approves"
    WARN = "warn", "Use at once, and ask for a look"
    TRUST = "trust", "Use at once"


class Org(models.Model):
    """A tenant. `config_version` rises with every change of what its members may reach, `credentials_version` with
    every change of what the hub presents to upstreams for them.

    `definition_changes` says what happens when an upstream changes a definition that was approved.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    slug = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=120)
    enabled = models.BooleanField(default=True)
    definition_changes = models.CharField(
        "changed definitions", max_length=5, choices=DefinitionChanges, default=DefinitionChanges.HOLD
    )
    config_version = models.BigIntegerField(default=1, editable=False)
    credentials_version = models.BigIntegerField(default=1, db_default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrgQuerySet.as_manager()

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Never writes its versions back from memory: they only rise, in the database."""
        if self._state.adding:
            with transaction.atomic():
                super().save(*args, **kwargs)
                transaction.on_commit(announce)
            return
        only: Iterable[str] = kwargs.pop("update_fields", None) or [
            item.name for item in self._meta.concrete_fields if not item.primary_key
        ]
        with transaction.atomic():
            super().save(*args, **kwargs, update_fields=[name for name in only if name not in VERSIONS])
            bump([self.pk])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            transaction.on_commit(announce)
            return super().delete(*args, **kwargs)


class Membership(Versioned):
    """A person's place in an org, with the names of the roles held there.

    `claims` are what the provider said of them when they last signed in, and `mapped_roles` what the org's attribute
    mappings make of it; `attributes` are an operator's own words, and go before claims of the same name.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", verbose_name="person")
    roles = models.JSONField(default=list)
    attributes = models.JSONField(default=dict, blank=True)
    claims = models.JSONField(default=dict, blank=True, editable=False)
    mapped_roles = models.JSONField(default=list, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("user__email",)
        verbose_name = "member"
        constraints = (models.UniqueConstraint(fields=("org", "user"), name="one_membership_per_org"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.org}"

    @property
    def held_roles(self) -> frozenset[str]:
        """The roles given by people, and those that follow from claims."""
        return frozenset([*self.roles, *self.mapped_roles])


class ApiKey(Versioned):
    """A key for machines: of a person (`user` set, roles follow the person unless pinned) or a service key.

    `upstreams` and `tools` are lists of globs that narrow what the key reaches; empty does not narrow. `made_by` is
    the user who made it, None for a command.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys")
    made_by = models.UUIDField(null=True, editable=False)
    name = models.CharField(max_length=80)
    public_id = models.CharField(max_length=24, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    digest_key_id = models.CharField(max_length=8, editable=False)
    roles = models.JSONField(default=list, blank=True)
    upstreams = models.JSONField(default=list, blank=True)
    tools = models.JSONField(default=list, blank=True)
    application = models.CharField(max_length=80, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_from = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "API key"
        constraints = (
            models.UniqueConstraint(
                fields=("org", "name"), condition=models.Q(revoked_at=None), name="one_working_key_per_name"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Issuer(Versioned):
    """Whose access tokens (JWTs) one org takes as proof: `issuer` signs them for one of `audiences`.

    `required` narrows it to tokens whose claims hold one of the listed texts each. Every token gives `roles`; what
    else it gives, attribute mappings say. `advertised`: the metadata of the org's endpoint names the issuer.
    """

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="issuers")
    name = models.CharField(max_length=32, validators=[RegexValidator(rf"\A{SLUG_PATTERN}\Z", SLUG_WORDS)])
    issuer = models.CharField(max_length=300)
    audiences = models.JSONField(default=list)
    algorithms = models.JSONField(default=default_algorithms)
    required = models.JSONField(default=dict, blank=True)
    roles = models.JSONField(default=list, blank=True)
    advertised = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("org", "name"), name="one_issuer_per_name"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if fault := issuer_fault(self.issuer):
            raise ValidationError({"issuer": f"This {fault}."})
        for name in ("audiences", "algorithms", "roles"):
            value = getattr(self, name)
            if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
                raise ValidationError({name: "Write a list of texts."})
        if not self.audiences:
            raise ValidationError({"audiences": "A token that is meant for nobody would be meant for everybody."})
        if not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ValidationError({"algorithms": f"Choose among {', '.join(ALGORITHMS)}."})
        if not _is_required(self.required):
            raise ValidationError({"required": "Write {claim: [texts]}."})
        unknown = sorted(set(self.roles) - role_names(str(self.org_id))) if self.org_id else []
        if unknown:
            raise ValidationError({"roles": f"The org has no role {', '.join(unknown)}."})


def _is_required(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts) for texts in value.values()
    )


class DeclaredRow(models.Model):
    """A row of any model that belongs to a configuration file (`mcphub.accounts.declared`): it is changed there.

    `model` is the model's label in lower case, `row` its key as text; `section` and `key` are its place in the file.
    """

    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="declared_rows")
    model = models.CharField(max_length=80)
    row = models.CharField(max_length=80)
    section = models.CharField(max_length=80)
    key = models.CharField(max_length=2000)
    source = models.CharField(max_length=1000)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("model", "row"), name="one_file_per_row"),)
        indexes = (models.Index(fields=("org", "source", "section")),)

    def __str__(self) -> str:
        return f"{self.section}/{self.key} of {self.source}"


class SignInFailure(models.Model):
    """A failed attempt to sign in, counted per source and per e-mail; `subject` is a keyed hash of either."""

    subject = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("subject", "at")), models.Index(fields=("at",)))

    def __str__(self) -> str:
        return f"{self.subject[:8]} at {self.at}"


class PasswordWish(models.Model):
    """Somebody asks for a link to set a password anew, with the address as typed: the worker looks whose it is."""

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    email = models.CharField(max_length=254)
    source = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"asked at {self.at}"


class OfOrgs(models.QuerySet[Any]):
    """Rows of orgs that the snapshot does not hold."""

    def for_org(self, org: Any) -> Self:
        """Only rows of this org (an `Org`, an `OrgRef` or an id)."""
        return self.filter(org_id=getattr(org, "id", org))


class Invitation(models.Model):
    """Somebody is asked to join an org with these roles. Who invited is kept as text: they may leave."""

    class State(models.TextChoices):
        PENDING = "pending", "pending"
        ACCEPTED = "accepted", "accepted"
        DECLINED = "declined", "declined"
        WITHDRAWN = "withdrawn", "withdrawn"

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField("e-mail")
    roles = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING, editable=False)
    invited_by = models.CharField(max_length=254, editable=False)
    mailed = models.BooleanField(default=False, editable=False)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfOrgs.as_manager()

    class Meta:
        ordering = ("email", "-created_at")
        indexes = (models.Index(fields=("email", "state")),)
        constraints = (
            models.UniqueConstraint(
                fields=("org", "email"),
                condition=models.Q(state="pending"),
                name="one_pending_invitation_per_address",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} to {self.org}"


class Device(models.Model):
    """A browser in which somebody is signed in. Its sign-in session holds the id, and ends with the row."""

    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="devices")
    agent = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ("-seen_at",)

    def __str__(self) -> str:
        return f"{self.user} since {self.created_at:%Y-%m-%d %H:%M}"


class Quota(models.Model):
    """How much of the installation an org may use. Empty: as much as it wants."""

    members = models.PositiveIntegerField(null=True, blank=True, help_text="People, open invitations included.")
    upstreams = models.PositiveIntegerField(null=True, blank=True)
    calls = models.PositiveIntegerField(
        "calls a minute",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="Of everybody in the org together, over a sliding window.",
    )

    class Meta:
        abstract = True


class Installation(Quota):
    """What hub admins set for the whole hub: one row. Its quotas hold for orgs without quotas of their own."""

    ONLY: Final = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    self_service = models.BooleanField(
        "self-service", default=True, help_text="In cloud mode, whoever proves an e-mail address may make an org."
    )

    class Meta:
        verbose_name = "installation"
        verbose_name_plural = "installation"

    def __str__(self) -> str:
        return "This hub"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """What holds for all orgs is in every snapshot."""
        with transaction.atomic():
            super().save(*args, **kwargs)
            bump(Org.objects.values_list("pk", flat=True))


class OrgQuota(Versioned, Quota):
    """An org's own quotas, in place of the installation's."""

    org = models.OneToOneField(Org, on_delete=models.CASCADE, primary_key=True, related_name="quota")

    class Meta:
        verbose_name = "quota"

    def __str__(self) -> str:
        return f"quota of {self.org}"
