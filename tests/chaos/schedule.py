"""What is done when: drawn from the seed alone, so that a run can be had again."""

import random
from dataclasses import dataclass, field

from .faults import FAULTS, NODES

_PACE = 1.8  # seconds between two faults, on average


@dataclass
class Strike:
    """One fault: `at` seconds after the round's begin, for `seconds`; `arguments` say which machines, and how."""

    at: float
    fault: str
    seconds: float
    arguments: dict = field(default_factory=dict)
    touches: frozenset = frozenset()

    def __str__(self):
        lasting = f" for {self.seconds:.0f} s" if self.seconds else ""
        shown = " ".join(f"{name}={_shown(value)}" for name, value in self.arguments.items() if name != "seed")
        return f"{self.fault} {shown}{lasting}"


def schedule(seed, number, seconds):
    """The Strikes of round `number` (from 1), each over by `seconds`, in the order of their begin."""
    dice = random.Random(f"{seed}/{number}")
    table = sorted(FAULTS.values(), key=lambda fault: fault.name)
    strikes = []
    if number == 1:
        # The mesh began with some of its routers; the others join at once.
        strikes.append(Strike(0.5, "joins", 0, {"routers": list(NODES[4:])}, _power(NODES[4:])))
    at = 1.0
    while True:
        at += dice.expovariate(1 / _PACE)
        fault = dice.choices(table, [fault.weight for fault in table])[0]
        lasting = round(dice.uniform(*fault.seconds), 1) if fault.seconds else 0
        arguments, touches = fault.draw(dice)
        if at > seconds:
            return strikes
        lasting = min(lasting, seconds - at)
        strike = Strike(round(at, 2), fault.name, lasting, arguments, frozenset(touches))
        # One that the round's end would cut too short is left out.
        if fault.seconds and lasting < fault.seconds[0] or any(_clash(strike, other) for other in strikes):
            continue
        strikes.append(strike)


def _power(routers):
    return frozenset((router, "power") for router in routers)


def _clash(one, other):
    """Whether both would lay hands on one thing at a time; a machine's power is all of it."""
    # Some seconds for what comes after its end, such as a boot.
    apart = one.at >= other.at + other.seconds + 3 or other.at >= one.at + one.seconds + 3
    return not apart and any(
        machine == theirs and (thing == its or "power" in (thing, its))
        for machine, thing in one.touches
        for theirs, its in other.touches
    )


def _shown(value):
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
