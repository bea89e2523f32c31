"""SHA-512 (FIPS 180-4) in Python alone: MicroPython's hashlib has none, and Ed25519 is made of it.

A millisecond a block of 128 bytes; meant for short texts.
"""

_MASK = (1 << 64) - 1


def _primes(count):
    found = []
    number = 2
    while len(found) < count:
        if all([number % prime for prime in found]):
            found.append(number)
        number += 1
    return found


def _fraction(number, power):
    """The first 64 bits of the fractional part of a number's square (2) or cube root (3)."""
    wanted = number << 64 * power
    low, high = 0, 1 << 70
    while high - low > 1:
        middle = (low + high) // 2
        if middle**power <= wanted:
            low = middle
        else:
            high = middle
    return low & _MASK


# What the standard lists is this: made here, it takes no room in the package.
_K = [_fraction(prime, 3) for prime in _primes(80)]
_H = [_fraction(prime, 2) for prime in _primes(8)]


def sha512(data):
    """The digest of bytes, as 64 of them."""
    size = len(data)
    data = data + b"\x80" + bytes((111 - size) % 128 + 8) + (size * 8).to_bytes(8, "big")
    state = _H
    for at in range(0, len(data), 128):
        state = _compress(state, data[at : at + 128])
    return b"".join([word.to_bytes(8, "big") for word in state])


def _turn(word, first, second, third):
    """Three rotations to the right of a word, which stands here twice over, xored."""
    word |= word << 64
    return word >> first ^ word >> second ^ word >> third


def _compress(state, block):
    words = [int.from_bytes(block[at : at + 8], "big") for at in range(0, 128, 8)]
    a, b, c, d, e, f, g, h = state
    for place in range(80):
        if place > 15:
            early, late = words[place - 15], words[place - 2]
            # The last of each three is a shift, not a rotation.
            first = _turn(early, 1, 8, 64) & _MASK ^ early ^ early >> 7
            second = _turn(late, 19, 61, 64) & _MASK ^ late ^ late >> 6
            words.append(words[place - 16] + first + words[place - 7] + second & _MASK)
        one = h + (_turn(e, 14, 18, 41) & _MASK) + (e & f ^ (e ^ _MASK) & g) + _K[place] + words[place]
        two = (_turn(a, 28, 34, 39) & _MASK) + (a & b ^ a & c ^ b & c)
        h, g, f, e = g, f, e, d + one & _MASK
        d, c, b, a = c, b, a, one + two & _MASK
    return [old + new & _MASK for old, new in zip(state, (a, b, c, d, e, f, g, h))]
