"""The faults of a run: drawn from its seed, or read from a file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec

from tidegate.errors import UserError
from tidegate.sim.faults.plant import ACCOUNTS, Plant


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens at `at` (virtual seconds). `target` is a role, an account or a lane; `kind` says what `args` mean."""

    at: float
    kind: str
    target: str = ""
    seconds: float = 0.0
    args: dict[str, Any] = {}

    def __str__(self) -> str:
        more = " ".join(f"{name}={value}" for name, value in self.args.items())
        held = f" for {self.seconds:g} s" if self.seconds else ""
        return " ".join(part for part in (f"{self.at:8.3f} {self.kind}", self.target, more) if part) + held


_WEIGHTS = {
    "kill": 10, "kill amid": 4, "pause": 6, "restart": 4, "partition": 4, "outage": 2, "log": 6, "clock": 4,
    "network": 6, "cut": 4, "storm": 2, "halt": 1, "late fill": 2, "bust": 1, "correct": 1, "unasked cancel": 2,
    "oms joins": 2, "oms leaves": 2, "upgrade": 1, "poison": 2, "feed stops": 1, "person halts": 8,
    "person flattens": 1, "person cancels": 2, "late command": 1, "resume": 2, "false resume": 4, "rogue": 2,
}  # fmt: skip
KINDS = tuple(_WEIGHTS)
_APPENDS = {
    "risk": ("LEASES", "LEASES", "LANE", "HALT"), "oms": ("LANE", "EVT", "LEASES", "HALT"), "gw": ("LANE", "HALT"),
    "s-": ("LANE",), "feed": ("",),
}  # fmt: skip
"""What each role appends to."""
FALSE = ("one", "same", "low", "forged", "expired", "other", "replayed", "early", "unsigned")
"""What must let nothing up: signed by one person, by one under two names, by an operator, by somebody else, too long ago,
for another halt, once before; the end of a recovery before its time; and by nobody."""


def draw(seed: int, seconds: float, plant: Plant) -> list[Fault]:
    """Faults about every 3 to 16 seconds, by the seed; in bursts, and with calm between."""
    rng = random.Random(f"{seed} faults")
    gap = rng.choice((3.0, 8.0, 16.0))
    roles = ["feed", "oms-a", "oms-b", *(f"gw-{name}" for name in ACCOUNTS)]
    roles += [f"s-{name}" for name, _ in plant.traders]
    roles += plant.watchers
    found: list[Fault] = []
    at = 5.0
    while True:
        calm = rng.random() < 0.3
        at += rng.uniform(2.5, 4) * gap if calm else rng.expovariate(1.6 / gap)
        if at >= seconds:
            return found
        kind = "kill" if calm else rng.choices(KINDS, list(_WEIGHTS.values()))[0]
        found.append(_by_people(rng, round(at, 3), kind, plant) or _one(rng, round(at, 3), kind, roles))
        if calm:
            at += gap


def _by_people(rng: random.Random, at: float, kind: str, plant: Plant) -> Fault | None:
    """What people do; None where the kind is another."""
    match kind:
        case "person halts" | "person flattens" | "late command":
            args: dict[str, Any] = {"ways": rng.choice(("both", "both", "socket", "log"))}
            if kind == "person halts":
                args["state"] = rng.choice(("REDUCE_ONLY", "CANCEL_ONLY", "KILLED", "KILLED"))
                args["by"] = rng.choice(("cat", "cat", "ann", "tom"))
                if rng.random() < 0.2:
                    args["stays"] = True
                if rng.random() < 0.3:
                    args["amid"] = f"s-{rng.choice(plant.traders)[0]}"
                if rng.random() < 0.2:
                    args["slow"] = round(rng.uniform(0.5, 3), 2)
            if args["ways"] != "log" and rng.random() < 0.2:
                args["only"] = rng.choice(ACCOUNTS)
            if rng.random() < 0.3:
                args["gap"] = round(rng.choice((0.001, 0.2, 3, 20)) * rng.uniform(0.5, 1.5), 3)
            if rng.random() < 0.1:
                args["dies"] = round(rng.uniform(0.0001, 0.01), 4)
            return Fault(at, kind, rng.choice(plant.names), 0, args)
        case "person cancels":
            return Fault(at, kind, rng.choice(plant.names))
        case "resume":
            return Fault(at, kind, "", 0, {"pick": rng.randrange(8)})
        case "false resume":
            return Fault(at, kind, "", 0, {"kind": rng.choice(FALSE), "pick": rng.randrange(8)})
        case "rogue":
            name, _ = rng.choice(plant.traders)
            return Fault(at, kind, f"s-{name}", 1.5, {"how": rng.choice(("refused", "busy"))})
    return None


def _one(rng: random.Random, at: float, kind: str, roles: list[str]) -> Fault:
    role = rng.choice(roles)
    seconds = round(rng.uniform(0.5, 9), 2)
    match kind:
        case "kill" | "restart":
            return Fault(at, kind, role)
        case "kill amid":
            streams = next(found for start, found in _APPENDS.items() if role.startswith(start))
            return Fault(at, kind, role, 20.0, {"stream": rng.choice(streams)})
        case "pause" | "partition":
            return Fault(at, kind, role, round(rng.choice((0.3, 1.2, 2.5, 5, 10)) * rng.uniform(0.8, 1.2), 2))
        case "outage":
            return Fault(at, kind, "", round(rng.uniform(4, 9), 2))
        case "log":
            target = rng.choice([*roles, "all"])
            faults = rng.sample(
                ("drop", "duplicate", "reorder", "lose", "lose_ack", "delay"), rng.randint(1, 3)
            )
            args = {name: round(rng.choice((0.02, 0.1, 0.3)), 2) for name in faults}
            return Fault(at, kind, target, seconds, args)
        case "clock":
            return Fault(at, kind, role, 0, {"step": rng.choice((-2.0, -0.5, 0.5, 2.0))})
        case "network":
            faults = rng.sample(
                ("lose_request", "lose_report", "double_report", "late_report", "unknown"), rng.randint(1, 3)
            )
            args = {name: round(rng.choice((0.05, 0.2, 0.5)), 2) for name in faults}
            return Fault(at, kind, "", seconds, args)
        case "cut":
            return Fault(at, kind, rng.choice(ACCOUNTS), seconds)
        case "storm" | "halt":
            return Fault(at, kind, "", seconds)
        case "poison":
            return Fault(at, kind, "", 0, {"account": rng.randrange(len(ACCOUNTS)), "form": rng.randrange(4)})
        case "feed stops":
            return Fault(at, kind, "feed", seconds)
        case "oms joins" | "oms leaves" | "upgrade":
            return Fault(at, kind, rng.choice(("oms-a", "oms-b", "oms-c")))
        case _:
            return Fault(at, kind)


def write(path: Path, faults: list[Fault]) -> None:
    """One fault a line, as JSON."""
    path.write_bytes(b"".join(msgspec.json.encode(fault) + b"\n" for fault in faults))


def read(path: Path) -> list[Fault]:
    """The inverse of `write`; raises `UserError`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    found: list[Fault] = []
    for number, line in enumerate(lines, 1):
        try:
            fault = msgspec.json.decode(line, type=Fault)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not a fault: {error}") from None
        if fault.kind not in KINDS:
            raise UserError(f"{path}:{number}: unknown fault {fault.kind!r}; known: {', '.join(KINDS)}")
        found.append(fault)
    return found
