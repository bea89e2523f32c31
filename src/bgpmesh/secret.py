"""The network's secret, of which a router may know two: one by one, all members are given another.

A member that knows two says so in its record, by names that give neither away. Each pair then uses the one
that both know, and who writes a record signs it so that all can read it.
"""

from . import compat

NAME_LENGTH = 16


def name(secret):
    """16 hexadecimal digits that stand for a secret, and from which it cannot be found."""
    return compat.hmac_sha256(secret.encode(), b"bgpmesh secret")[:NAME_LENGTH]


def names(secrets):
    """The names of secrets."""
    return [name(secret) for secret in secrets]


def shared(secrets, theirs, leading):
    """The secret for what this router and another one do together; None where they have none in common.

    secrets: this router's, the newest first; theirs: names of the other's, in that order. leading: whether
    this router's order counts where the two differ, which both ends have to see alike.
    """
    mine = {name(secret): secret for secret in secrets}
    order = names(secrets) if leading else theirs
    for found in order:
        if found in mine and found in theirs:
            return mine[found]
    return None


def signing(secrets, members):
    """The secret to sign with: the newest, unless somebody knows the older one alone and all know that."""
    for older in secrets[1:]:
        newest = name(secrets[0])
        if not all([newest in member.secrets for member in members]):
            if all([name(older) in member.secrets for member in members]):
                return older
    return secrets[0] if secrets else None
