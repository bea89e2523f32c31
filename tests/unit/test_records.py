import json

from example import ED25519, OTHER_SECRET, RSA, SECRET, member, options, prefixes, reason

from bgpmesh import compact, compat, records, secret

KEY = "/peers/bravo"
FOLDER = "/peers/"
SHORT = """-----BEGIN RSA PUBLIC KEY-----
MIGJAoGBALTbONdZQ7pLg8eW2JP5cNvhRdRgjxd/9RDZI77iFeHR6Gdph6eE8kTK
RRr37GIa6f4CJNEPOnntQ0SL5o7XF1W6oohHRDczMJMFnds4vC+WrsH6Zo8gUGvY
+QzeRZ3roVMTEHKsi17cV5c1ET8NKpLTa+C6EEj1PwJGij5WYf9rAgMBAAE=
-----END RSA PUBLIC KEY-----"""
PLAIN = options()
SIX = options("option network6 'fd00:99::/64'")
SIGNED = options("option secret '%s'" % SECRET)


def fields(**changes):
    """A record's fields; None takes one away."""
    found = {"ip": "10.0.0.2", "ed25519": ED25519[1]}
    found.update(changes)
    return {name: found[name] for name in found if found[name] is not None}


def record(**changes):
    return json.dumps(fields(**changes))


def decoded(text, config=PLAIN, node="bravo"):
    return records.decode(node, text, config, "/peers/" + node)


def refusal(text, config=PLAIN, node="bravo"):
    """The text of the RecordError that a record ends in."""
    try:
        decoded(text, config, node)
    except records.RecordError as error:
        message = str(error)
        assert "\n" not in message and len(message) < 300, message
        return message
    raise AssertionError("accepted: %s" % str(text)[:200])


def refused(right, config=PLAIN, **changes):
    message = refusal(record(**changes), config)
    assert right in message, message


def attributes(found):
    names = "node ip ip6 key ed25519 endpoint asn router_id prefixes serial version".split()
    return [(name, getattr(found, name)) for name in names]


# What is right


def test_a_record_of_two_fields_is_enough_and_the_rest_has_defaults():
    found = records.decode("bravo", record(), options("option asn '64512'"), KEY, 17)
    assert attributes(found) == [
        ("node", "bravo"),
        ("ip", "10.0.0.2"),
        ("ip6", None),
        ("key", None),
        ("ed25519", ED25519[1]),
        ("endpoint", None),
        ("asn", 64512),
        ("router_id", "10.0.0.2"),
        ("prefixes", []),
        ("serial", 0),
        ("version", ""),
    ]
    assert found.created == 17


def test_what_is_encoded_decodes_to_the_same():
    one = member("bravo", 2, ip6="fd00:99::2", serial=7, prefixes=["192.168.2.0/24", "2001:db8:2::/64"])
    two = member("bravo", 9, key=None, endpoint=("2001:db8::9", 65535), asn=4294967294, version="", prefixes=[])
    three = member("bravo", 3, ed25519=None, endpoint=("r3.example.org", 1), router_id="192.0.2.99")
    four = member("bravo", 1, endpoint=None)
    for found in (one, two, three, four):
        for config in (SIX, options("option network6 'fd00:99::/64'", "option secret '%s'" % SECRET)):
            text = records.encode(found, KEY, config.secret)
            assert attributes(decoded(text, config)) == attributes(found), text
            assert records.encode(decoded(text, config), KEY, config.secret) == text


def test_the_encoded_bytes_stay_as_they_are():
    text = records.encode(member("bravo", 2, key=None, ip6="fd00:99::2", serial=7), KEY)
    assert text == (
        '{"ip":"10.0.0.2","ip6":"fd00:99::2","key":"","ed25519":"RHpQKrfZ5q3eqXJ9SCwNyqqZdS2Oglaf3Lxf9L0tutF",'
        '"endpoint":"192.0.2.2:655","asn":65000,"router_id":"10.0.0.2","prefixes":["192.168.2.0/24"],'
        '"serial":7,"version":"1.0"}'
    )
    signature = compat.hmac_sha256(SECRET.encode(), (KEY + "\n" + text).encode())
    signed = records.encode(member("bravo", 2, key=None, ip6="fd00:99::2", serial=7), KEY, SECRET)
    assert signed == text[:-1] + ',"sig":"hmac-sha256:%s"}' % signature
    assert "\\n" in records.encode(member("bravo", 2), KEY)


