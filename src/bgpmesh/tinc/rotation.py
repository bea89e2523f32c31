"""Rotation of this router's tinc keys, without an outage.

To tinc each generation of keys is a node of its own (records.tinc_name). The coming keys are published beside the
ones in use, and after a few polls every member goes by both: then tincd is started again with the new ones, and the
record drops the old. What has been reached is on flash and in the registry: any start takes it up from there.
"""

import os

from .. import clock, compat, records
from ..model import Problem
from ..problems import Retry
from . import keys, render

_DAY = 86400
_EARLIEST = 1767225600  # 2026-01-01: no keys are older than this, whatever their file says
_POLLS = 3  # of its own that each member is given to see the coming keys
_GRACE = 5  # seconds more, to take them up
_LONGEST = 6 * 3600  # seconds that a rotation waits for somebody else, at most


class Refused(Exception):
    """A rotation that does not begin; the text says why."""


class Rotation:
    """The rotation of `own`, a keys.Keys, which it changes. text: how far it is, "" where there is none."""

    def __init__(self, own, problems, report):
        self.text = ""
        self._keys = own
        self._state = keys.load_state()
        self._problems = problems
        self._report = report
        self._retry = Retry(5, 600)
        self._published_at = None  # monotonic, when the registry was first seen to have the coming keys
        self._turn_since = None  # monotonic, since when others have rotated theirs
        self._tidy = False  # whether nothing of other generations is on flash
        if own.unfinished:
            self.text = "goes on with rotating the keys"

    def begin(self, membership):
        """Begins one. "", or a text that says why it does not."""
        try:
            self._begin(membership)
        except Refused as error:
            return str(error)
        except OSError as error:
            return "cannot write to %s: %s" % (keys.STATE, compat.reason(error))
        return ""

    def _begin(self, membership):
        if self._state.next:
            raise Refused("a rotation is under way: " + self.text)
        if not membership or not membership.me:
            raise Refused("this router is not a member yet; `bgpmesh status` says what it waits for")
        others, config = membership.others, membership.config
        strange = [node for node in sorted(others) if records.is_foreign(others[node], config)]
        if strange:
            text = "'%s' is of another make, and would not know this router under new keys" % strange[0]
            raise Refused(text + "; take it out of the mesh, or put bgpmesh on it")
        coming = self._state.current + 1
        while records.tinc_name(membership.config.node, coming) in membership.others:
            coming += 1
        if coming > records.MAX_GENERATION:
            raise Refused("these are the last keys that there are numbers for")
        self._enter(self._state.current, coming, self._state.since)
        self._report("the keys are being rotated")

    async def step(self, config, membership, mesh):
        """Goes on with a rotation as far as it can be now, and begins one where the keys are old.

        True where the record has to be written anew.
        """
        before = self._keys.generation, self._keys.next
        await self._step(config, membership, mesh)
        changed = before != (self._keys.generation, self._keys.next)
        if changed:
            membership.rekey()
            mesh.refresh()
        return changed

    async def _step(self, config, membership, mesh):
        try:
            if self._state.next and not self._keys.next and self._retry.due():
                self._keys.next = await keys.make(mesh.tincd.version, self._state.next, self._report)
            if not self._retry.due():
                return
            found = []
            if self._keys.next:
                found = self._go_on(config, membership, mesh)
            elif not self._tidy:
                self._tidy_up(membership)
            elif self._is_due(config) and mesh.state == "converged" and not self._is_anothers_turn(membership):
                self._begin(membership)
        except (OSError, Refused) as error:
            reason = str(error) if isinstance(error, Refused) else compat.reason(error)
            self._problems.replace("rotation", [Problem("rotation", "keys", "the keys stay as they are: " + reason)])
            self._retry.failed()
            return
        self._retry.succeeded()
        self._problems.replace("rotation", found)

    def _go_on(self, config, membership, mesh):
        """Switches to the next keys when it is time. Returns what keeps it from that, as Problems."""
        own = membership.own()
        coming = self._keys.next
        seen = own and own.next
        if not membership.known or not _same(seen, coming):
            self._published_at = None
            self._say("publishes the next keys")
            return []
        now = compat.monotonic()
        if self._published_at is None:
            self._published_at = now
        others = [membership.others[node].poll_interval for node in membership.online if node in membership.others]
        left = self._published_at + _POLLS * max([config.poll_interval] + others) + _GRACE - now
        if left > 0 or membership.registry.failures or not mesh.plan:
            self._say("the others take up the next keys")
            return []
        # Who is met in the mesh and not in the registry does not know the next keys.
        blind = [node for node in sorted(mesh.plan.seats) if mesh.tincd.reaches(node) and node not in membership.online]
        if blind and left > -_LONGEST:
            self._say("waits for '%s'" % blind[0])
            text = "the rotation of the keys waits: '%s' has a tunnel, but does not see the registry" % blind[0]
            return [Problem("rotation", blind[0], text)]
        membership.save(True)  # or who puts our record of before back would make another router of us
        self._switch()
        return []

    def _switch(self):
        self._enter(self._state.next, 0, 0 if clock.is_wrong() else clock.now())
        self._keys.take_next()
        self._published_at = None
        self._tidy = False
        self._report("switched to keys of generation %d" % self._keys.generation)
        self._say("drops the earlier keys")

    def _tidy_up(self, membership):
        """Removes the keys of other generations once the registry has ours."""
        own = membership.own()
        if not membership.known or not _same(own, self._keys) or own.next:
            return
        keys.remove_but([self._keys.generation])
        self._tidy = True
        self._keys.unfinished = False
        self._say("")

    def _is_anothers_turn(self, membership):
        """Whether a member is seen to rotate its keys, which is not for ever."""
        if not [node for node in membership.online if node in membership.others and membership.others[node].next]:
            self._turn_since = None
            return False
        now = compat.monotonic()
        self._turn_since = self._turn_since or now
        return now - self._turn_since < _LONGEST

    def _enter(self, current, coming, since):
        state = keys.State(current, coming, since)
        keys.save_state(state)
        self._state = state
        self._say("makes the next keys" if coming else self.text)

    def _say(self, text):
        self.text = text

    def _is_due(self, config):
        """Whether the keys are older than the options let them become; not while the clock cannot be right."""
        now = clock.now()
        if not config.key_lifetime or clock.is_wrong():
            return False
        since = self._state.since
        if not 0 < since <= now:
            since = _made_at(self._state.current)
            since = since if _EARLIEST <= since <= now else now
            self._enter(self._state.current, 0, since)
        # Up to a tenth earlier, by the name: those that were set up together do not rotate together.
        early = int(compat.sha256(config.node.encode())[:4], 16) / 655360
        return now - since >= config.key_lifetime * _DAY * (1 - early)


def _same(published, ours):
    """Whether a Member, or what it has next, has these Keys."""
    found = published and (published.generation, published.ed25519, published.key)
    return found == (ours.generation, ours.ed25519, ours.rsa)


def _made_at(generation):
    return os.stat("%s/%s" % (keys.STATE, render.key_file("rsa_key", generation, "pub")))[8]
