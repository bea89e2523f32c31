from bgpmesh import config, uci
from bgpmesh.address import parse_prefix

SECRET = "correct horse battery"

LINE = "not a single line of text: is a quote missing?"

TRUST_KEY = "RWTrLOpXbDd9PJ5lFEQuKhkMnRjlYeErVAHZUwDC7ZafsCShdr3V5gA9"


def load(*statements, hostname="r1"):
    """The Config of a mesh section with an etcd server and these statements."""
    lines = ["config mesh 'main'", "option enabled '1'", "option etcd '192.0.2.10'"]
    return config.load("\n".join(lines + list(statements)), hostname)


def faults(*statements, hostname="r1"):
    """The messages a mesh section with these statements is refused with."""
    try:
        load(*statements, hostname=hostname)
    except config.ConfigError as error:
        assert str(error) == "\n".join([str(fault) for fault in error.faults])
        return [str(fault) for fault in error.faults]
    return []


def told(value):
    """A value as a message has it: what may be a secret by its length, and is no address, is cut."""
    return value if len(value) < 16 or "." in value else "%s... (%d characters)" % (value[:4], len(value))


def refused(option, value, right):
    """Checks that an option's value is the one fault, and what is said of it."""
    message = "bgpmesh: mesh 'main': option '%s' is '%s': %s" % (option, told(value), right)
    assert faults("option %s '%s'" % (option, value)) == [message], faults("option %s '%s'" % (option, value))


def text_faults(text):
    try:
        config.load(text, "r1")
    except config.ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


def test_three_lines_are_enough_and_the_rest_has_defaults():
    found = load()
    assert found.enabled is True
    assert found.etcd == [("http", "192.0.2.10", 2379)]
    assert (found.etcd_api, found.etcd_prefix) == ("v3", "")
    assert (
        found.etcd_user is found.etcd_password is found.ca_file is found.cert_file is found.key_file is None
    )
    assert (found.poll_interval, found.node, found.port, found.mtu, found.asn) == (10, "r1", 655, 1400, 65000)
    assert str(found.network) == "10.0.0.0/24"
    assert found.network6 is found.address is found.endpoint is found.router_id is None
    assert (found.announce, found.prefix, found.secret) == (["lan"], [], None)
    assert (found.trust, found.trust_key) == ("open", None)
    assert (found.interface, found.http, found.warnings) == ("tinc0", None, [])


def test_every_option_set():
    found = load(
        "option enabled 'on'",
        "list etcd 'https://[2001:DB8::5]:4001/'",
        "option etcd_api 'v2'",
        "option etcd_prefix '/mesh/one/'",
        "option etcd_user 'router'",
        "option etcd_password 'pass word'",
        "option ca_file '/etc/ssl/ca.pem'",
        "option cert_file '/etc/ssl/cert.pem'",
        "option key_file '/etc/ssl/key.pem'",
        "option poll_interval '3600'",
        "option node 'north-1.example'",
        "option network '172.16.0.0/12'",
        "option network6 'fd00:99::/64'",
        "option address '172.31.255.254'",
        "option endpoint 'r1.example.net'",
        "option port '1655'",
        "option mtu '1280'",
        "option asn '4200000000'",
        "option router_id '192.0.2.7'",
        "list announce 'lan'",
        "list announce 'guest'",
        "list prefix '192.168.9.0/24'",
        "list prefix 'fd00:1::/64'",
        "option secret '%s'" % SECRET,
        "option trust 'signed'",
        "option trust_key '%s'" % TRUST_KEY,
        "option interface 'mesh-0.1'",
        "option http '127.0.0.1:9179'",
    )
    assert found.etcd == [("http", "192.0.2.10", 2379), ("https", "2001:db8::5", 4001)]
    assert (found.etcd_api, found.etcd_prefix) == ("v2", "/mesh/one")
    assert (found.etcd_user, found.etcd_password) == ("router", "pass word")
    assert (found.ca_file, found.cert_file) == ("/etc/ssl/ca.pem", "/etc/ssl/cert.pem")
    assert (found.key_file, found.poll_interval, found.node) == ("/etc/ssl/key.pem", 3600, "north_1_example")
    assert (found.network, found.network6) == (parse_prefix("172.16.0.0/12"), parse_prefix("fd00:99::/64"))
    assert (found.address, found.endpoint) == ("172.31.255.254", ("r1.example.net", 1655))
    assert (found.port, found.mtu, found.asn, found.router_id) == (1655, 1280, 4200000000, "192.0.2.7")
    assert found.announce == ["lan", "guest"]
    assert [str(prefix) for prefix in found.prefix] == ["192.168.9.0/24", "fd00:1::/64"]
    assert (found.secret, found.interface, found.http) == (SECRET, "mesh-0.1", ("127.0.0.1", 9179))
    assert (found.trust, found.trust_key) == ("signed", TRUST_KEY)
    assert found.warnings == []