def test_the_earlier_daemons_fields_are_read():
    text = json.dumps({"IP": "10.0.0.2/24", "Key": RSA[1] + "\n", "Endpoint": "192.0.2.2"})
    found = decoded(text)
    assert (found.ip, found.key, found.endpoint) == ("10.0.0.2", RSA[1], ("192.0.2.2", 655))
    assert decoded(text[:-1] + ', "ip": "10.0.0.3"}').ip == "10.0.0.3"


def test_unknown_fields_are_kept_out_of_the_way():
    assert decoded(record(colour="blue", more={"a": [1, {"b": None}]}, sig="", Name="x", Subnets=7)).ip == "10.0.0.2"
    assert decoded(record(version='1.0 {with [brackets] and a quote " in it')).ip == "10.0.0.2"


def test_keys_get_one_shape():
    body = RSA[1].split("\n")
    wide = "\n".join([body[0], "".join(body[1:-1]), body[-1]])
    for text in (RSA[1], RSA[1] + "\n", RSA[1].replace("\n", "\r\n"), "\n" + RSA[1], wide):
        assert decoded(record(key=text)).key == RSA[1]


def test_prefixes_are_sorted_and_each_is_there_once():
    found = decoded(record(prefixes=["2001:db8::/32", "192.168.9.0/24", "10.1.0.0/16", "192.168.9.0/24"]))
    assert found.prefixes == prefixes("10.1.0.0/16", "192.168.9.0/24", "2001:db8::/32")


def test_a_prefix_may_lie_inside_another_of_the_same_member():
    assert len(decoded(record(prefixes=["192.168.0.0/16", "192.168.9.0/24"])).prefixes) == 2


def test_the_ipv6_address_counts_only_where_the_overlay_has_ipv6():
    assert decoded(record(ip6="fd00:99::2")).ip6 is None
    assert decoded(record(ip6="fd00:99:0:0::2"), SIX).ip6 == "fd00:99::2"
    assert decoded(record(), SIX).ip6 is None


def test_a_long_version_is_cut():
    assert decoded(record(version="9" * 1000)).version == "9" * 32


# What is wrong


def test_no_json():
    for text in ("", " ", "x", "null", "7", "[]", '"text"', "{", "}", "{}}", "{'ip': 1}", "\x00", "<html>"):
        assert "JSON" in refusal(text), text
    assert "JSON" in refusal(record() + record())
    assert "JSON" in refusal(record() + "x")
    assert "'ip'" in refusal("{}")


def test_every_truncation_is_refused():
    inner = record(version="1.0}", prefixes=["192.168.2.0/24"], key=RSA[1])
    nested = record(more={"a": [1, {"b": "}]"}]}, other="]}")
    for text in (records.encode(member("bravo", 2), KEY), inner, nested):
        decoded(text)
        for end in range(len(text)):
            refusal(text[:end])


def test_every_truncation_of_a_signed_record_is_refused():
    text = records.encode(member("bravo", 9, version="{1}"), KEY, SECRET)
    decoded(text, SIGNED)
    for end in range(len(text)):
        assert "sign" in refusal(text[:end], SIGNED)


def test_a_very_long_record():
    assert "longer than 16384" in refusal(record(padding="x" * 16384))
    assert "longer than 16384" in refusal("x" * 1000000)
    assert "longer than 16384" in refusal(None)


def test_deep_nesting():
    for depth in (100, 900, 2000, 8000):
        deep = "[" * depth + "]" * depth
        refusal(deep)
        for name in ("ip", "ip6", "key", "ed25519", "endpoint", "asn", "router_id", "prefixes", "serial", "version"):
            refusal('{"%s":%s}' % (name, deep))
        refusal('{"ip":"10.0.0.2","prefixes":[%s]}' % deep)
        refusal('{"a":' * depth + "1" + "}" * depth)


