"""The hub's own public client, for programs that a person runs: code + PKCE with a loopback redirect (RFC 8252)."""

from django.db import migrations

CLIENT_ID = "mcphub-cli"
REDIRECTS = "http://127.0.0.1/callback http://[::1]/callback"


def make(apps, schema_editor):
    application = apps.get_model("oauth2_provider", "Application")
    application.objects.get_or_create(
        client_id=CLIENT_ID,
        defaults={
            "name": "MCP Hub command line",
            "redirect_uris": REDIRECTS,
            "client_type": "public",
            "authorization_grant_type": "authorization-code",
            "client_secret": "",
            "hash_client_secret": False,
            "registration_source": "manual",
        },
    )


def unmake(apps, schema_editor):
    apps.get_model("oauth2_provider", "Application").objects.filter(client_id=CLIENT_ID).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0003_authorization_server"),
        ("oauth2_provider", "0022_refreshtoken_token_family_index"),
    ]

    operations = [migrations.RunPython(make, unmake)]
