"""What each role's user of the log may publish and hear, and no more: the server itself refuses the rest.

A strategy may write its own commands, ask for its own state, hear markets and follow its lane's events: it reaches no
gateway, no other strategy's subject, no lane's facts, no halt. It may make consumers of streams only whose content it
cannot write, for a consumer's maker chooses where the server delivers to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Grant(NamedTuple):
    """Subjects that may be published on and listened to."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def __or__(self, other: Grant) -> Grant:
        """What either may."""
        return Grant(
            tuple(dict.fromkeys(self.publish + other.publish)),
            tuple(dict.fromkeys(self.subscribe + other.subscribe)),
        )


class User(NamedTuple):
    """A user of the log's server. `grant` None: everything. A password that begins with `$` names a variable of the
    server's environment."""

    name: str
    password: str
    grant: Grant | None = None


ANSWERS = Grant(("_INBOX.>",))
"""To answer requests."""
NOW = "now.halt"
"""A breaker's halt on its quick way (`risk.quick`): said by the risk service alone, heard by gateways alone."""


def all_of(grants: Iterable[Grant]) -> Grant:
    """What any of them may."""
    found = Grant()
    for grant in grants:
        found |= grant
    return found


def own_subject(kind: str, user: str, name: str) -> str:
    """A subject of this user's own: only it may listen there, so nobody overhears its answers."""
    return f"{kind}.{user}.{name}" if user else f"{kind}.{name}"


def user_of(process: str) -> str:
    """A process's user: one token of a subject."""
    return process.replace(".", "~")


# Parts.


def get(*streams: str) -> Grant:
    """Look at single messages, as JSON: what they say cannot be passed off as another's message."""
    return Grant(tuple(f"$JS.API.STREAM.MSG.GET.{stream}" for stream in streams))


def begins(*streams: str) -> Grant:
    """Learn where streams begin."""
    return Grant(tuple(f"$JS.API.STREAM.INFO.{stream}" for stream in streams))


