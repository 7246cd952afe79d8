"""Authentication: a bearer token becomes a principal.

`bearer` takes the token from the request, an `Authenticator` turns it into a `policy.vocabulary.Principal`.
"""

from server.authn.authenticator import AuthenticationFailed, Authenticator, IdentityUnavailable

__all__ = ["AuthenticationFailed", "Authenticator", "IdentityUnavailable"]
