import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models, transaction
from django.db.models import F
from django.forms import modelform_factory

from mcphub.accounts.models import Org
from mcphub.core import fields, keyring
from mcphub.core.ids import new_uuid
from mcphub.core.keyring import KeyMissing, Keyring, KeyringError
from tests.core.conftest import Vault

OLD, NEW = "the-older-ring-key-of-the-tests", "the-newer-ring-key-of-the-tests"
SECRETS = {"Authorization": "Bearer canary-5f1c", "retries": 2**70, "empty": None, "é": ["ü", 1.5]}


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    def use(*secrets: str) -> None:
        monkeypatch.setattr(fields, "keyring", lambda: made)
        made = Keyring(secrets)

    use(OLD)
    return use


@pytest.fixture
def vault(org: Org, ring: object) -> Vault:
    return Vault.objects.create(org=org, password="canary-77aa", headers=SECRETS)


def stored(vault: Vault, column: str = "password") -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM tests_core_vault WHERE id = %s", [vault.pk.hex if lite() else vault.pk])
        return cursor.fetchone()[0]


def overwrite(vault: Vault, text: str, column: str = "password") -> None:
    with connection.cursor() as cursor:
        key = vault.pk.hex if lite() else vault.pk
        cursor.execute(f"UPDATE tests_core_vault SET {column} = %s WHERE id = %s", [text, key])


def lite() -> bool:
    return connection.vendor == "sqlite"


def test_values_come_back_as_they_were_saved(vault: Vault) -> None:
    again = Vault.objects.get(pk=vault.pk)
    assert again.password == "canary-77aa"
    assert again.headers == SECRETS


def test_the_column_holds_no_plain_text(vault: Vault) -> None:
    assert "canary" not in stored(vault) + stored(vault, "headers")


def test_equal_secrets_look_different_at_rest(vault: Vault, org: Org) -> None:
    twin = Vault.objects.create(org=org, password="canary-77aa")
    assert stored(vault) != stored(twin)


def test_a_change_inside_a_json_secret_is_saved(vault: Vault) -> None:
    again = Vault.objects.get(pk=vault.pk)
    again.headers["X-New"] = "value"
    again.save()
    assert Vault.objects.get(pk=vault.pk).headers == {**SECRETS, "X-New": "value"}


def test_saving_unread_secrets_leaves_them_as_they_are(vault: Vault) -> None:
    before = stored(vault)
    again = Vault.objects.get(pk=vault.pk)
    again.label = "renamed"
    again.save()
    assert stored(vault) == before


def test_none_is_kept_and_deferred_secrets_load(org: Org, ring: object) -> None:
    vault = Vault.objects.create(org=org)
    assert Vault.objects.get(pk=vault.pk).password is None
    assert Vault.objects.defer("headers").get(pk=vault.pk).headers == {}
    assert Vault.objects.only("label").get(pk=vault.pk).password is None