def test_the_table_has_help_and_a_good_default_for_every_option():
    for name, default, parse, explanation in config.OPTIONS:
        assert explanation
        for text in default if isinstance(default, tuple) else [default]:
            assert text is None or parse(text) is not None, name
        assert hasattr(load(), name)


def test_the_shipped_file_is_disabled_and_names_every_option():
    with open(__file__.rpartition("/")[0] + "/../../files/etc/config/bgpmesh") as file:
        shipped = file.read()
    found = config.load(shipped, "r1")
    assert found.enabled is False and found.warnings == []
    every = shipped.replace("\t#option", "\toption").replace("\t#list", "\tlist")
    config.load(every, "r1")
    options = uci.parse(every)[0].options
    assert sorted(options) == sorted([option[0] for option in config.OPTIONS])
    for name, default, _, _ in config.OPTIONS:
        assert isinstance(options[name], list) == isinstance(default, tuple), name


def test_all_faults_are_found_at_once():
    assert faults("option port '0'", "option address '10.0.0.300'", "option mtu 'big'", "option asn '0'") == [
        "bgpmesh: mesh 'main': option 'address' is '10.0.0.300': not an IPv4 address",
        "bgpmesh: mesh 'main': option 'port' is '0': not a whole number from 1 to 65535",
        "bgpmesh: mesh 'main': option 'mtu' is 'big': not a whole number from 576 to 9000",
        "bgpmesh: mesh 'main': option 'asn' is '0': not a whole number from 1 to 4294967294",
    ]


def test_a_fault_tells_its_parts():
    try:
        load("option port '0'")
    except config.ConfigError as error:
        [fault] = error.faults
    assert (fault.option, fault.found, fault.right) == ("port", "0", "not a whole number from 1 to 65535")


def test_text_that_is_no_uci():
    assert text_faults("config mesh 'main\n") == ["bgpmesh: line 1: ' is never closed"]


def test_the_section_has_to_be_there():
    right = "config mesh 'main' would be right"
    assert text_faults("") == ["bgpmesh: section 'main': there is none: " + right]
    assert text_faults("config mesh 'other'") == ["bgpmesh: section 'main': there is none: " + right]
    assert text_faults("config mash 'main'") == ["bgpmesh: section 'main': it is of type 'mash': " + right]


def test_what_is_not_known_is_ignored_with_a_warning():
    found = load("option adress '10.0.0.1'", "list secert 'x'", "config mesh 'two'", "config rule")
    assert sorted(found.warnings) == [
        "bgpmesh: mesh 'main': option 'adress' is ignored: there is no such option",
        "bgpmesh: mesh 'main': option 'secert' is ignored: there is no such option",
        "bgpmesh: section 'rule' is ignored: only mesh 'main' is read",
        "bgpmesh: section 'two' is ignored: only mesh 'main' is read",
    ]


def test_enabled_takes_the_words_of_uci():
    for word in ("1", "on", "true", "yes", "enabled"):
        assert load("option enabled '%s'" % word).enabled is True, word
    for word in ("0", "off", "false", "no", "disabled"):
        assert load("option enabled '%s'" % word).enabled is False, word
    refused("enabled", "maybe", "neither 1 nor 0")


def test_etcd_may_be_missing():
    for text in ("", "option enabled '1'", "list etcd ''"):
        assert config.load("config mesh 'main'\n" + text, "r1").etcd == []


