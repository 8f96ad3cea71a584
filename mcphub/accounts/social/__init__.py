"""Signing in with somebody else's word for who one is: Google, GitHub, any OpenID Connect provider."""
