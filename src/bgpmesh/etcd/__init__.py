"""The mesh's store: etcd over HTTP."""

from ..config import ConfigError, Fault, server_text
from . import registry, v3
from .v3 import EtcdError

__all__ = ["EtcdError", "check_api", "open_registry"]


def open_registry(config, servers=None):
    """The Registry that a Config names, on its etcd servers or on some of them; nothing is sent yet."""
    if config.etcd_api == "v2":
        from . import python_etcd, v2

        api, client = v2, python_etcd.Client
    else:
        api, client = registry, v3.Client
    ttl = max(30, 3 * config.poll_interval)
    signed = config.trust == "signed"
    return api.Registry(open_client(client, config, servers), config.etcd_prefix, config.node, ttl, signed)


def open_client(client, config, servers=None):
    """A client, of this class, of the Config's etcd servers or of some of them."""
    endpoints = [server_text(server) for server in servers or config.etcd]
    return client(endpoints, config.etcd_user, config.etcd_password, config.ca_file, config.cert_file, config.key_file)


def check_api(config):
    """Raises ConfigError where option `etcd_api` names one that cannot be spoken here, or not under this name."""
    if config.etcd_api == "v2":
        if config.node.startswith("_"):
            right = "etcd's v2 API hides names that begin with _: another name would be right"
            raise ConfigError([Fault("node", config.node, right)])
        try:
            from . import python_etcd  # noqa: F401
        except ImportError as error:
            right = (
                "it is spoken on CPython with python-etcd only (%s): install the packages bgpmesh-python3 and "
                "python3-etcd, or v3 would be right, on all routers" % error
            )
            raise ConfigError([Fault("etcd_api", "v2", right)])
