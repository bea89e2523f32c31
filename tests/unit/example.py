"""What the tests' mesh is made of: options, members, golden files. Runs on both runtimes."""

import os

from bgpmesh import address, compat, config, disk, ed25519, records
from bgpmesh.identity import Identity

GOLDEN = (__file__.rpartition("/")[0] or ".") + "/../golden"
SECRET = "correct horse battery"
OTHER_SECRET = "another secret of that length"

# Of keys made by tinc 1.1pre18 for this; their private halves are nowhere.
RSA = (
    """-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEA0I5IvlJZTcMEpHcguyRCwJYrW89P5bsbbfeyHMQemmqeOx4yxSEj
19y+aEV2l0z4GzWk64b3RIzwrHSw/Gm/Oq8+Lg4wnQgltsj3Ywv7no2MM0FReyRx
IQc2up67PKsVCd1/KhcNwOCEJKtd5ilto1DbEGuDNVl8pKTc1ETmr8rtNG/cPjHo
CIbJzSCrfgDTGWdiFG+a7H0q/TqgM3GBq2BOzQkdCjU5mMXITlfYLCbKFSDWtyDv
M7rOOFM/tXgR4ugKFx1msHUyFrjmKeqZoLi6P993Qmbz1ShQUUqkEJbwxc3yDu7m
KUUu0YcUK0FeM8qzP0BJAlKc0mReWMw89QIDAQAB
-----END RSA PUBLIC KEY-----""",
    """-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAsd25qb7z68rnAnbpJemquE9h3J6aImt4nlKkTjpoPM+6yqQFEFkf
rcOGg8hIvwWOi+0JVGEt/6bfJI0W+y0lKfehoiuyznabBevH/K8QZgvq8QsmgWNX
xjQoouuu+amFRvdH19yj+BVw5J5czghv9IUF66e0hgjMMvVeHvbNeFkwRiZmitml
9qn50RXPkoofmNG5NDi2QyhZQPSabmV81+iIdPGRQQzkYsgHJK+anTOksar91ijL
OEGT+Poogyy/Ph9fOm6XgwG2vzKpAgR9yQPf50hyZ5hDhxcNB3koWKegULC9hnfE
ZSMJgdd8GT8x3hzlUg1xloxOBHbPAQFFrwIDAQAB
-----END RSA PUBLIC KEY-----""",
    """-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAwaDzXgqR6Zs7M1FCl9ScFeNHvjladk5PE8V6VnYek1NZxeClUa2k
71x5Ud2UQjSfJQKla2zLfqYSfxFe4MqiiDSb0WaGGxf1BD2TCUtTe6Nk8rBaWPyl
re9xcrda4LjSxzNAWkoI6p8HslmYfeAm7V1AJYWce7ANCWqYYMEtAKeYXZ+Nqzkv
cC8qJsgpe2JgOPVQaTjr40KTt3IX/nT3TdXv2cr8CcUD9bkx8T89yhjAYmYEa7To
aWpYv/+SlP9F4FJ1wchXbMgkk+kBzTfWX8quWbTI10lEmhJaE9oU80fQLPvYBKGy
iPq52HCFr6/p77fpaqm/wpZ+r8gJcNUqxwIDAQAB
-----END RSA PUBLIC KEY-----""",
)
ED25519 = (
    "MNTb9RSNCu1wskvc5Hcev3LLG1PqbEWUHmTkHUPWVoG",
    "RHpQKrfZ5q3eqXJ9SCwNyqqZdS2Oglaf3Lxf9L0tutF",
    "KMtkyrF4s1BlEsV2H9rAg0S6u4+1h0Tohnf3hqAmB3O",
)


def options(*statements, node="alfa"):
    """The Config of a mesh section with an etcd server and these statements."""
    lines = ["config mesh 'main'", "option enabled '1'", "option etcd '192.0.2.10'"]
    return config.load("\n".join(lines + list(statements)), node)


def prefixes(*texts):
    return [address.parse_prefix(text) for text in texts]


def member(node, number, **changes):
    """A Member with address 10.0.0.<number>, endpoint 192.0.2.<number> and prefix 192.168.<number>.0/24.

    Its keys are real ones up to number 3; `changes` are other attributes, `prefixes` as texts.
    """
    given = number <= len(ED25519)
    found = records.Member(
        node,
        "10.0.0.%d" % number,
        None,
        RSA[number - 1] if given else None,
        ED25519[number - 1] if given else "%03d" % number + "A" * 40,
        ("192.0.2.%d" % number, 655),
        65000,
        "10.0.0.%d" % number,
        prefixes("192.168.%d.0/24" % number),
        1,
        "1.0",
        number,
    )
    for name in changes:
        value = changes[name]
        setattr(found, name, prefixes(*value) if name == "prefixes" else value)
    return found


_identities = {}


def identity(number):
    """An Identity that no other number has."""
    if number not in _identities:
        seed = bytes([number] * 32)
        _identities[number] = Identity("%s%s\n" % (compat.hexlify(seed), compat.hexlify(ed25519.public(seed))))
    return _identities[number]


class Clock:
    """Has compat.monotonic go on by so many seconds."""

    def __init__(self, seconds):
        self._seconds = seconds

    def __enter__(self):
        self._before = compat.monotonic
        later = self._before() + self._seconds
        compat.monotonic = lambda: later

    def __exit__(self, *_):
        compat.monotonic = self._before


def reason(function, *arguments):
    """The text of the ValueError that a call ends in, or None where it does not."""
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    return None


def golden(name, text):
    """Checks that the file tests/golden/<name> has this text; writes it where $BGPMESH_GOLDEN is `write`."""
    path = "%s/%s" % (GOLDEN, name)
    if os.getenv("BGPMESH_GOLDEN") == "write":
        disk.make_folder(path.rpartition("/")[0], 0o755)
        disk.write(path, text, 0o644)
    remedy = "; if that is right: BGPMESH_GOLDEN=write make unit, and look at the difference"
    expected = disk.read(path)
    assert expected is not None, "there is no tests/golden/%s%s" % (name, remedy)
    theirs, ours = expected.split("\n"), text.split("\n")
    for number in range(max(len(theirs), len(ours))):
        line = ours[number] if number < len(ours) else None
        right = theirs[number] if number < len(theirs) else None
        where = "tests/golden/%s, line %d: " % (name, number + 1)
        assert line == right, where + "%r instead of %r%s" % (line, right, remedy)


def folder(name):
    """A new folder in /tmp for a test's files; to be removed with disk.remove_folder."""
    path = "/tmp/bgpmesh-test-%s-%d" % (name, compat.getpid())
    disk.remove_folder(path)
    disk.make_folder(path)
    return path


class Thing:
    """Something with attributes."""

    def __init__(self, **attributes):
        for name in attributes:
            setattr(self, name, attributes[name])


def given(make):
    """Has a test called with what make() makes; its `folder` is removed afterwards."""

    def decorate(test):
        def run_test():
            thing = make()
            try:
                test(thing)
            finally:
                disk.remove_folder(thing.folder)

        return run_test

    return decorate
