"""bgpmesh: the agent that keeps a router a member of an encrypted, self-organising BGP overlay."""

VERSION = "0.1.0"