def test_etcd_is_a_list_or_a_line():
    servers = [("http", "192.0.2.10", 2379), ("https", "etcd.example", 2379), ("http", "::1", 1)]
    assert load("option etcd '192.0.2.10 https://etcd.example, [::1]:1'").etcd == servers
    assert load("list etcd 'https://etcd.example'", "list etcd '[::1]:1'").etcd == servers
    assert load("list etcd 'http://192.0.2.10:2379'").etcd == servers[:1]


def test_bad_etcd():
    refused("etcd", "ftp://a", "neither http:// nor https://")
    refused("etcd", "http://10.0.0.300", "not an IPv4 address")
    refused("etcd", "http://a:0", "the port is not a whole number from 1 to 65535")
    refused("etcd", "http://a/b", "not a host name, an IPv4 address or an IPv6 address in brackets")
    refused("etcd", "http://::1", "an IPv6 address needs brackets, as in [2001:db8::1]:655")
    assert faults("list etcd 'a/b'", "list etcd 'c:d'") == [
        "bgpmesh: mesh 'main': option 'etcd' is 'a/b': "
        "not a host name, an IPv4 address or an IPv6 address in brackets",
        "bgpmesh: mesh 'main': option 'etcd' is 'c:d': the port is not a whole number from 1 to 65535",
    ]


def test_bad_etcd_api():
    refused("etcd_api", "v4", "neither v3 nor v2")


def test_etcd_prefix_begins_with_a_slash_and_ends_with_none():
    for given, found in (("/", ""), ("mesh", "/mesh"), ("/mesh/", "/mesh"), ("/a/b", "/a/b")):
        assert load("option etcd_prefix '%s'" % given).etcd_prefix == found
    right = "not a path such as /mesh: printable characters without blanks or // would be right"
    for bad in ("/a//b", "/a b", "/ä", "/a\tb"):
        refused("etcd_prefix", bad, right)


def test_bad_etcd_user_and_password():
    assert faults("option etcd_user 'a\nb'", "option etcd_password 'c\nd'") == [
        "bgpmesh: mesh 'main': option 'etcd_user' is 'a... (3 characters)': " + LINE,
        "bgpmesh: mesh 'main': option 'etcd_password' is '(hidden, 3 characters)': " + LINE,
    ]


def test_what_belongs_together_has_to_be_there():
    path = "/etc/ssl/x.pem"
    for given, missing, value in (
        ("etcd_user", "etcd_password", "a"),
        ("etcd_password", "etcd_user", "a"),
        ("cert_file", "key_file", path),
        ("key_file", "cert_file", path),
    ):
        assert faults("option %s '%s'" % (given, value)) == [
            "bgpmesh: mesh 'main': option '%s' is missing: '%s' is set and needs it" % (missing, given)
        ]


def test_bad_files():
    refused("ca_file", "ca.pem", "not an absolute path")
    refused("ca_file", "/a\tb", "not a single line of text")
    assert faults("option cert_file 'a'", "option key_file 'b'") == [
        "bgpmesh: mesh 'main': option 'cert_file' is 'a': not an absolute path",
        "bgpmesh: mesh 'main': option 'key_file' is 'b': not an absolute path",
    ]


def test_a_ca_file_without_https_is_worth_a_warning():
    warning = "bgpmesh: mesh 'main': option 'ca_file' is ignored: no 'etcd' is https://"
    assert load("option ca_file '/ca.pem'").warnings == [warning]
    assert load("option ca_file '/ca.pem'", "list etcd 'https://b'").warnings == []


def test_bad_poll_interval():
    for bad in ("0", "3601", "10s", "-1", "1.5", "010"):
        refused("poll_interval", bad, "not a whole number from 1 to 3600")


def test_node_is_the_host_name_unless_set():
    assert load(hostname="Open-Wrt.lan").node == "Open_Wrt_lan"
    assert load("option node 'north'", hostname="r1").node == "north"


def test_bad_node():
    right = "not 1 to 63 letters, digits or _ (- and . become _)"
    for bad in ("a b", "a/b", "ä", "x" * 64):
        refused("node", bad, right)
    assert faults(hostname="") == ["bgpmesh: mesh 'main': option 'node' is '': " + right]
    assert faults(hostname="a b") == ["bgpmesh: mesh 'main': option 'node' is 'a b': " + right]


