"""The configuration: what `/etc/config/bgpmesh` says, checked and in natural types."""

from . import address, records, uci

_INTERFACE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_BASE64 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
_HIDDEN = ("secret", "secret_old", "etcd_password", "http_token")
_SHORTEST = 16  # characters of a secret
_OF_ADDRESSES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/[]%"


class Fault:
    """One thing wrong: `option` (None: the whole file), `found` (None: nothing) and what would be `right`.

    found: a text of the file, of which as much is kept as may be told, or what it stands for.
    """

    def __init__(self, option, found, right):
        self.option = option
        self.found = _shown(found, option) if isinstance(found, str) else found
        self.right = right

    def __str__(self):
        if self.option is None:
            return "bgpmesh: %s" % self.right
        if self.found is None:
            return "bgpmesh: mesh 'main': option '%s' is missing: %s" % (self.option, self.right)
        return "bgpmesh: mesh 'main': option '%s' is '%s': %s" % (self.option, self.found, self.right)


class ConfigError(Exception):
    """A configuration that cannot be used. `faults` is all that is wrong with it, a list of Fault."""

    def __init__(self, faults):
        super().__init__("\n".join([str(fault) for fault in faults]))
        self.faults = faults


class Config:
    """The options by name, as the table OPTIONS reads them; None or [] where nothing is set.

    enabled: bool; etcd: list of (scheme, host, port); network, network6: Prefix; prefix: list of Prefix;
    announce: list of str; endpoint, rpki: (host, port); http: (address, port); poll_interval (seconds), port, mtu
    (bytes), asn: int; the others: str. `warnings`: list of texts about what was ignored; `borrowed`: whether
    the servers in etcd are not the option's but a neighbour's; `secrets`: list of the secrets, the newest first.
    """


def load(text, hostname):
    """The Config of a UCI text; raises ConfigError with all its faults. hostname: the default of `node`."""
    try:
        sections = uci.parse(text)
    except uci.UciError as error:
        raise ConfigError([Fault(None, None, str(error))])
    main = None
    warnings = []
    for section in sections:
        if section.name == "main":
            main = section
        else:
            name = _shown(section.name or section.type)
            warnings.append("bgpmesh: section '%s' is ignored: only mesh 'main' is read" % name)
    if not main or main.type != "mesh":
        found = "it is of type '%s'" % _shown(main.type) if main else "there is none"
        raise ConfigError([Fault(None, None, "section 'main': %s: config mesh 'main' would be right" % found)])
    options = main.options
    config = Config()
    config.warnings = warnings
    config.borrowed = False
    faults = []
    for name, default, parse, _ in OPTIONS:
        found = options.get(name, hostname if name == "node" else default)
        setattr(config, name, _value(name, found, default, parse, faults))
    known = [option[0] for option in OPTIONS]
    for name in sorted(options):
        if name not in known:
            # Name and value may have changed places.
            shown = _shown(name, options[name])
            warnings.append("bgpmesh: mesh 'main': option '%s' is ignored: there is no such option" % shown)
    if config.endpoint:
        config.endpoint = (config.endpoint[0], config.endpoint[1] or config.port)
    config.secrets = [secret for secret in (config.secret, config.secret_old) if secret]
    _check_together(config, options, faults)
    if faults:
        raise ConfigError(faults)
    return config


def _value(name, found, default, parse, faults):
    """What an option's text, or texts, stand for; None, and another fault, when they stand for nothing."""
    many = isinstance(default, tuple)
    whole = found if isinstance(found, str) else " ".join(found or ())
    if "\n" in whole:
        faults.append(Fault(name, whole, "not a single line of text: is a quote missing?"))
        return [] if many else None
    if many:
        # a lone `option` is what `uci set` leaves behind, and no item of these lists has blanks or commas
        texts = whole.replace(",", " ").split()
    elif isinstance(found, list):
        faults.append(Fault(name, whole, "a list: a single option would be right"))
        return None
    else:
        texts = [] if found is None else [found]
    values = []
    for text in texts:
        try:
            value = parse(text)
            if value not in values:
                values.append(value)
        except ValueError as error:
            # A URL may have a password in it, which may have blanks.
            faults.append(Fault(name, whole if "@" in whole else text, str(error)))
    if many:
        return values
    return values[0] if values else None


def _shown(text, option=None):
    """What the file has, as status, log and pages may tell it: whatever is as long as a secret, and no address, may be
    one."""
    if option in _HIDDEN:
        return "(hidden, %d characters)" % len(text)
    is_address = (":" in text or "." in text) and not text.strip(_OF_ADDRESSES)
    if (len(text) < _SHORTEST or is_address) and "\n" not in text:
        return text
    return "%s... (%d characters)" % (text[:4].split("\n")[0], len(text))


