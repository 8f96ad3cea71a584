"""Two tables that stand for the hub's real ones: with secrets, and with a many-to-many set."""

from collections.abc import Iterator

import pytest
from django.db import connection, models

from mcphub.accounts.models import Org
from mcphub.accounts.versioned import Versioned
from mcphub.core.fields import EncryptedJSONField, EncryptedTextField
from mcphub.core.ids import new_uuid


class Vault(models.Model):
    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, db_constraint=False)
    label = models.CharField(max_length=20, blank=True)
    password = EncryptedTextField(null=True)
    headers = EncryptedJSONField(default=dict)

    class Meta:
        app_label = "tests_core"

    def __str__(self) -> str:
        return self.label


class Shelf(Versioned):
    id = models.UUIDField(primary_key=True, default=new_uuid, editable=False)
    org = models.ForeignKey(Org, on_delete=models.CASCADE, db_constraint=False)
    label = models.CharField(max_length=20, blank=True)
    vaults = models.ManyToManyField(Vault, related_name="shelves")
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "tests_core"

    def __str__(self) -> str:
        return self.label


@pytest.fixture(scope="session", autouse=True)
def tables(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            editor.create_model(Vault)
            editor.create_model(Shelf)
        yield
        with connection.schema_editor() as editor:
            editor.delete_model(Shelf)
            editor.delete_model(Vault)


@pytest.fixture
def org(db: None) -> Org:
    return Org.objects.create(slug="north", name="North")
