"""Django settings, derived from the hub's own (`mcphub.core.env`)."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcphub import admin_look
from mcphub.core import env, mailserver
from mcphub.schedule import SCHEDULE

HUB = env.load()
START = env.start_options().at(urlsplit(HUB.server_url).path)

PACKAGE_DIR = Path(__file__).resolve().parent
ROOT_DIR = PACKAGE_DIR.parent if (PACKAGE_DIR.parent / "templates").is_dir() else PACKAGE_DIR

SECRET_KEY = HUB.secret_key
DEBUG = False
ALLOWED_HOSTS = ["*"]
FORCE_SCRIPT_NAME = START.script_name or None

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "mcphub.accounts.apps.HubAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "channels",
    "ninja",
    "oauth2_provider",
    "social_django",
    "mcphub",
    "mcphub.accounts",
    "audit",
    "upstreams",
    "policies",
    "gateway",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "mcphub.accounts.middleware.SignedIn",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "mcphub.urls"
ASGI_APPLICATION = "mcphub.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "mcphub.dashboard.navigation.navigation",
            ]
        },
    }
]

CHANNEL_LAYERS = env.channel_layers(HUB)
DATABASES: dict[str, Any] = {"default": env.database(HUB)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
]
UNFOLD = admin_look.UNFOLD

# The hub as authorization server (`gateway.authserver`): code with PKCE S256 only, tokens kept as hashes, no grace.
OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth2_provider.Application"
OAUTH2_PROVIDER: dict[str, Any] = {
    "OAUTH2_VALIDATOR_CLASS": "gateway.authserver.validator.HubValidator",
    "ACCESS_TOKEN_GENERATOR": "gateway.authserver.tokens.access_token",
    "REFRESH_TOKEN_GENERATOR": "gateway.authserver.tokens.refresh_token",
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(HUB.limits.token_s),
    "REFRESH_TOKEN_EXPIRE_SECONDS": int(HUB.limits.refresh_s),
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": int(HUB.limits.code_s),
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
    "PKCE_REQUIRED": True,
    "SCOPES": {"mcp": "Use the tools, prompts and resources that you may use", "offline_access": "Stay connected"},
    "DEFAULT_SCOPES": ["mcp"],
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "ALLOW_LOCALHOST_LOOPBACK": True,
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": ["authorization_code", "refresh_token", "client_credentials"],
    "OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": ["none", "client_secret_post", "client_secret_basic"],
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}

STATIC_URL = "static/"
STATICFILES_DIRS = [ROOT_DIR / "static"]
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING_CONFIG = "mcphub.core.logs.configure"
LOGGING = {"format": HUB.log_format, "level": HUB.log_level}

CELERY_BROKER_URL = HUB.redis_url or "memory://localhost/"
CELERY_BEAT_SCHEDULE = SCHEDULE
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = TIME_ZONE

globals().update(mailserver.django_settings(HUB.email_url, HUB.server_url, HUB.limits.mail_s))

# Behind TLS nothing of a session travels in the clear; Django's own checks look at these in cloud mode.
SECURE = HUB.server_url.startswith("https://") or START.tls
SESSION_COOKIE_SECURE = SECURE
CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_NAME = "__Host-session" if SECURE and not START.script_name else "mcphub_session"
CSRF_COOKIE_NAME = "__Host-csrf" if SECURE and not START.script_name else "mcphub_csrf"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = False
CSRF_TRUSTED_ORIGINS = [
    *filter(None, (env.origin_of(HUB.server_url),)),
    *(origin for origin in HUB.allowed_origins if "://" in origin),
]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE and HUB.mode == "cloud" else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
# The redirect to TLS is the proxy's: health is asked for without it.
SECURE_SSL_REDIRECT = False
SILENCED_SYSTEM_CHECKS = ["security.W008"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