def _check_together(config, options, faults):
    """The faults that show only when options are seen side by side; those of single options left None."""

    def fault(name, right):
        faults.append(Fault(name, options.get(name), right))

    for one, other in (("cert_file", "key_file"), ("etcd_user", "etcd_password")):
        for missing, given in ((one, other), (other, one)):
            if options.get(given) and not options.get(missing):
                fault(missing, "'%s' is set and needs it" % given)
    if config.trust == "signed" and not options.get("trust_key"):
        fault("trust_key", "'trust' is signed and needs it: `bgpmesh keygen` makes one, and tells it")
    if config.secret_old and not options.get("secret"):
        fault("secret", "'secret_old' is set and needs it")
    if config.network6 and config.mtu and config.mtu < 1280:
        fault("mtu", "IPv6 in 'network6' needs 1280 or more")
    if config.network:
        if config.address and not config.network.is_host(address.parse(config.address)):
            fault("address", "not a host address of 'network' %s" % config.network)
        if config.endpoint and _is_inside(config.endpoint[0], config):
            fault("endpoint", "an address of the overlay: one that others reach without it would be right")
        # What is for these would go into the overlay as soon as it is up.
        servers = [("etcd", server[1], server_text(server)) for server in config.etcd]
        if config.rpki:
            servers.append(("rpki", config.rpki[0], address.endpoint_text(config.rpki)))
        for name, host, text in servers:
            if _is_inside(host, config):
                right = "an address of the overlay: one that is reached without it would be right, or another 'network'"
                faults.append(Fault(name, text, right))
        for prefix in config.prefix:
            reason = records.unusable(prefix, config)
            if reason:
                faults.append(Fault("prefix", prefix, reason))
    if config.ca_file and config.etcd and not any([server[0] == "https" for server in config.etcd]):
        config.warnings.append("bgpmesh: mesh 'main': option 'ca_file' is ignored: no 'etcd' is https://")


def _is_inside(host, config):
    try:
        found = address.parse(host)
    except ValueError:
        return False
    return config.network.contains(found) or config.network6 is not None and config.network6.contains(found)


def _boolean(text):
    # the words of config_get_bool in OpenWrt's /lib/functions.sh
    if text in ("1", "on", "true", "yes", "enabled"):
        return True
    if text in ("0", "off", "false", "no", "disabled"):
        return False
    raise ValueError("neither 1 nor 0")


def _bfd_interval(text):
    return 0 if text == "0" else address.parse_number(text, 50, 60000)


def _number(low, high):
    return lambda text: address.parse_number(text, low, high)


def server_text(server):
    """The text of one of `etcd`'s servers, as the option takes it."""
    scheme, host, port = server
    return "%s://%s:%d" % (scheme, "[%s]" % host if ":" in host else host, port)


def parse_server(text):
    """(scheme, host, port) of an etcd server; raises ValueError."""
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    if scheme not in ("http", "https"):
        raise ValueError("neither http:// nor https://")
    host, port = address.parse_endpoint(rest[:-1] if rest.endswith("/") else rest, 2379)
    return scheme, host, port


def _api(text):
    if text not in ("v3", "v2"):
        raise ValueError("neither v3 nor v2")
    return text


def _trust(text):
    if text not in ("open", "signed"):
        raise ValueError("neither open nor signed")
    return text


def _reflector(text):
    if text not in ("auto", "yes", "no"):
        raise ValueError("neither auto, yes nor no")
    return text


def _public_key(text):
    # 42 bytes, of which the first are "Ed" (usign.py).
    if len(text) != 56 or text[:2] != "RW" or text[2] not in "QRST" or text.strip(_BASE64):
        raise ValueError("not the second line of a public key's file, as usign or `bgpmesh keygen` makes it")
    return text


def _key_prefix(text):
    path = text.strip("/")
    if "//" in path or not _is_printable(path) or " " in path:
        raise ValueError("not a path such as /mesh: printable characters without blanks or // would be right")
    return "/" + path if path else ""


def _line(text):
    if [character for character in text if character < " " or character == "\x7f"]:
        raise ValueError("not a single line of text")
    return text


def _path(text):
    if not text.startswith("/"):
        raise ValueError("not an absolute path")
    return _line(text)


def parse_node(text):
    """The name of a node in a text; raises ValueError."""
    name = text.replace("-", "_").replace(".", "_")
    if not records.is_name(name):
        raise ValueError("not 1 to 63 letters, digits or _ (- and . become _)")
    return name


def _overlay(family, shortest, longest, right):
    def parse(text):
        prefix = address.parse_prefix(text)
        if prefix.family != family or not shortest <= prefix.length <= longest:
            raise ValueError("not %s" % right)
        if prefix.is_special():
            raise ValueError("never routed, being local or multicast: %s would be right" % right)
        return prefix

    return parse


def _ipv4(text):
    family, number = address.parse(text)
    if family != 4:
        raise ValueError("not an IPv4 address")
    return address.text(family, number)


def _router_id(text):
    found = _ipv4(text)
    if found == "0.0.0.0":
        raise ValueError("not a router id: an IPv4 address other than 0.0.0.0 would be right")
    return found


def _endpoint(text):
    return address.parse_endpoint(text, None)


