"""Whom the network's owner trusts: signed statements about members, as `option trust 'signed'` asks for them.

The statement about a node is under `<prefix>/trust/<node>`: a line that is signed, and its signature (usign.py).

    bgpmesh approve <prefix>/trust/<node> <serial> <public key of its identity>
    bgpmesh revoke <prefix>/trust/<node> <serial>

The one with the highest serial holds, for good: it is kept on flash. So neither its removal from etcd nor an
earlier one that is put back changes what a router thinks of a node that it has heard of; and routers put back
what holds, for those who have not.

What the approved identity has signed is the node's own, and nothing else is: neither a record nor a farewell.
"""

import asyncio

from . import compat, disk, identity, usign
from .etcd import EtcdError
from .model import STATE, Problem
from .records import RecordError, is_name, plain

PATH = STATE + "/trust"
MAX_LENGTH = 1024  # of a statement
_STRANGERS = 8  # nodes without a record whose statements are verified in one poll: a signature takes milliseconds
_TIME = 2  # seconds after one poll in which signatures are begun to be verified; a slow router takes one for each
_NAMED = 8  # statements that are wrong and get a problem each
_SHORT = 16  # digits of an identity that a person compares
_DIGITS = "0123456789"


class Untrusted(RecordError):
    """A record of a node that the owner has not approved. code: of its Problem; the text says what to do."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Statement:
    """What the owner says of a node. verb: "approve" or "revoke"; approved: its id, or ""; text: as stored."""

    def __init__(self, verb, serial, approved, text):
        self.verb = verb
        self.serial = serial
        self.approved = approved
        self.text = text


def place(config, node):
    """The etcd key of the statement about a node."""
    return "%s/trust/%s" % (config.etcd_prefix, node)


def compose(verb, key, serial, approved=""):
    """The line to be signed: about the node of this etcd key, with the id that is approved."""
    return "bgpmesh %s %s %d%s\n" % (verb, key, serial, " " + approved if approved else "")


def parse(text, key):
    """The Statement that a text makes about the node of this etcd key, its signature unseen. Raises ValueError."""
    lines = text.split("\n") if text and len(text) <= MAX_LENGTH else []
    words = lines[0].split(" ") if len(lines) == 3 and not lines[2] else []
    verb = words[1] if len(words) > 1 else ""
    if len(words) != {"approve": 5, "revoke": 4}.get(verb):
        raise ValueError("it is no statement of this form")
    approved = words[4] if verb == "approve" else ""
    if words[3].strip(_DIGITS) or not 0 < len(words[3]) < 16:
        raise ValueError("its serial is no number")
    if lines[0] + "\n" != compose(verb, key, int(words[3]), approved):
        raise ValueError("it is about another node or network")
    return Statement(verb, int(words[3]), approved, text)


def read(text, key, public):
    """The same of a text whose signature is by this public key (bytes). Raises ValueError."""
    found = parse(text, key)
    signed, _, signature = text[:-1].rpartition("\n")
    if signature != signature.strip() or not usign.verify(public, (signed + "\n").encode(), signature):
        raise ValueError("its signature is not of the key in option 'trust_key'")
    return found


class Trust:
    """What this router knows of the owner's statements, and of who has signed what.

    statements: node -> the Statement that holds. seen: node -> (standing, id) of the records looked at.
    known: whether what is said of the members was ever heard. own: this router's id, "" where it has none.
    believes: whether records are taken for verified that are looked at. renewed: nodes of which the owner has approved
    another identity than before.
    """

    def __init__(self, config, problems, report):
        self.statements = {}
        self.seen = {}
        self.known = False
        self.own = ""
        self.believes = False
        self.renewed = set()
        self._ids = {}  # node -> the id that was approved last, whether it still is or not
        self._verified = {}  # node -> mark of the Proof of its record, or farewell, that is signed as it should be
        self._forged = {}  # node -> that of one that is not
        self._unverified = {}  # node -> Proof
        self._last = ["", "", ""]  # nodes whose statement, record, and statement by name alone was verified last
        self._until = 0  # when _TIME is over, by compat.monotonic()
        self._turn = -1  # of four: what is verified before what else
        self._left = False  # whether there was no time for all that was said
        self._heard = False  # whether all that is said of members has been verified
        self._gained = False  # whether something of what was verified last was right
        # Until it is known who is a member: nodes of which what was there at first is still to be verified.
        self._first = [None, None]
        self._config = config
        self._public = usign.parse_public(config.trust_key)
        self._problems = problems
        self._report = report
        self._looked = {}  # node -> text that was verified last
        self._wrong = {}  # node -> what is wrong with it
        self._unsaved = False  # whether flash had no room for what the owner said
        self._refused = set()  # texts that etcd did not let us put back

    def load(self):
        """Reads what was kept; it was verified before it was written, and whoever writes there owns the router."""
        lines = (disk.read_or_none(PATH) or "").split("\n")
        if lines[0] != usign.line(self._public):
            return
        for at in range(1, len(lines) - 1):
            words = lines[at].split(" ")
            node = words[2].rpartition("/")[2] if len(words) > 3 else ""
            try:
                self.statements[node] = parse("%s\n%s\n" % (lines[at], lines[at + 1]), place(self._config, node))
            except ValueError:
                pass  # a signature, of another prefix, or damaged
        self._ids = {node: self.statements[node].approved for node in self.statements if self.statements[node].approved}
        # What is damaged may be what lets us in: then nothing is ended before etcd has been asked.
        self.known = 2 * len(self.statements) == len(lines) - 2 or self._config.node in self.statements

    async def learn(self, registry):
        """Takes over what etcd has, after a poll. The nodes of which the owner says something else now."""
        entries, members = registry.statements, registry.members
        left = _STRANGERS
        self._until = compat.monotonic() + _TIME
        self._left = self._gained = False
        changed = []
        for known in (self._looked, self._wrong):
            _keep(known, entries)
        for known in (self.seen, self._verified, self._unverified, self._forged):
            _keep(known, members)
        self._turn = (self._turn + 1) % 4
        ours = self._ours_first()
        first = self._begin(0, [node for node in entries if node in members])
        # In turns; our own before the others, members before those who are none, what was right before what was not;
        # but not each time: what changes again and again, and is wrong each time, keeps nothing else waiting.
        plain = self._turn == 1
        late = set([] if plain else [node for node in entries if node not in members or node in self._wrong])
        which = 2 if plain else 0
        last = self._last[which]
        for node in sorted(entries, key=lambda node: (node != ours, node in late, node <= last, node)):
            text = entries[node].text
            if self._looked.get(node, "") == text:
                first.discard(node)
                continue
            if node not in members and node != self._config.node:
                left -= 1
            if left < 0:
                self._left = True
                break
            self._looked[node] = text
            first.discard(node)
            if self._look(node, text):
                changed.append(node)
            if node != ours:
                self._last[which] = node
            if compat.monotonic() > self._until:
                self._left = True
                break  # the rest after the next poll
            await asyncio.sleep(0)  # a program that waits for an answer of the agent gets it
        first.intersection_update([node for node in entries if node in members])
        waiting = [node for node in entries if node in members and self._looked.get(node, "") != entries[node].text]
        self._heard = not waiting
        self._tell()
        if (changed or self._unsaved) and self.known:
            self._save()
        return changed

    async def verify(self):
        """Verifies the signatures of records that were looked at. The nodes whose own they are, or are not."""
        done = []
        first = self._begin(1, self._unverified) if not self._first[0] else None
        # From the serial of our own record we go on.
        ours, last = self._ours_first(), self._last[1]
        for node in sorted(self._unverified, key=lambda node: (node != ours, node <= last, node)):
            proof = self._unverified.pop(node)
            good = identity.verify(proof)
            found = self._verified if good else self._forged
            found[node] = proof.mark()
            self._gained = self._gained or good
            if node != ours:
                self._last[1] = node
            done.append(node)
            if compat.monotonic() > self._until:
                break
            await asyncio.sleep(0)
        if first is not None:
            first.intersection_update([node for node in self._unverified if node not in done])
            if not self.known and not first:
                self.known = True
                self._save()
        return done

    def _ours_first(self):
        """Our own name where what is ours is to be verified before all others, else None."""
        return None if self._turn % 2 else self._config.node

    def _begin(self, which, nodes):
        """The set in `_first`; of these nodes, where it was not begun yet."""
        if self._first[which] is None:
            self._first[which] = set(nodes)
        return self._first[which]

    def waits(self):
        """Whether there is anything to be done though the registry has nothing new."""
        return self._left or bool(self._unverified) or self._unsaved or not self.known

    def behind(self):
        """Whether there is more to verify than there was time for, and not all of it is wrong."""
        return self._gained and (not self._heard or bool(self._unverified))

    def _look(self, node, text):
        """Verifies a statement. Whether it is the one that holds from now on."""
        self._wrong.pop(node, None)
        known = self.statements.get(node)
        if known and known.text == text:
            return False
        try:
            if not is_name(node):
                raise ValueError("it is about no node")
            key = place(self._config, node)
            if known and known.serial > parse(text, key).serial:
                return False
            found = read(text, key, self._public)
        except ValueError as error:
            self._wrong[node] = str(error)
            return False
        self._gained = True
        if known and known.serial == found.serial:
            ours, theirs = known.text.split("\n")[0], text.split("\n")[0]
            if ours == theirs:
                # Flash has damaged the signature.
                self.statements[node] = found
                self._unsaved = True
            if theirs <= ours:
                return False  # of two that were made in the same second one holds for all: what revokes, if any does
        if found.approved:
            if known and found.approved != self._ids.get(node) and node != self._config.node:
                self.renewed.add(node)
            self._ids[node] = found.approved
        self.statements[node] = found
        self._report("the network's owner says: " + text.split("\n")[0])
        return True

    def _tell(self):
        problems = []
        for node in sorted(self._wrong)[:_NAMED]:
            text = "what %s says in etcd is not the owner's: %s; `bgpmesh approve` or `revoke` puts another there"
            text %= place(self._config, plain(node)), self._wrong[node]
            problems.append(Problem("bad_statement", plain(node), text))
        self._problems.replace("trust", problems)

    def _save(self):
        # At once, and only where the owner has said something new.
        rows = [self.statements[node].text for node in sorted(self.statements)]
        try:
            disk.make_folder(STATE)
            disk.write(PATH, usign.line(self._public) + "\n" + "".join(rows), 0o600)
            self._unsaved = False
            self._problems.replace("trust_file", [])
        except OSError as error:
            self._unsaved = True
            text = "cannot keep the owner's statements in %s: %s; free some space" % (PATH, compat.reason(error))
            self._problems.replace("trust_file", [Problem("disk", "trust", text)])

    async def restore(self, registry):
        """Puts back what is missing from etcd, or has been replaced there by what does not hold, where etcd lets us.

        For those who join later, or were away. Raises EtcdError, but not where this router has no right to.
        """
        for node in sorted(self.statements):
            ours = self.statements[node].text
            entry = registry.statements.get(node)
            theirs = entry.text if entry else None
            # What was not looked at yet may be what holds from now on.
            if theirs == ours or entry and self._looked.get(node, "") != theirs or ours in self._refused:
                continue
            try:
                await registry.restore_statement(node, ours, entry.modified if entry else 0)
            except EtcdError as error:
                if error.kind not in ("permission", "auth"):
                    raise
                self._refused.add(ours)

    def standing(self, node, id):
        """What a node with this identity is: "approved", "revoked", "pending", or "unapproved" where another is."""
        found = self.statements.get(node)
        if not found:
            return "pending"
        if found.verb == "revoke":
            return "revoked"
        return "approved" if found.approved == id else "unapproved"

    def approves(self, member):
        """Whether a Member has a part in the mesh."""
        return self.standing(member.node, member.id) == "approved"

    def own_standing(self):
        """This router's own standing."""
        return self.standing(self._config.node, self.own)

    def admits(self):
        """Whether this router itself has a part in the mesh."""
        return self.own_standing() == "approved"

    def check(self, node, proof, left=False):
        """Raises Untrusted where a record is not that of a node which has a part in the mesh, or not its own.

        proof: its records.Proof, or None; left: whether it is a farewell. What has this router's own name is refused
        only where it is an impostor's: another's record would end an agent that is there by right. False where it is
        borne though nobody knows who has signed it.
        """
        id = proof.id if proof else ""
        standing = self.standing(node, id)
        self.seen[node] = standing, id
        if node == self._config.node and not self.admits():
            if standing != "approved" and not (id and id == self.own):
                return False
        elif standing != "approved":
            if left and standing != "unapproved":
                return False  # it was no member
            raise Untrusted(standing, _REASONS[standing] + _remedy(node, id))
        mark = proof.mark()
        if self.believes:
            self._verified[node] = mark
        if self._verified.get(node) == mark:
            return True
        if self._forged.get(node) == mark:
            raise Untrusted("forged", "its own router has not signed it: another has written it, who can write to etcd")
        self._unverified[node] = proof
        raise Untrusted("unverified", "its signature is still to be verified, which takes a slow router a second")

    def own_problems(self):
        """The Problems of this router itself."""
        node, standing = self._config.node, self.own_standing()
        if standing == "approved":
            return []
        text = "this router has no part in the mesh: " + _REASONS[standing] + _remedy(node, self.own)
        return [Problem(standing, node, text)]


_REASONS = {
    "pending": "it waits for the approval of the network's owner",
    "revoked": "the network's owner has revoked it",
    "unapproved": "the network's owner has approved another identity; is the record another's, or was it set up anew?",
}


def _remedy(node, id):
    if not id:
        return "; it shows no identity: set option 'trust_key' on it"
    short = id[:_SHORT]
    text = "; to let it in, where its own `bgpmesh status` shows the identity %s: bgpmesh approve %s %s"
    return text % (short, node, short)


def _keep(known, nodes):
    for node in [node for node in known if node not in nodes]:
        del known[node]