def test_an_altered_value_does_not_open(vault: Vault) -> None:
    text = stored(vault)
    for place in (1, 9, 20, len(text) - 2):
        overwrite(vault, text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
        loaded = Vault.objects.get(pk=vault.pk)
        with pytest.raises(KeyringError):
            loaded.password  # noqa: B018  # reading opens it
    overwrite(vault, "not sealed at all")
    with pytest.raises(KeyringError):
        Vault.objects.get(pk=vault.pk).password  # noqa: B018  # reading opens it


def test_a_value_of_another_row_field_or_org_does_not_open(vault: Vault, org: Org) -> None:
    thief = Vault.objects.create(org=org, password="mine")
    overwrite(thief, stored(vault))
    with pytest.raises(KeyringError):
        Vault.objects.get(pk=thief.pk).password  # noqa: B018  # reading opens it
    overwrite(vault, stored(vault, "headers"))
    with pytest.raises(KeyringError):
        Vault.objects.get(pk=vault.pk).password  # noqa: B018  # reading opens it
    other = Org.objects.create(slug="south", name="South")
    Vault.objects.filter(pk=vault.pk).update(org=other)
    with pytest.raises(KeyringError):
        Vault.objects.get(pk=vault.pk).headers  # noqa: B018  # reading opens it


def test_a_copied_row_is_refused_instead_of_stored_unreadable(vault: Vault) -> None:
    copy = Vault.objects.get(pk=vault.pk)
    copy.pk, copy._state.adding = new_uuid(), True
    with pytest.raises(KeyringError):
        copy.save()


def test_a_missing_key_is_named_and_the_rest_of_the_row_stays_usable(vault: Vault, ring: object) -> None:
    ring(NEW)
    loaded = Vault.objects.get(pk=vault.pk)
    with pytest.raises(KeyMissing) as caught:
        loaded.password  # noqa: B018  # reading opens it
    assert caught.value.key_id == keyring.key_id(OLD)
    loaded.label = "still editable"
    loaded.save()
    ring(OLD)
    assert Vault.objects.get(pk=vault.pk).password == "canary-77aa"


@pytest.mark.parametrize("lookup", ["password", "password__contains", "headers__isnull", "headers__Authorization"])
def test_secrets_cannot_be_searched(vault: Vault, lookup: str) -> None:
    with pytest.raises(FieldError):
        Vault.objects.filter(**{lookup: "x"}).exists()


def test_update_and_bulk_update_refuse_secrets(vault: Vault) -> None:
    for change in ({"password": "plain"}, {"headers": {}}, {"password": None, "headers": []}):
        with pytest.raises(FieldError), transaction.atomic():
            Vault.objects.update(**change)
    vault.password = "plain"
    with pytest.raises(FieldError), transaction.atomic():
        Vault.objects.bulk_update([vault], ["password"])
    assert Vault.objects.get(pk=vault.pk).password == "canary-77aa"


def test_bulk_create_seals(org: Org, ring: object) -> None:
    made = Vault.objects.bulk_create([Vault(org=org, password=f"canary-{n}") for n in range(3)])
    assert [Vault.objects.get(pk=row.pk).password for row in made] == ["canary-0", "canary-1", "canary-2"]
    assert "canary" not in stored(made[0])


def test_only_a_copy_in_sql_gets_past_and_it_does_not_open(vault: Vault) -> None:
    Vault.objects.filter(pk=vault.pk).update(password=F("headers"))
    with pytest.raises(KeyringError):
        Vault.objects.get(pk=vault.pk).password  # noqa: B018  # reading opens it


def test_repr_forms_and_values_show_no_secret(vault: Vault) -> None:
    assert "canary" not in repr(Vault.objects.values_list("password", "headers").get())
    assert "canary" not in repr(list(Vault.objects.values()))
    assert set(modelform_factory(Vault, fields="__all__").base_fields) == {"org", "label"}


def test_fixtures_leave_secrets_out(vault: Vault) -> None:
    from django.core import serializers

    assert set(json.loads(serializers.serialize("json", [vault]))[0]["fields"]) == {"org", "label"}


def test_wrong_types_are_refused(org: Org, ring: object) -> None:
    with pytest.raises(TypeError):
        Vault.objects.create(org=org, password=7)
    with pytest.raises(ValueError):
        Vault.objects.create(org=org, headers={"x": float("nan")})


def test_keys_in_use_are_listed_and_rotation_moves_every_row(org: Org, ring: object) -> None:
    for n in range(5):
        Vault.objects.create(org=org, password=None if n == 2 else f"canary-{n}", headers={"n": n})
    ring(NEW, OLD)
    Vault.objects.create(org=org, password="fresh")
    assert fields.sealed_key_ids(Vault) == {keyring.key_id(OLD), keyring.key_id(NEW)}
    assert fields.reseal(Vault, limit=2) == fields.Resealed(5, ())
    assert fields.reseal(Vault, limit=2) == fields.Resealed(0, ())
    ring(NEW)
    assert fields.sealed_key_ids(Vault) == {keyring.key_id(NEW)}
    kept = {row.password for row in Vault.objects.all()}
    assert kept == {"canary-0", "canary-1", None, "canary-3", "canary-4", "fresh"}


def test_rotation_goes_around_a_row_that_does_not_open(org: Org, ring: object) -> None:
    rows = [Vault.objects.create(org=org, password=f"canary-{n}") for n in range(3)]
    Vault.objects.filter(pk=rows[1].pk).update(password=F("headers"))
    ring(NEW, OLD)
    assert fields.reseal(Vault, limit=1) == fields.Resealed(2, (str(rows[1].pk),))


def test_a_model_without_a_python_made_uuid_key_fails_its_check() -> None:
    class Numbered(models.Model):
        secret = fields.EncryptedTextField()

        class Meta:
            app_label = "tests_core"

        def __str__(self) -> str:
            return str(self.pk)

    assert [fault.id for fault in Numbered._meta.get_field("secret").check()] == ["mcphub.E010"]


def test_migrations_describe_the_field_plainly() -> None:
    _, path, _, kwargs = Vault._meta.get_field("headers").deconstruct()
    assert path == "mcphub.core.fields.EncryptedJSONField"
    assert kwargs == {"default": dict}


def test_only_one_file_decrypts_fields() -> None:
    root = Path(fields.__file__).parents[2]
    uses = [p for p in root.glob("*/**/*.py") if "tests" not in p.parts and ".venv" not in p.parts]
    assert [p.name for p in uses if "mcphub.field.v1" in p.read_text()] == ["fields.py"]
