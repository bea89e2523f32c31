"""The lab: routers in network namespaces, with real daemons and a real etcd."""
