"""Ed25519 (RFC 8032, section 5.1) in Python alone, for few signatures.

Not in constant time: sign where nobody else can measure.
"""

from .sha512 import sha512

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1
_ZERO = (0, 1, 1, 0)


def public(seed):
    """The public key (32 bytes) of a private one (32 bytes)."""
    return _encode(_multiply(_secret(seed)[0], _BASE))


def sign(seed, message, key=None):
    """The signature (64 bytes) of a message by a private key; key: its public key, where that is at hand."""
    scalar, prefix = _secret(seed)
    nonce = _hash(prefix, message) % _ORDER
    point = _encode(_multiply(nonce, _BASE))
    product = _hash(point, key or public(seed), message) * scalar
    return point + ((nonce + product) % _ORDER).to_bytes(32, "little")


def verify(key, message, signature):
    """Whether this is the signature of the message by the owner of the public key."""
    if len(key) != 32 or len(signature) != 64:
        return False
    number = int.from_bytes(signature[32:], "little")
    point = _decode(key)
    # A number that is not below the order would be a second signature of the same message.
    if point is None or number >= _ORDER:
        return False
    factor = _hash(signature[:32], key, message) % _ORDER
    x, y, z, t = point
    return _encode(_combine(number, _BASE, factor, (_P - x, y, z, _P - t))) == signature[:32]


def _hash(*parts):
    return int.from_bytes(sha512(b"".join(parts)), "little")


def _secret(seed):
    """The scalar of a private key, and what nonces are made of."""
    digest = sha512(seed)
    scalar = int.from_bytes(digest[:32], "little")
    return scalar & (1 << 254) - 8 | 1 << 254, digest[32:]


# Points are in extended coordinates: x/z, y/z, and t = xy/z.


def _add(one, other):
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * t1 * t2 * _D % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(point):
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h = a + b
    e = h - (x + y) * (x + y) % _P
    g = a - b
    f = 2 * z * z % _P + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(factor, point):
    return _combine(factor, point, 0, _ZERO)


def _combine(first, one, second, other):
    """first * one + second * other, bit by bit of both at once."""
    steps = (_ZERO, one, other, _add(one, other))
    total = _ZERO
    for bit in range(255, -1, -1):
        total = _double(total)
        step = (first >> bit & 1) + 2 * (second >> bit & 1)
        if step:
            total = _add(total, steps[step])
    return total


def _encode(point):
    x, y, z, _ = point
    inverse = pow(z, _P - 2, _P)
    return ((y * inverse % _P) | (x * inverse % _P & 1) << 255).to_bytes(32, "little")


def _decode(data):
    """The point that 32 bytes stand for; None where they stand for none."""
    number = int.from_bytes(data, "little")
    return _point(number & (1 << 255) - 1, number >> 255)


def _point(y, sign):
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    if x * x % _P != square or not x and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _point(4 * pow(5, _P - 2, _P) % _P, 0)
