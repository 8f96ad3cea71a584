"""The Celery application: the same tasks in standalone (in-process broker) and cloud (Redis)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")

app = Celery("mcphub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["audit", "upstreams", "policies", "gateway", "gateway.authserver", "mcphub.accounts"])
