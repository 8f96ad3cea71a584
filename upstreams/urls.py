"""What upstreams themselves may ask the hub for."""

from django.urls import path

from upstreams.views import claim_keys

urlpatterns = [path(".well-known/mcphub/keys.json", claim_keys, name="claim-keys")]