def _validator(text):
    return address.parse_endpoint(text, 323)  # RFC 8210


def _asn(text):
    number = address.parse_number(text, 1, 4294967294)
    if number in (23456, 65535):  # AS_TRANS (RFC 6793), the last 16-bit number (RFC 7300)
        raise ValueError("reserved: a private AS number such as 65000 would be right")
    return number


def _interface(text):
    # what the kernel's dev_valid_name lets through, less what would need quoting
    if len(text) > 15 or text.strip(_INTERFACE) or text in (".", ".."):
        raise ValueError("not an interface name: up to 15 letters, digits, _ . or - would be right")
    return text


def _netifd_interface(text):
    if text.strip(_INTERFACE):
        raise ValueError("not an interface of /etc/config/network: letters, digits, _ . or - would be right")
    return text


def _secret(text):
    if not _SHORTEST <= len(text) <= 256 or not _is_printable(text) or [c for c in "'\"\\" if c in text]:
        raise ValueError("16 to 256 printable ASCII characters without quotes and backslashes would be right")
    return text


def _http(text):
    try:
        host, port = address.parse_endpoint(text, None)
        address.parse(host)
    except ValueError:
        port = None
    if not port:
        raise ValueError("not address:port, such as 127.0.0.1:9179")
    return host, port


def _is_printable(text):
    return all([" " <= character <= "~" for character in text])


# (name, default, parser, help); a tuple as default makes it a list
OPTIONS = (
    ("enabled", "0", _boolean, "whether the agent runs"),
    ("etcd", (), parse_server, "etcd servers, `[http[s]://]host[:2379]`, tried in turn (list)"),
    ("etcd_api", "v3", _api, "`v3` or `v2`"),
    ("etcd_prefix", "", _key_prefix, "put before every key"),
    ("etcd_user", None, _line, "user name, where etcd asks for one"),
    ("etcd_password", None, _line, "the user's password"),
    ("ca_file", None, _path, "certificates that vouch for the etcd servers"),
    ("cert_file", None, _path, "client certificate for etcd"),
    ("key_file", None, _path, "the client certificate's key"),
    ("poll_interval", str(records.POLL_INTERVAL), _number(1, records.MAX_POLL_INTERVAL), "seconds between polls"),
    ("node", None, parse_node, "this member's name; the host name when empty"),
    (
        "network",
        "10.0.0.0/24",
        _overlay(4, 8, 30, "an IPv4 prefix from /8 to /30"),
        "the overlay's IPv4 prefix",
    ),
    ("network6", None, _overlay(6, 64, 64, "an IPv6 /64"), "the overlay's IPv6 prefix, a /64"),
    ("address", None, _ipv4, "overlay address; the first free one is claimed when empty"),
    ("endpoint", None, _endpoint, "`host[:port]` where others reach this router; empty behind NAT"),
    ("port", "655", _number(1, 65535), "tinc's port, TCP and UDP"),
    ("mtu", "1400", _number(576, 9000), "of the overlay interface, bytes"),
    ("asn", "65000", _asn, "AS number"),
    ("router_id", None, _router_id, "BGP router id; the overlay address when empty"),
    ("announce", ("lan",), _netifd_interface, "interfaces whose prefixes are announced (list)"),
    ("prefix", (), address.parse_prefix, "prefixes announced besides (list)"),
    ("secret", None, _secret, "network secret, the same on all members: they sign their records with it"),
    ("secret_old", None, _secret, "the secret before that one, valid beside it while routers are given the new one"),
    ("trust", "open", _trust, "who may be a member: with `signed`, whom the network's owner has approved"),
    ("trust_key", None, _public_key, "the owner's public key: the line of base64 in its file, as of `usign`"),
    (
        "grace",
        "24",
        _number(1, 8760),
        "hours for which a member whose signed record was removed or spoilt in etcd goes on being one",
    ),
    ("rpki", None, _validator, "`host[:port]` of an RPKI validator: what it finds invalid is refused; off when empty"),
    (
        "rollback",
        "120",
        _number(0, 3600),
        "seconds without the registry and any member after which changed options are taken back; never at 0",
    ),
    ("bfd_interval", "150", _bfd_interval, "milliseconds between two BFD packets to each peer; no BFD at 0"),
    ("bfd_multiplier", "6", _number(2, 255), "BFD packets in a row that may be lost before a path is taken for dead"),
    ("full_mesh_max", "16", _number(2, 1000), "members up to which all have BGP sessions with each other"),
    ("reflector", "auto", _reflector, "whether this router may reflect routes in a larger one: `auto`, `yes` or `no`"),
    ("key_lifetime", "0", _number(0, 36500), "days until the tinc keys are replaced by new ones; never at 0"),
    ("interface", "tinc0", _interface, "the overlay's network interface"),
    ("http", None, _http, "`address:port` of `/metrics` and `/status`; off when empty"),
    ("http_token", None, _secret, "what `POST /sync` there asks for: `Authorization: Bearer TOKEN`; off when empty"),
)
