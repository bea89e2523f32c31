"""What the RPKI validator says (option `rpki`): BIRD asks it (RFC 8210), and refuses what it has found invalid.

A prefix that no ROA speaks of is accepted, and so is all while the validator has said nothing: it can only refuse.
"""

from .. import address
from ..model import Problem
from .control import parse_imported

_ASK = "show route filtered table master%d where source = RTS_BGP && %s && roa_check(rpki%d, net, %s) = ROA_INVALID"


class View:
    """connected: whether the validator answers. info: BIRD's word for what it does. roas: how many it has named.

    invalid: [(node, prefix)], refused though the node's record announces it; sorted.
    """

    def __init__(self, connected, info, roas, invalid):
        self.connected = connected
        self.info = info
        self.roas = roas
        self.invalid = invalid


async def look(socket, asn, seats, reflectors=()):
    """The View of a BIRD, by its control.Socket. Raises control.BirdError.

    asn: this router's; seats: node -> Seat; reflectors: the names of those who pass on the others' prefixes.
    """
    reply = await socket.ask("show protocols all validator")
    owners = {str(prefix): node for node in seats for prefix in seats[node].prefixes}
    invalid = set()
    for family in (4, 6):
        # Within an AS the path is empty.
        for path, origin in (("bgp_path.len = 0", "%d" % asn), ("bgp_path.len > 0", "bgp_path.last")):
            for prefix, name in parse_filtered(await socket.ask(_ASK % (family, path, family, origin))):
                # From a reflector it comes under the reflector's name.
                node = name[1:] if name[1:] not in reflectors else owners.get(prefix)
                if node in seats and owners.get(prefix) == node:
                    invalid.add((node, prefix))
    info = parse_state(reply)
    return View(info == "Established", info, parse_imported(reply).get("validator", 0), sorted(invalid))


def parse_state(reply):
    """What a protocol does, from the reply to `show protocols all` of it: "" where there is none."""
    for code, text in reply:
        words = text.split(None, 6)
        if code == 1002 and len(words) > 5:
            return words[6].strip() if len(words) > 6 else words[3]
    return ""


def parse_filtered(reply):
    """[(prefix, protocol name)] from the reply to `show route filtered`; of the same prefix only the first has it."""
    routes = []
    prefix = None
    for _, text in reply:
        words = text.split(None, 3)
        if len(words) > 2 and words[1] == "unicast":
            prefix = words.pop(0)
        if prefix and len(words) > 1 and words[0] == "unicast" and words[1].startswith("["):
            routes.append((prefix, words[1][1:]))
    return routes


def problems(view, config):
    """The Problems that a View makes."""
    found = []
    validator = address.endpoint_text(config.rpki)
    if not view.connected:
        text = "the RPKI validator %s does not answer (%s): what it said holds for two hours, and then all is accepted"
        found.append(Problem("rpki", validator, text % (validator, view.info or "not asked yet")))
    for node, prefix in view.invalid:
        text = "%s of '%s' is not accepted: RPKI has it as invalid; a ROA for its AS number and length would be right"
        found.append(Problem("rpki_invalid", "%s %s" % (node, prefix), text % (prefix, node)))
    return found
