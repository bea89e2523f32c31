"""IPv4 and IPv6 addresses and prefixes, as much as a router's plan needs (MicroPython has no `ipaddress`).

An address is a pair `(family, number)`: family 4 or 6, and the address as an integer. The messages of the
ValueErrors say what is wrong, or would be right, and leave it to the caller to say which value it is about.
"""

BITS = {4: 32, 6: 128}
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


def parse_number(text, low, high):
    """The integer that decimal digits stand for, from `low` to `high`; ValueError."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    # int() takes more than digits (+1, 1_0, 01): what reads back otherwise is refused
    if not low <= number <= high or str(number) != text:
        raise ValueError("not a whole number from %d to %d" % (low, high))
    return number


def parse(text):
    """`(family, number)` of an address; ValueError.

    IPv4 is four decimals without leading zeros, IPv6 what RFC 4291 allows, without a zone.
    """
    if ":" in text:
        return 6, _parse6(text)
    return 4, _parse4(text)


def is_name(host):
    """Whether a host is no address."""
    try:
        parse(host)
    except ValueError:
        return True
    return False


def text(family, number):
    """The canonical text of an address; for IPv6 that of RFC 5952, without the optional dotted notation."""
    if family == 4:
        return "%d.%d.%d.%d" % (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)
    groups = ["%x" % (number >> shift & 0xFFFF) for shift in range(112, -1, -16)]
    longest = start = run = 0
    for index, group in enumerate(groups):
        run = run + 1 if group == "0" else 0
        if run > longest:
            longest = run
            start = index + 1 - run
    if longest < 2:
        return ":".join(groups)
    return ":".join(groups[:start]) + "::" + ":".join(groups[start + longest :])


def _parse4(text):
    parts = text.split(".")
    number = 0
    try:
        for part in parts:
            number = number << 8 | parse_number(part, 0, 255)
    except ValueError:
        parts = ()
    if len(parts) != 4:
        raise ValueError("not an IPv4 address")
    return number


def _parse6(text):
    head, gap, tail = text.partition("::")
    try:
        number, groups = _groups(head, not gap)
        low, more = _groups(tail, True)
        groups += more
        if groups > 7 if gap else groups != 8:
            raise ValueError
        return number << 16 * (8 - groups + more) | low
    except ValueError:
        raise ValueError("not an IPv6 address")


def _groups(text, last):
    """(number, count) of the 16-bit groups of one side of `::`; the last side may end in an IPv4 address."""
    number = count = 0
    parts = text.split(":") if text else []
    if last and parts and "." in parts[-1]:
        low = _parse4(parts.pop())
        parts += ["%x" % (low >> 16), "%x" % (low & 0xFFFF)]
    for part in parts:
        value = int(part, 16)
        if value < 0 or len(part) > 4 or "%x" % value != (part.lstrip("0") or "0").lower():
            raise ValueError
        number = number << 16 | value
        count += 1
    return number, count


class Prefix:
    """A prefix: `family` 4 or 6, `network` (its first address as an integer), `length` in bits."""

    def __init__(self, family, network, length):
        self.family = family
        self.network = network
        self.length = length

    def __str__(self):
        return "%s/%d" % (text(self.family, self.network), self.length)

    def __repr__(self):
        return "Prefix('%s')" % self

    def __eq__(self, other):
        return isinstance(other, Prefix) and self.key() == other.key()

    def __hash__(self):
        return hash(self.key())

    def key(self):
        """What prefixes are sorted by: the family, then the network, then the length."""
        return self.family, self.network, self.length

    def last(self):
        """The last address, an integer; for IPv4 that is the broadcast address."""
        return self.network | (1 << BITS[self.family] - self.length) - 1

    def contains(self, address):
        """Whether an address, as `parse` returns it, lies inside."""
        family, number = address
        return family == self.family and (number ^ self.network) >> BITS[family] - self.length == 0

    def covers(self, other):
        """Whether another prefix lies inside, or is the same."""
        return other.length >= self.length and self.contains((other.family, other.network))

    def overlaps(self, other):
        """Whether the two have an address in common."""
        return self.covers(other) or other.covers(self)

    def hosts(self):
        """How many host addresses: all but network and broadcast (IPv4) or router anycast address (IPv6)."""
        spare = BITS[self.family] - self.length
        if spare < 2:
            return 1 << spare
        return (1 << spare) - (2 if self.family == 4 else 1)

    def host(self, n):
        """The n-th host address, counted from 1, as `(family, number)`; ValueError when there is none."""
        if not 1 <= n <= self.hosts():
            raise ValueError("%s has no host %d: 1 to %d would be right" % (self, n, self.hosts()))
        return self.family, self._first() + n - 1

    def is_host(self, address):
        """Whether an address, as `parse` returns it, is one of the host addresses."""
        return self.contains(address) and 0 <= address[1] - self._first() < self.hosts()

    def is_special(self):
        """Whether it touches what is never routed: this host, loopback, link-local, multicast, reserved (RFC 6890)."""
        return any(self.overlaps(special) for special in _SPECIAL)

    def _first(self):
        return self.network + (self.length + 1 < BITS[self.family])


def parse_prefix(text):
    """The Prefix of `address/length`; ValueError, also when host bits are set."""
    head, _, tail = text.partition("/")
    family, number = parse(head)
    bits = BITS[family]
    try:
        length = parse_number(tail, 0, bits)
    except ValueError:
        raise ValueError("not a prefix: a length from /0 to /%d has to follow the address" % bits)
    prefix = Prefix(family, number >> bits - length << bits - length, length)
    if prefix.network != number:
        raise ValueError("has host bits set: %s would be right" % prefix)
    return prefix


def host_prefix(address):
    """The Prefix, a /32 or /128, of one address as `parse` returns it."""
    family, number = address
    return Prefix(family, number, BITS[family])


def parse_endpoint(endpoint, port):
    """`(host, port)` of `host[:port]`, with the port given where there is none; ValueError.

    The host is a DNS name, an IPv4 address, or an IPv6 address in brackets and returned without them.
    """
    if endpoint.startswith("["):
        host, bracket, rest = endpoint[1:].partition("]")
        if not bracket:
            raise ValueError("']' is missing after the IPv6 address")
        host = text(6, _parse6(host))
    else:
        host, colon, rest = endpoint.partition(":")
        if ":" in rest:
            raise ValueError("an IPv6 address needs brackets, as in [2001:db8::1]:655")
        rest = colon + rest
        _check_name(host)
    if rest:
        if rest[0] != ":":
            raise ValueError("only :port may follow ']'")
        try:
            port = parse_number(rest[1:], 1, 65535)
        except ValueError as error:
            raise ValueError("the port is %s" % error)
    return host, port


def endpoint_text(endpoint):
    """`host:port` of a `(host, port)`, as parse_endpoint reads it."""
    return ("[%s]:%d" if ":" in endpoint[0] else "%s:%d") % endpoint


def _check_name(name):
    labels = name.split(".")
    if labels[-1].isdigit():
        _parse4(name)
    for label in labels:
        if label.strip(_NAME) or label.strip("-") != label or not 0 < len(label) < 64 or len(name) > 253:
            raise ValueError("not a host name, an IPv4 address or an IPv6 address in brackets")


_NEVER_ROUTED = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",  # multicast, and what is reserved behind it
    "::/80",
    "fe80::/10",
    "ff00::/8",
)
_SPECIAL = [parse_prefix(prefix) for prefix in _NEVER_ROUTED]
