"""The pages of people: members, invitations, keys, devices, orgs."""
