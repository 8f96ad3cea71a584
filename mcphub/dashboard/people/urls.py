"""Pages of people, at the root."""

from django.urls import path

from mcphub.dashboard.people import devices, joining, keys, members, orgs

urlpatterns = [
    path("join/", joining.welcome, name="welcome"),
    path("join/<slug:org>/", joining.join, name="join"),
    path("join/<slug:org>/<str:token>/", joining.open_link, name="join-link"),
    path("orgs/new/", orgs.new_org, name="new-org"),
    path("orgs/free/", orgs.slug_free, name="slug-free"),
    path("org/<slug:org>/", orgs.enter, name="org"),
    path("org/<slug:org>/delete/", orgs.delete_org, name="delete-org"),
    path("org/<slug:org>/leave/", members.leave, name="leave"),
    path("org/<slug:org>/members/", members.members_page, name="members"),
    path("org/<slug:org>/members/<uuid:member>/", members.member_page, name="member"),
    path("org/<slug:org>/members/<uuid:member>/remove/", members.remove, name="remove-member"),
    path("org/<slug:org>/invitations/", members.invite, name="invite"),
    path("org/<slug:org>/invitations/<uuid:invitation>/renew/", members.renew, name="renew-invitation"),
    path("org/<slug:org>/invitations/<uuid:invitation>/withdraw/", members.withdraw, name="withdraw-invitation"),
    path("org/<slug:org>/keys/", keys.my_keys, name="keys"),
    path("org/<slug:org>/keys/<uuid:key>/revoke/", keys.revoke_mine, name="revoke-key"),
    path("org/<slug:org>/keys/<uuid:key>/rotate/", keys.rotate_mine, name="rotate-key"),
    path("org/<slug:org>/service-keys/", keys.service_keys, name="service-keys"),
    path("org/<slug:org>/service-keys/<uuid:key>/revoke/", keys.revoke_service, name="revoke-service-key"),
    path("org/<slug:org>/service-keys/<uuid:key>/rotate/", keys.rotate_service, name="rotate-service-key"),
    path("devices/", devices.devices_page, name="devices"),
    path("devices/others/end/", devices.end_others, name="end-other-devices"),
    path("devices/<uuid:device>/end/", devices.end_device, name="end-device"),
]