def test_bad_network():
    right = "an IPv4 prefix from /8 to /30"
    refused("network", "10.0.0.1/24", "has host bits set: 10.0.0.0/24 would be right")
    refused("network", "10.0.0.0", "not a prefix: a length from /0 to /32 has to follow the address")
    refused("network", "overlay", "not an IPv4 address")
    for bad in ("10.0.0.0/31", "0.0.0.0/0", "10.0.0.0/7", "fd00::/64"):
        refused("network", bad, "not " + right)
    for bad in ("127.0.0.0/8", "224.0.0.0/24", "169.254.0.0/16"):
        refused("network", bad, "never routed, being local or multicast: %s would be right" % right)


def test_bad_network6():
    refused("network6", "fd00::1/64", "has host bits set: fd00::/64 would be right")
    for bad in ("fd00::/48", "fd00::/65", "10.0.0.0/24"):
        refused("network6", bad, "not an IPv6 /64")
    for bad in ("fe80::/64", "ff05::/64", "::/64"):
        refused("network6", bad, "never routed, being local or multicast: an IPv6 /64 would be right")


def test_bad_address():
    refused("address", "10.0.0.300", "not an IPv4 address")
    refused("address", "10.0.0.1/24", "not an IPv4 address")
    refused("address", "fd00::1", "not an IPv4 address")
    for bad in ("10.0.1.1", "10.0.0.0", "10.0.0.255"):
        refused("address", bad, "not a host address of 'network' 10.0.0.0/24")


def test_endpoint_takes_the_port_from_option_port():
    assert load("option endpoint '198.51.100.7'").endpoint == ("198.51.100.7", 655)
    assert load("option endpoint '[2001:db8::7]'", "option port '700'").endpoint == ("2001:db8::7", 700)
    assert load("option endpoint 'r1.example:800'", "option port '700'").endpoint == ("r1.example", 800)


def test_bad_endpoint():
    refused("endpoint", "a b", "not a host name, an IPv4 address or an IPv6 address in brackets")
    refused("endpoint", "a:b", "the port is not a whole number from 1 to 65535")
    refused("endpoint", "2001:db8::1", "an IPv6 address needs brackets, as in [2001:db8::1]:655")
    overlay = "an address of the overlay: one that others reach without it would be right"
    refused("endpoint", "10.0.0.7:655", overlay)
    assert faults("option network6 'fd00::/64'", "option endpoint '[fd00::7]'") == [
        "bgpmesh: mesh 'main': option 'endpoint' is '[fd00::7]': " + overlay
    ]


def test_a_server_inside_the_overlay():
    right = "an address of the overlay: one that is reached without it would be right, or another 'network'"

    def told(name, text):
        return "bgpmesh: mesh 'main': option '%s' is '%s': %s" % (name, text, right)

    servers = "list etcd '192.0.2.10'", "list etcd 'https://10.0.0.10:2379'"
    assert faults(*servers) == [told("etcd", "https://10.0.0.10:2379")]
    assert faults("option rpki '10.0.0.10'") == [told("rpki", "10.0.0.10:323")]
    six = "option network6 'fd00::/64'"
    assert faults(six, "option etcd 'http://[fd00::7]'") == [told("etcd", "http://[fd00::7]:2379")]
    assert faults(six, "option rpki '[fd00::7]:3323'") == [told("rpki", "[fd00::7]:3323")]
    assert faults("option network '10.99.0.0/24'", *servers) == []
    assert faults("option etcd 'http://[fd00::7]'", "option rpki 'rpki.example.net'") == []


def test_bad_port():
    for bad in ("0", "65536", "ssh"):
        refused("port", bad, "not a whole number from 1 to 65535")


def test_bad_mtu():
    for bad in ("575", "9001", "1400 "):
        refused("mtu", bad, "not a whole number from 576 to 9000")
    assert load("option mtu '576'").mtu == 576
    assert faults("option mtu '1279'", "option network6 'fd00::/64'") == [
        "bgpmesh: mesh 'main': option 'mtu' is '1279': IPv6 in 'network6' needs 1280 or more"
    ]