def test_names():
    for node in (
        "",
        "a/b",
        "..",
        ".",
        "a.b",
        "a-b",
        "a b",
        "a\nb",
        "a\n",
        "a\0",
        'a"b',
        "a'b",
        "a;b",
        "a{b",
        "$HOME",
        "é",
        "٣",
        "a" * 64,
        "a" * 300,
        "\\x2e",
    ):
        assert "name" in refusal(record(), PLAIN, node), node
    for node in ("a", "_", "0", "A" * 63, "r_1", "bgp", "tinc"):
        assert decoded(record(), PLAIN, node).node == node


def test_keys_that_are_none():
    lines = RSA[1].split("\n")
    private = RSA[1].replace("PUBLIC", "PRIVATE")
    for text in (
        "garbage",
        "-----BEGIN RSA PUBLIC KEY-----",
        "-----BEGIN RSA PUBLIC KEY-----\n-----END RSA PUBLIC KEY-----",
        "\n".join(lines[:-1]),
        "\n".join(lines[1:]),
        private,
        RSA[1].replace("-----END RSA PUBLIC", "-----END PUBLIC"),
        RSA[1].replace("-----BEGIN RSA", "-----BEGIN EC"),
        RSA[1].replace("RSA PUBLIC KEY", "CERTIFICATE"),
        RSA[1].replace("MIIB", "MII!"),
        RSA[1].replace("MIIB", "MII"),
        RSA[1].replace("\n", "\n\n# x\n", 1),
        RSA[1].replace("\n", "\nPort = 1\n", 1),
        RSA[1].replace("\n", "\n=", 1),
        RSA[1].replace("\n", " "),
        RSA[1] + "\n" + RSA[0],
        RSA[1] + "\nAddress = 192.0.2.66",
        "Address = 192.0.2.66\n" + RSA[1],
        SHORT,
        "\n".join([lines[0]] + lines[1:-1] * 9 + [lines[-1]]),
    ):
        refused("'key' is not an RSA", key=text)
    refused("'key' is not a text", key=7)


def test_ed25519_keys_that_are_none():
    good = ED25519[1]
    for text in (good[:-1], good + "A", good[:-1] + "=", good[:-1] + "\n", good[:-1] + "-", " " + good[:-1], "x"):
        refused("'ed25519' is not", ed25519=text)
    refused("neither 'key' nor 'ed25519'", ed25519="")
    refused("neither 'key' nor 'ed25519'", ed25519=None, key=None)


def test_addresses():
    for text in ("10.0.1.2", "10.0.0.0", "10.0.0.255", "192.0.2.2", "fd00::2", "::ffff:10.0.0.2"):
        refused("not a host's address in 10.0.0.0/24", ip=text)
    for text in ("", "10.0.0", "10.0.0.256", "10.0.0.02", " 10.0.0.2", "10.0.0.2\n", "0x0a000002", "r2", "1:2"):
        refused("'ip' is '", ip=text)
    for value in (None, 167772162, True, ["10.0.0.2"], {"a": 1}, 1.5):
        refused("'ip' is", ip=value)


def test_ipv6_addresses():
    for text in ("fd00:98::2", "fd00:99::", "10.0.0.2", "fe80::2", "::1"):
        refused("not a host's address in fd00:99::/64", SIX, ip6=text)
    for text in ("fd00:99::x", "fd00:99::2%tinc0", "fd00:99::2/64", "fd00:99::2\n", "1:2:3"):
        refused("not an IPv6 address", SIX, ip6=text)
    refused("'ip6' is not a text", SIX, ip6=2)


def test_prefixes_that_nobody_may_announce():
    for text in (
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/24",
        "10.0.0.0/8",
        "10.0.0.2/32",
        "10.0.0.128/25",
        "0.0.0.0/1",
        "32.0.0.0/3",
        "2000::/3",
        "255.255.255.255/32",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "fe80::/64",
        "ff00::/8",
        "::1/128",
    ):
        refused("prefix '%s': " % text, prefixes=["192.168.2.0/24", text])
    for text in ("fd00:99::/64", "fd00:99::/48", "fd00:99::2/128", "fd00:99::/96"):
        refused("overlaps the overlay", SIX, prefixes=[text])
    assert decoded(record(prefixes=["fd00:99::/64"])).prefixes == prefixes("fd00:99::/64")


