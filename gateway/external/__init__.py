"""Access tokens that others issue: JWTs of the issuers that an org trusts."""