def test_bad_asn():
    for bad in ("0", "4294967295", "AS65000", "1.10"):
        refused("asn", bad, "not a whole number from 1 to 4294967294")
    for bad in ("23456", "65535"):
        refused("asn", bad, "reserved: a private AS number such as 65000 would be right")


def test_bad_router_id():
    refused("router_id", "1", "not an IPv4 address")
    refused("router_id", "::1", "not an IPv4 address")
    refused("router_id", "0.0.0.0", "not a router id: an IPv4 address other than 0.0.0.0 would be right")


def test_announce_is_a_list_or_a_line():
    assert load("option announce 'lan guest'").announce == ["lan", "guest"]
    assert load("list announce 'guest'").announce == ["guest"]
    assert load("list announce ''").announce == []


def test_bad_announce():
    refused(
        "announce",
        "lan/1",
        "not an interface of /etc/config/network: letters, digits, _ . or - would be right",
    )


def test_prefix_is_a_list_or_a_line_and_twice_is_once():
    assert load("option prefix '192.168.9.0/24 192.168.9.0/24'").prefix == [parse_prefix("192.168.9.0/24")]


def test_bad_prefix():
    refused("prefix", "192.168.9.1/24", "has host bits set: 192.168.9.0/24 would be right")
    refused("prefix", "192.168.9.0", "not a prefix: a length from /0 to /32 has to follow the address")
    for bad in ("0.0.0.0/0", "::/0"):
        refused("prefix", bad, "a default route is never announced")
    for bad in ("32.0.0.0/3", "12.0.0.0/7"):
        refused("prefix", bad, "shorter than /8: it takes in the networks of others")
    for bad in ("2000::/3", "fc00::/15"):
        refused("prefix", bad, "shorter than /16: it takes in the networks of others")
    for bad in ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/8", "::1/128", "fe80::/64", "ff00::/8"):
        refused("prefix", bad, "loopback, link-local, multicast and reserved networks are never announced")
    for bad in ("10.0.0.0/8", "10.0.0.0/24", "10.0.0.128/25"):
        refused("prefix", bad, "it overlaps the overlay's own network")
    assert faults("option network6 'fd00::/64'", "list prefix 'fd00::/56'", "list prefix 'fd00:0:0:0:aaaa::/80'") == [
        "bgpmesh: mesh 'main': option 'prefix' is 'fd00::/56': it overlaps the overlay's own network",
        "bgpmesh: mesh 'main': option 'prefix' is 'fd00::aaaa:0:0:0/80': it overlaps the overlay's own network",
    ]


def test_a_bad_secret_is_refused_and_not_told():
    right = "16 to 256 printable ASCII characters without quotes and backslashes would be right"
    for bad in ("short", "x" * 15, "x" * 257, "x" * 16 + "\t", "x" * 16 + '"', "x" * 16 + "\\", "ä" * 16):
        assert faults("option secret '%s'" % bad) == [
            "bgpmesh: mesh 'main': option 'secret' is '(hidden, %d characters)': %s" % (len(bad), right)
        ]
    for good in ("x" * 16, "~ " * 128):
        assert load("option secret '%s'" % good).secret == good


# What a file becomes when a line of it is typed wrong; @ is the option, # its value, & an @.
SLIPS = (
    "option @\n\t#",
    "option @\n\t'#'",
    "'#' '@'",
    "# @",
    "option # @",
    "list # @",
    "option node 'north\n\toption @ #\n\toption port '655'",
    "option node 'north\n\toption @ '#'\n",
    "option port 655'\n\toption @ '#'\n\toption mtu '1400'",
    "option announce \"lan\n\toption @ '#'\n\toption port '655'\"",
    "list prefix \"10.1.0.0/16\n\toption @ '#'\n\toption port '655'\"",
    "config mesh '#'",
    "config '#'",
    "config '#' main",
    "config mesh 'main' '#'",
    "package '#'",
    "option @'#' x",
    "option @=#",
    "option @-# x",
    "option node '#/'",
    "option port '#'",
    "option etcd 'http://north:#&192.0.2.10'",
    "option etcd 'http://#&192.0.2.10' ; option @ '#'",
    "list @ '#'\n\tlist @ '#'",
)


