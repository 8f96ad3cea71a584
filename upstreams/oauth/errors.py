"""What can go wrong between the hub and an authorization server. `text` is a sentence for people: never a secret."""


class OAuthFault(Exception):
    """Base."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Refused(OAuthFault):
    """It cannot go on like this: something is configured or published in a way that the hub must not follow."""


class Unavailable(OAuthFault):
    """It did not work this time; the cause may pass."""


class Revoked(OAuthFault):
    """The authorization server says that what the hub holds is good no more (RFC 6749, 5.2: `invalid_grant`)."""


class ClientRejected(OAuthFault):
    """The authorization server does not accept the hub as this client (`invalid_client`, `unauthorized_client`)."""


class NeedsClient(Refused):
    """The server registers nobody: an operator has to enter a client."""


class PendingSpent(Refused):
    """The answer belongs to no sign-in that is under way in this browser."""
