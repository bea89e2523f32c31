#!/usr/bin/python3
"""A small `ubus` command for looking around in a lab router: list, call, send, listen, subscribe."""

import argparse
import json
import os
import socket
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "src"))

from bgpmesh.ubus import INVALID_ARGUMENT, STATUS_NAMES, TIMEOUT, UbusError, blob  # noqa: E402

TYPES = {
    blob.BOOL: "Boolean",
    blob.INT32: "Integer",
    blob.STRING: "String",
    blob.ARRAY: "Array",
    blob.TABLE: "Table",
}


class Connection:
    """A connection to ubusd that waits for each answer."""

    def __init__(self, path, timeout):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.serial = 0
        self.read()

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError("ubusd closed the connection")
            data += more
        return data

    def read(self):
        kind, serial, peer, size = blob.decode_header(self.exactly(blob.HEADER))
        return kind, serial, peer, dict(blob.attributes(self.exactly(size)))

    def request(self, kind, peer, attributes):
        self.serial += 1
        self.sock.sendall(blob.encode_frame(kind, self.serial, peer, attributes))
        answers = []
        while True:
            kind, serial, _, answer = self.read()
            if serial == self.serial and kind == blob.DATA:
                answers.append(answer)
            if serial == self.serial and kind == blob.STATUS:
                if answer[blob.ATTR_STATUS]:
                    raise UbusError(answer[blob.ATTR_STATUS], "ubus")
                return answers

    def lookup(self, pattern=None):
        attributes = [(blob.ATTR_OBJPATH, pattern)] if pattern else []
        return self.request(blob.LOOKUP, 0, attributes)

    def invoke(self, identity, method, args):
        attributes = [(blob.ATTR_OBJID, identity), (blob.ATTR_METHOD, method), (blob.ATTR_DATA, args)]
        return self.request(blob.INVOKE, identity, attributes)

    def add_object(self):
        return self.request(blob.ADD_OBJECT, 0, [])[0][blob.ATTR_OBJID]

    def print_events(self):
        self.sock.settimeout(None)
        while True:
            kind, _, _, attributes = self.read()
            if kind == blob.INVOKE:
                data = blob.decode_table(attributes.get(blob.ATTR_DATA, b""))
                print(json.dumps({attributes[blob.ATTR_METHOD]: data}, ensure_ascii=False), flush=True)


def list_objects(bus, options):
    for found in bus.lookup(*options.words[:1]):
        if not options.verbose:
            print(found[blob.ATTR_OBJPATH])
            continue
        print("'%s' @%08x" % (found[blob.ATTR_OBJPATH], found[blob.ATTR_OBJID]))
        for method, arguments in blob.decode_table(found[blob.ATTR_SIGNATURE]).items():
            shown = {name: TYPES.get(kind, "(unknown)") for name, kind in arguments.items()}
            print("\t" + json.dumps({method: shown}, separators=(",", ":"))[1:-1])


def call(bus, options):
    path, method = options.words[:2]
    args = json.loads(options.words[2]) if len(options.words) > 2 else {}
    identity = bus.lookup(path)[0][blob.ATTR_OBJID]
    for answer in bus.invoke(identity, method, args):
        print(json.dumps(blob.decode_table(answer[blob.ATTR_DATA]), indent="\t", ensure_ascii=False))


def send(bus, options):
    data = json.loads(options.words[1]) if len(options.words) > 1 else {}
    bus.invoke(1, "send", {"id": options.words[0], "data": data})


def listen(bus, options):
    identity = bus.add_object()
    signed = identity - (1 << 32) if identity >> 31 else identity
    for pattern in options.words or ["*"]:
        bus.invoke(1, "register", {"object": signed, "pattern": pattern})
    bus.print_events()


def subscribe(bus, options):
    identity = bus.add_object()
    for path in options.words:
        target = bus.lookup(path)[0][blob.ATTR_OBJID]
        bus.request(blob.SUBSCRIBE, 0, [(blob.ATTR_OBJID, identity), (blob.ATTR_TARGET, target)])
    bus.print_events()


COMMANDS = {"list": (list_objects, 0), "call": (call, 2), "send": (send, 1), "listen": (listen, 0)}
COMMANDS["subscribe"] = (subscribe, 1)


def main():
    parser = argparse.ArgumentParser(prog="ubus", description=__doc__)
    parser.add_argument("-s", dest="socket", default="/var/run/ubus/ubus.sock")
    parser.add_argument("-t", dest="timeout", type=float, default=30)
    parser.add_argument("-v", dest="verbose", action="store_true")
    parser.add_argument("-S", dest="simple", action="store_true", help="accepted, and nothing else")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("words", nargs="*")
    options = parser.parse_intermixed_args()
    function, needed = COMMANDS[options.command]
    if len(options.words) < needed:
        parser.error("%s takes %d words at least" % (options.command, needed))
    status = INVALID_ARGUMENT
    try:
        function(Connection(options.socket, options.timeout), options)
        return 0
    except UbusError as error:
        status = error.status
        reason = error.name
    except TimeoutError:
        status = TIMEOUT
        reason = STATUS_NAMES[TIMEOUT]
    except (OSError, EOFError, ValueError) as error:
        reason = str(error)
    except KeyboardInterrupt:
        return 0
    print(
        "Command failed: ubus %s (%s)" % (" ".join([options.command] + options.words), reason),
        file=sys.stderr,
    )
    return 256 - status


if __name__ == "__main__":
    sys.exit(main())
