"""What the agent's own code sends and receives, on both runtimes."""

from bgpmesh import compat


class Wire:
    """What goes through the agent's sockets, in place of its way to them. bytes, requests: since the last look."""

    def __init__(self):
        self.bytes = self.requests = 0
        self._receive, self._send = compat.try_recv, compat.try_send
        compat.try_recv, compat.try_send = self.receive, self.send

    def receive(self, sock, size):
        data = self._receive(sock, size)
        self.bytes += len(data or b"")
        return data

    def send(self, sock, data):
        sent = self._send(sock, data)
        self.bytes += sent
        self.requests += 1
        return sent

    def close(self):
        """Gives its way back."""
        compat.try_recv, compat.try_send = self._receive, self._send