def test_the_longest_and_the_shortest_that_may_be_announced():
    for text in ("172.31.0.1/32", "11.0.0.0/8", "fd01::1/128", "2002::/16"):
        assert decoded(record(prefixes=[text])).prefixes == prefixes(text)


def test_who_can_have_tcp_ao_says_so():
    assert '"auth"' not in records.encode(member("bravo", 2))
    able = member("bravo", 2)
    able.ao = True
    text = records.encode(able)
    assert text.endswith(',"auth":["ao"]}') and decoded(text).ao
    for auth, expected in (([], False), (["md5"], False), (["x", "ao"], True), ("ao", False), ({"ao": 1}, False)):
        assert decoded(record(auth=auth)).ao == expected, auth


def test_who_knows_of_reflectors_says_so_and_what_it_wishes():
    one = member("bravo", 2)
    assert "full_mesh_max" not in records.encode(one) and "reflector" not in records.encode(one)
    assert (decoded(record()).full_mesh_max, decoded(record()).reflector) == (None, "auto")
    for one.full_mesh_max, one.reflector in ((16, "auto"), (4, "yes"), (1000, "no")):
        text = records.encode(one)
        found = decoded(text)
        assert (found.full_mesh_max, found.reflector) == (one.full_mesh_max, one.reflector)
        assert ("reflector" in text) == (one.reflector != "auto")
    for odd in ("maybe", 7, ["yes"], {"yes": 1}, None):
        assert decoded(record(reflector=odd)).reflector == "auto"
    for odd in ("16", -1, 1.5, [16]):
        refused("'full_mesh_max' is not a whole number", full_mesh_max=odd)


def test_who_polls_at_another_interval_than_most_says_so():
    one = member("bravo", 2)
    assert "poll_interval" not in records.encode(one) and decoded(record()).poll_interval == 10
    for one.poll_interval in (1, 300, 3600):
        assert decoded(records.encode(one)).poll_interval == one.poll_interval
    assert decoded(record(poll_interval=1 << 50)).poll_interval == 3600
    for odd in ("10", -1, 1.5, [16]):
        refused("'poll_interval' is not a whole number", poll_interval=odd)


def test_prefixes_that_are_none():
    refused("has host bits set", prefixes=["192.168.2.1/24"])
    refused("192.168.2.0/24 would be right", prefixes=["192.168.2.1/24"])
    for text in (
        "192.168.2.0",
        "192.168.2.0/",
        "192.168.2.0/33",
        "192.168.2.0/-1",
        "192.168.2.0/024",
        "192.168.2.0/24 ",
        "192.168.2.0/24\n",
        "192.168.2.0/24; }",
        "192.168.2.0/24+",
        "",
        "all",
    ):
        refused("prefix '", prefixes=[text])
    for value in (None, 7, True, {}, [["192.168.2.0/24"]], [{"a": 1}], [None]):
        refused("not a text", prefixes=[value])
    for value in ("192.168.2.0/24", {"192.168.2.0/24": 1}, 7, True, False):
        refused("'prefixes' is not a list", prefixes=value)
    assert "'prefixes' is not a list" in refusal('{"ip":"10.0.0.2","prefixes":null}')


def test_how_many_prefixes():
    many = ["192.168.%d.0/24" % number for number in range(256)]
    assert len(decoded(record(prefixes=many)).prefixes) == 256
    refused("at most 256", prefixes=many + ["172.16.0.0/24"])