def test_no_slip_of_the_pen_has_a_secret_told():
    values = (SECRET, "d34d" * 16, "0123456789abcdef", "all the king's men", "x'\"\\" * 5)
    for option in ("secret", "secret_old", "etcd_password", "http_token"):
        for value in values:
            for slip in SLIPS:
                text = "config mesh 'main'\n\t" + slip.replace("@", option).replace("#", value).replace("&", "@") + "\n"
                try:
                    said = "\n".join(config.load(text, "r1").warnings)
                except config.ConfigError as error:
                    said = str(error)
                pieces = [value[at : at + 6] for at in range(len(value) - 5)]
                assert not [piece for piece in pieces if piece in said], (text, said)


def test_a_short_password_is_not_told_either_where_it_is_not_in_its_place():
    for slip in ("@\n\t#", "@\n\t'#'", "@=#", "@-# x", "# @"):
        text = "config mesh 'main'\n\toption " + slip.replace("@", "etcd_password").replace("#", "hunter2")
        try:
            said = "\n".join(config.load(text, "r1").warnings)
        except config.ConfigError as error:
            said = str(error)
        assert said and "hunter2" not in said, (text, said)


def test_bad_trust():
    refused("trust", "closed", "neither open nor signed")
    for bad in (TRUST_KEY[:-1], TRUST_KEY + "A", "RWA" + TRUST_KEY[3:], "/etc/network.pub", TRUST_KEY[:-1] + "="):
        refused("trust_key", bad, "not the second line of a public key's file, as usign or `bgpmesh keygen` makes it")
    assert "'trust_key' is missing: 'trust' is signed and needs it" in faults("option trust 'signed'")[0]
    assert load("option trust_key '%s'" % TRUST_KEY).trust == "open"


def test_the_grace_is_a_day_unless_set():
    assert load().grace == 24
    assert (load("option grace '1'").grace, load("option grace '8760'").grace) == (1, 8760)
    for bad in ("0", "8761", "1.5", "1d"):
        refused("grace", bad, "not a whole number from 1 to 8760")


def test_bad_interface():
    right = "not an interface name: up to 15 letters, digits, _ . or - would be right"
    for bad in ("x" * 16, "a b", "a/b", "a:1", ".", "..", "ä"):
        refused("interface", bad, right)
    assert load("option interface '%s'" % ("x" * 15)).interface == "x" * 15


def test_bad_validator():
    for bad in ("a b", "-", "[::1", "::1:323", "host:0", "host:65536", "10.0.0.300"):
        beginning = "bgpmesh: mesh 'main': option 'rpki' is '%s': " % told(bad)
        assert faults("option rpki '%s'" % bad)[0].startswith(beginning)
    assert load("option rpki 'validator'").rpki == ("validator", 323)
    assert load("option rpki '[2001:db8::1]:3323'").rpki == ("2001:db8::1", 3323)
    assert load().rpki is None


def test_bad_http():
    for bad in ("9179", "127.0.0.1", "localhost:9179", "127.0.0.1:0", "::1:9179"):
        refused("http", bad, "not address:port, such as 127.0.0.1:9179")
    assert load("option http '[::1]:9179'").http == ("::1", 9179)


def test_a_list_for_a_single_option_is_refused():
    for name, default, _, _ in config.OPTIONS:
        if not isinstance(default, tuple) and name not in ("enabled",) + config._HIDDEN:
            assert (
                "bgpmesh: mesh 'main': option '%s' is 'a b': a list: a single option would be right" % name
            ) in faults("list %s 'a'" % name, "list %s 'b'" % name), name
    assert "'(hidden, 3 characters)': a list" in faults("list secret 'a'", "list secret 'b'")[0]


def test_reflectors():
    found = load()
    assert (found.full_mesh_max, found.reflector) == (16, "auto")
    found = load("option full_mesh_max '2'", "option reflector 'yes'")
    assert (found.full_mesh_max, found.reflector) == (2, "yes")
    refused("full_mesh_max", "1", "not a whole number from 2 to 1000")
    refused("full_mesh_max", "1001", "not a whole number from 2 to 1000")
    refused("reflector", "maybe", "neither auto, yes nor no")