def read(*streams: str) -> Grant:
    """Read what streams hold, up to their end."""
    acts = ("CONSUMER.CREATE", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT")
    return get(*streams) | Grant(tuple(f"$JS.API.{act}.{stream}.>" for stream in streams for act in acts))


def follow(*streams: str) -> Grant:
    """Hear what is stored in streams, or in the streams of buckets, as it comes; again after the server was away."""
    acts = ("API.CONSUMER.CREATE", "API.CONSUMER.DELETE", "FC")
    return begins(*streams) | Grant(tuple(f"$JS.{act}.{stream}.>" for stream in streams for act in acts))


def keys(bucket: str, *written: str) -> Grant:
    """Write keys of a bucket."""
    return Grant(tuple(f"$KV.{bucket}.{key}" for key in written))


def lanes_of(lanes: Iterable[int], *kinds: str) -> list[str]:
    """The streams of lanes: `LANE`, `EVT`."""
    return [f"{kind}_{lane}" for lane in lanes for kind in kinds]


_SIGNED = follow("KV_ACCESS")
"""To know who is revoked."""
_TRAIL = read("AUDIT") | Grant(("audit.record",)) | _SIGNED
_HALTS = read("HALT") | follow("HALT")
_CLOCK = Grant(("alert.clock",))
_ALERTS = Grant(("alert.>",))


# Roles.


def feed() -> Grant:
    """Publishes markets, and answers who asks for a whole book."""
    return Grant(("md.>", "touch.>", "pulse.>"), ("snap.>",)) | ANSWERS | _CLOCK


def oms(lanes: Sequence[int]) -> Grant:
    """Writes lanes: facts, epochs, events; sends to gateways."""
    publish = [f"lane.{n}.{kind}" for n in lanes for kind in ("sys", "epoch", "skip", "cmd")]
    publish += [f"{kind}.{n}" for n in lanes for kind in ("evt", "dead", "dead.skip")]
    publish += ["gw.>", "ctl.gw.>", "lease.report", "halt.event", "risk.limits"]
    subscribe = ("oms.>", "ctl.halts", "touch.>", "risk.margin.reduce")
    logs = lanes_of(lanes, "LANE")
    streams = [read(*logs), follow(*logs, "KV_LEASE")]
    streams += [get("DEAD", "KV_LEASE", "KV_SNAP", *lanes_of(lanes, "EVT")), _HALTS, _TRAIL]
    written = keys("LEASE", "lane.>", "oms.>") | keys("SNAP", "lane.>")
    return all_of([Grant(tuple(publish), subscribe), *streams, written, ANSWERS, _ALERTS])


def risk(lanes: Sequence[int]) -> Grant:
    """Lends limits, trips breakers, answers about exposures."""
    publish = [f"lane.{n}.sys" for n in lanes] + ["lease.grant", "halt.event", "risk.>", NOW]
    events = lanes_of(lanes, "EVT")
    streams = [read(*events, "LEASES"), follow(*events, "LEASES", "ALERT"), get("KV_LEASE", "KV_STATE")]
    written = keys("LEASE", "risk.>") | keys("STATE", "risk.>")
    hears = ("risk.>", "margin.>", "touch.>", "pulse.>")
    return all_of([Grant(tuple(publish), hears), *streams, written, ANSWERS, _HALTS, _TRAIL, _ALERTS])


def gateway(lanes: Sequence[int], accounts: Iterable[tuple[str, str]]) -> Grant:
    """Sends for these (venue, account), and reports to their lanes."""
    accounts = list(accounts)
    names = [f"gw.{venue}.{account}" for venue, account in accounts]
    publish = [f"lane.{n}.rpt" for n in lanes] + [f"oms.{n}.orders" for n in lanes] + ["halt.event"]
    publish += [f"margin.{venue}.{account}" for venue, account in accounts]
    subscribe = [*names, *(f"ctl.{name}" for name in names), NOW]
    written = keys("LEASE", *names) | keys("STATE", *names)
    streams = [follow("KV_LEASE"), get("KV_LEASE", "KV_STATE"), _HALTS, _TRAIL]
    return all_of([Grant(tuple(publish), tuple(subscribe)), *streams, written, ANSWERS, _ALERTS])


def recorder(lanes: Sequence[int]) -> Grant:
    """Follows lanes and markets, and remembers how far it came."""
    streams = follow(*lanes_of(lanes, "LANE")) | get("KV_STATE")
    return all_of([streams, keys("STATE", "consumer.>"), Grant((), ("md.>",)), _CLOCK])


def deploy(lanes: Sequence[int], strategies: Iterable[str]) -> Grant:
    """Watches versions of strategies, shares their limits, posts a halt where one must end."""
    names = list(strategies)
    publish = [f"lane.{n}.sys" for n in lanes] + [f"oms.{n}.strategy" for n in lanes]
    publish += [*(f"deploy.{name}" for name in names), "halt.event"]
    followed = follow(*lanes_of(lanes, "LANE", "EVT"), "DEPLOY", "KV_LEASE")
    streams = [read("DEPLOY"), followed, get("KV_LEASE", "KV_STATE"), _HALTS, _TRAIL]
    written = keys("STATE", *(f"deploy.{name}" for name in names))
    return all_of([Grant(tuple(publish), ("shadow.>", "touch.>")), *streams, written, _ALERTS])


class Trader(NamedTuple):
    """A strategy as the log knows it: `numbers` are those it may command under, more than one where it has a slot for
    new versions (`slot`)."""

    name: str
    numbers: tuple[int, ...]
    lane: int
    slot: bool = False


def strategy(trader: Trader) -> Grant:
    """Commands, and follows its lane's events."""
    name, lane = trader.name, trader.lane
    commands = [f"lane.{lane}.cmd.{number}" for number in trader.numbers]
    publish = [*commands, f"oms.{lane}.strategy", "snap.>", f"claim.{name}"]
    publish += ["alert.strategy_stopped", "alert.strategy_throttled", "alert.clock"]
    written = keys("LEASE", f"strategy.{name}") | keys("STATE", f"strategy.{name}")
    found = all_of([
        Grant(tuple(publish), ("md.>", f"claim.{name}")), written, follow(f"EVT_{lane}"),
        get("KV_LEASE", "KV_STATE"),
    ])  # fmt: skip
    if trader.slot:
        base = name.partition(".")[0]
        slots = keys("LEASE", f"slot.{name}") | keys("STATE", f"kept.{base}.>")
        versions = read("DEPLOY") | follow("DEPLOY") | _SIGNED
        found = all_of([found, slots, versions, Grant((f"shadow.{base}",))])
    return found


def private(user: str) -> Grant:
    """Where a user's own answers come, and nobody else's."""
    return Grant((), tuple(own_subject(kind, user, ">") for kind in ("_INBOX", "_DELIVER", "_PULL")))


# The server's words.


def authorization(users: Iterable[User]) -> str:
    """The block of a nats-server's configuration that lets these users in, each with its rights."""
    lines = "".join(f"  {_user(user)}\n" for user in users)
    return f"authorization {{ users: [\n{lines}] }}\n"


def _user(user: User) -> str:
    password = user.password if user.password.startswith("$") else json.dumps(user.password)
    head = f"{{ user: {json.dumps(user.name)}, password: {password}"
    if user.grant is None:
        return f"{head} }}"
    grant = user.grant | private(user.name)
    publish, subscribe = (json.dumps(list(subjects)) for subjects in grant)
    return (
        f"{head}, permissions: {{ publish: {{ allow: {publish} }}, subscribe: {{ allow: {subscribe} }} }} }}"
    )