def test_as_numbers():
    for value in (0, 4294967295, 4294967296, 1 << 52):
        refused("not from 1 to 4294967294", asn=value)
    for value in (-1, 1 << 64, 65000.0, True, False, "65000", "", [], "x"):
        refused("'asn' is not a whole number", asn=value)
    assert "'asn'" in refusal('{"ip":"10.0.0.2","asn":null}')
    assert "'asn'" in refusal('{"ip":"10.0.0.2","asn":1e400}')
    refusal('{"ip":"10.0.0.2","asn":%s}' % ("9" * 5000))
    assert decoded(record(asn=1)).asn == 1
    assert decoded(record(asn=4294967294)).asn == 4294967294


def test_serials():
    for value in (-1, 1.5, True, "1", [], {}, 1 << 53, 10**300):
        refused("'serial' is not", serial=value)
    assert decoded(record(serial=0)).serial == 0
    assert decoded(record(serial=(1 << 53) - 1)).serial == (1 << 53) - 1


def test_router_ids():
    for text in ("0.0.0.0", "x", "10.0.0.256", "::1", "10.0.0.2;", "10.0.0.2\n"):
        refused("'router_id' is '", router_id=text)
    refused("'router_id' is not a text", router_id=7)
    assert decoded(record(router_id="255.255.255.255")).router_id == "255.255.255.255"


def test_endpoints():
    for text, found in (
        ("192.0.2.2", ("192.0.2.2", 655)),
        ("192.0.2.2:1655", ("192.0.2.2", 1655)),
        ("r2.example.org", ("r2.example.org", 655)),
        ("r-2_x.example.org:1", ("r-2_x.example.org", 1)),
        ("[2001:db8::2]:65535", ("2001:db8::2", 65535)),
        ("[2001:DB8:0::2]", ("2001:db8::2", 655)),
        ("", None),
    ):
        assert decoded(record(endpoint=text)).endpoint == found, text


def test_endpoints_that_are_none():
    for text in (
        "192.0.2.2;reboot",
        "$(reboot)",
        "`reboot`",
        "r2|x",
        "r2&x",
        "r2>x",
        "r2 655",
        " r2",
        "r2 ",
        "r2\n",
        "r2\nSubnet = 0.0.0.0/0",
        "r2\r",
        "r2\0",
        "r2#x",
        'r2"x',
        "r2'x",
        "r2{x",
        "-r2",
        "r2/x",
        "*",
        "r2:0",
        "r2:65536",
        "r2:x",
        "r2:655 ",
        "r2:+655",
        "r2:",
        ":655",
        "2001:db8::2",
        "[2001:db8::2",
        "[2001:db8::2]655",
        "[r2]:655",
        "[]",
        "192.0.2.300",
        "a..b",
        "a" * 64,
        "a." * 130 + "b",
        "é",
        "x" * 5000,
    ):
        refused("'endpoint' is '", endpoint=text)
    for value in (7, ["r2"], {"host": "r2"}, True):
        refused("'endpoint' is not a text", endpoint=value)


def test_what_was_found_is_shown_harmless_and_short():
    assert records.shown("a\n\x1b[31m\x7f\u202e") == "'a??[31m??'"
    assert records.shown("x" * 100) == "'" + "x" * 63 + "…'"


# Signatures


def test_a_right_signature():
    assert decoded(records.encode(member("bravo", 2), KEY, SECRET), SIGNED).ip == "10.0.0.2"


def test_without_a_secret_a_signature_is_not_looked_at():
    assert decoded(records.encode(member("bravo", 2), KEY, SECRET)).ip == "10.0.0.2"
    assert decoded(record(sig="hmac-sha256:00")).ip == "10.0.0.2"


def test_while_the_secret_changes_either_signature_is_right_and_it_is_known_which():
    both = options("option secret '%s'" % OTHER_SECRET, "option secret_old '%s'" % SECRET)
    for signed in (OTHER_SECRET, SECRET):
        found = decoded(records.encode(member("bravo", 2), KEY, signed), both)
        assert (found.signed, found.secrets) == (signed, [secret.name(signed)])
    assert "signed with another secret" in refusal(records.encode(member("bravo", 2), KEY, OTHER_SECRET), SIGNED)


