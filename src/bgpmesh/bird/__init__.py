"""BIRD: its configuration, its control socket, and the daemon."""