def test_which_secrets_a_member_knows():
    one = member("bravo", 2)
    one.secrets = ["0123456789abcdef", "fedcba9876543210"]
    text = records.encode(one, KEY, SECRET)
    found = decoded(text, SIGNED)
    assert found.secrets == one.secrets and records.encode(found, KEY, SECRET) == text
    for bad, words in (
        ("[7]", "no name of one"),
        ('["short"]', "no name of one"),
        ('["0123456789abcde\\n"]', "no name of one"),
        ('"0123456789abcdef"', "not a list"),
        ("[%s]" % ",".join(['"0123456789abcdef"'] * 5), "not a list of at most 4"),
    ):
        body = records.encode(member("bravo", 2))[:-1] + ',"secrets":%s}' % bad
        assert words in refusal(body[:-1] + ',"sig":"hmac-sha256:' + records._sign(body, KEY, SECRET) + '"}', SIGNED)


def test_a_farewell():
    for config, text in (
        (options(), records.farewell(7, KEY)),
        (SIGNED, records.farewell(7, KEY, SECRET)),
    ):
        try:
            decoded(text, config)
            raise AssertionError("no error")
        except records.Left as left:
            assert left.serial == 7
    assert "'serial' is not" in refusal('{"left":true,"serial":"7"}')
    assert "not signed" in refusal('{"left":true,"serial":7}', SIGNED)
    assert "neither 'key'" in refusal(record(left=1, key="", ed25519=""))


def test_a_missing_signature():
    assert "not signed" in refusal(records.encode(member("bravo", 2)), SIGNED)
    assert "not signed" in refusal("{}", SIGNED)
    assert "not signed" in refusal("", SIGNED)
    assert "not signed" in refusal(record(sig=""), SIGNED)


def test_wrong_signatures():
    good = records.encode(member("bravo", 2), KEY, SECRET)
    body, mark, signature = good.rpartition('"hmac-sha256:')
    for text in (
        records.encode(member("bravo", 2), KEY, "another secret here"),
        records.encode(member("bravo", 2), "/peers/alfa", SECRET),
        records.encode(member("bravo", 2), "/mesh/peers/bravo", SECRET),
        good.replace("192.168.2.0/24", "192.168.3.0/24"),
        good.replace('"serial":1', '"serial":2'),
        good.replace('"ip":', '"ip": '),
        good[:-1] + " }",
        good + " ",
        good + "\n",
        good + "x",
        good[:-1] + ',"ip":"10.0.0.9"}',
        body + mark + signature.upper(),
        body + mark + signature[1:],
        body + mark + "0" * 64 + '"}',
        body + mark + '"}',
        body + mark,
        "x" + good,
    ):
        assert "the signature is wrong" in refusal(text, SIGNED), text[-90:]
    # The last signature is the one that counts, over all that is before it.
    assert "the signature is wrong" in refusal(good[:-1] + "," + mark[1:] + signature, SIGNED)


def test_whoever_signs_still_has_to_make_sense():
    text = '{"ip":"10.0.0.2","prefixes":["0.0.0.0/0"]}'
    signature = compat.hmac_sha256(SECRET.encode(), (KEY + "\n" + text).encode())
    assert "default route" in refusal(text[:-1] + ',"sig":"hmac-sha256:%s"}' % signature, SIGNED)


def test_reason_is_a_value_error():
    assert reason(decoded, "x") == "the record is not JSON"


# As etcd has it


def test_an_entry_lets_go_of_a_text_that_its_member_gives():
    text = records.encode(member("bravo", 2), KEY, SECRET)
    entry = records.Entry(text, 3, 4)
    entry.slim(compact.pack(decoded(text, SIGNED), FOLDER))
    assert not isinstance(entry._text, str) and entry.text == text
    assert (entry.created, entry.modified) == (3, 4)


def test_an_entry_keeps_a_text_that_another_wrote():
    for text in (record(), records.encode(member("bravo", 2))[:-1] + ',"later":1}'):
        entry = records.Entry(text, 3, 4)
        entry.slim(compact.pack(decoded(text), FOLDER))
        assert entry._text == entry.text == text
    entry = records.Entry(None, 3, 4)
    entry.slim(compact.pack(member("bravo", 2), FOLDER))
    assert entry.text is None
