"""Leases under loss, duplication, reordering, crashes and zombies, while limits and an instrument's factor rise and fall,
and one limit ends and begins again while it is used: never more than allowed, nothing new passes beyond a factor that a
lane has read, whatever the others use, and nothing beyond a limit that began but what lanes held and used then."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lease_world import DESK, FIRM, LANES, OPEN, Alloc, LaneLog, Leases, keys_of

from tidegate.kernel.gate_state import PPM
from tidegate.risk.leases.holding import UNDER_WAY
from tidegate.risk.leases.lease import held

lanes = st.sampled_from(LANES[0])
amounts = st.integers(1, 40)


class LeaseMachine(RuleBasedStateMachine):
    """`net` holds messages on their way: (kind, …). Any may be delivered, kept for a second time, or dropped."""

    @initialize(firm=st.integers(50, 300), desk=st.integers(30, 200), orders=st.integers(30, 300))
    def begin(self, firm, desk, orders):
        self.limits = {FIRM: firm, DESK: desk, OPEN: orders}
        self.version = 0
        self.committed = 0
        """What lanes held before the last change or used, whichever is more, since all judge by OPEN."""
        self.kept = {}
        """What each held before the last change, by LEASES."""
        self.ceiling = dict(self.limits)
        self.leases = Leases()
        self.lanes = {n: LaneLog(n) for n in LANES[0]}
        self.ppm, self.epoch = PPM, 1
        self.alloc = Alloc(self.leases, self.limits)
        self.zombies = []
        self.bounds = {0: dict(self.limits)}
        """What is in force by each word on the factor."""
        self.words = {n: {} for n in self.lanes}
        """Words on their way to a lane: in order from each service, and none is lost."""
        self.stale = {n: [] for n in self.lanes}
        self.limit_words = {n: [] for n in self.lanes}
        """Limits on their way to a lane: in order."""
        self.acknowledged, self.recalls = set(), 0
        self.net = []
        for lane in self.lanes:
            self.ask(lane, 1, 0)
        self.deliver_all()
        self.allocate()
        self.deliver_all()

    # Lanes.

    @rule(lane=lanes, needs=st.lists(amounts, min_size=1, max_size=6))
    def order(self, lane, needs):
        log = self.lanes[lane]
        for need in needs:
            refused = log.truth.refused
            log.append(("order", need))
            if log.truth.refused == refused:
                for key in keys_of(lane):
                    if key is OPEN:
                        continue
                    most = max(b[key] for number, b in self.bounds.items() if number >= log.truth.word)
                    assert self.used(key) <= most, "nothing new beyond a factor that the lane has read"

    @rule(lane=lanes, amount=amounts)
    def release(self, lane, amount):
        self.lanes[lane].append(("release", amount))

    @rule(lane=lanes, wanted=st.integers(0, 80), part=st.integers(0, 4))
    def ask(self, lane, wanted, part):
        for key in keys_of(lane):
            self.net.append(("report", *self.lanes[lane].truth.report(key, wanted, wanted * part // 4)))

    @rule(lane=lanes, amount=amounts, key=st.sampled_from((FIRM, DESK)))
    def offer(self, lane, amount, key):
        """Whoever writes the lane, a zombie too, may ask it to give back."""
        if key in keys_of(lane):
            self.into(lane, ("return", key, amount))

    @rule(lane=lanes)
    def crash(self, lane):
        """A successor knows what its predecessor knew, by the log alone, and says so."""
        log = self.lanes[lane]
        successor = log.fold()
        assert successor == log.truth
        self.stale[lane].append(log.fold(len(log.entries)))
        for key in keys_of(lane):
            self.net.append(("report", *successor.report(key, 0)))

    @rule(lane=lanes, wanted=st.integers(0, 80), data=st.data())
    def zombie_speaks(self, lane, wanted, data):
        """A writer that was replaced still says what it knew."""
        if self.stale[lane]:
            old = data.draw(st.sampled_from(self.stale[lane]))
            for key in keys_of(lane):
                self.net.append(("report", *old.report(key, wanted)))

    def into(self, lane, entry):
        for report, seq in self.lanes[lane].append(entry):
            self.net.append(("report", report, seq))

    # The network.

    @precondition(lambda self: self.net)
    @rule(data=st.data(), fate=st.sampled_from(("once", "once", "once", "twice", "lost")))
    def move(self, data, fate):
        """Any message, in any order; what comes twice stays on its way."""
        at = data.draw(st.integers(0, len(self.net) - 1))
        message = self.net[at]
        if fate != "twice":
            self.net.pop(at)
        if fate != "lost":
            self.deliver(message)
        elif message[0] == "return":  # whoever appends to a lane's log hears that it was not stored
            self.net.append(("ack", *message[1:3], 0, *message[4:]))
        elif message[0] == "ack":  # no word of it in time
            self.deliver((*message[:3], 0, *message[4:]))

    @rule(late=st.booleans())
    def deliver_all(self, late=False):
        """For once, all that is on its way comes, in its order; but for the words that recalls were stored, if they are
        late."""
        waits = [message for message in self.net if late and message[0] == "ack"]
        coming = [message for message in self.net if message not in waits]
        self.net = waits
        for message in coming:
            self.deliver(message)

    def deliver(self, message):
        kind, *more = message
        if kind == "report":
            self.leases.report(*more)
        elif kind == "ack":  # once, and perhaps long after the lane has answered
            lane, key, place, number, alloc = more
            if number not in self.acknowledged:
                self.acknowledged.add(number)
                alloc.pool.recalled(lane, key, place, alloc.now)
        else:
            lane, key, number, *asked = more
            self.into(lane, (kind, key, number))
            if kind == "return":
                self.net.append(("ack", lane, key, len(self.lanes[lane].entries), *asked))

    # The allocator.

    @rule()
    def allocate(self):
        self.alloc.read()
        if self.alloc.even():
            self.say(self.alloc)
        self.send(self.alloc)

    def send(self, alloc):
        found = alloc.decide()
        if found is None:
            return False
        for grant in found.grants + alloc.pool.unconfirmed():
            self.net.append(("grant", *grant))
        for recall in found.recalls:
            alloc.pool.recalled(recall.lane, recall.key, UNDER_WAY, alloc.now)
            self.recalls += 1
            self.net.append(("return", *recall, self.recalls, alloc))
        return True

    @rule()
    def replace_allocator(self):
        """A crash, or a pause so long that another has begun."""
        self.zombies.append(self.alloc)
        self.epoch += 1
        self.alloc = Alloc(self.leases, self.limits, self.ppm, self.epoch, self.version)
        self.note_ceiling()
        self.say(self.alloc)

    @rule(data=st.data())
    def zombie_allocates(self, data):
        """One that was replaced decides by what it knew: it stands in the log no more."""
        if self.zombies:
            zombie = data.draw(st.sampled_from(self.zombies))
            place = self.leases.last_grant
            found = zombie.pool.decide(zombie.now + 10_000_000_000)
            assert not found.grants or zombie.decide() is None
            assert self.leases.last_grant == place
            for grant in zombie.pool.unconfirmed():  # what it had in the log before may be told late
                self.net.append(("grant", *grant))

    @rule(key=st.sampled_from((FIRM, DESK, OPEN)), limit=st.integers(0, 300))
    def set_limit(self, key, limit):
        self.change(self.limits | {key: limit})

    @rule()
    def end_limit(self):
        """People allow as many orders as there may be."""
        self.change({key: limit for key, limit in self.limits.items() if key is not OPEN})

    @rule(limit=st.integers(0, 300), deliver=st.booleans())
    def begin_limit(self, limit, deliver):
        """They allow so many again, at once for all lanes, or as each comes to read it."""
        self.change(self.limits | {OPEN: limit})
        for lane in self.lanes if deliver else ():
            self.read_limits(lane, len(self.limit_words[lane]))

    @rule(
        user=lanes, needs=st.lists(amounts, min_size=1, max_size=6), room=st.integers(0, 20), hear=st.sets(lanes),
        others=st.lists(amounts, min_size=3, max_size=9), rounds=st.integers(1, 4), late=st.booleans(),
    )  # fmt: skip
    def begin_while_it_is_used(self, user, needs, room, hear, others, rounds, late):
        """One lane uses much without a limit; then there is one, some lanes hear of it at once, and all want more."""
        self.end_limit()
        for lane in self.lanes:
            self.read_limits(lane, len(self.limit_words[lane]))
        for _ in range(rounds):  # what was lent comes back, or only some of it
            self.deliver_all(late)
            self.allocate()
        self.order(user, needs)
        self.begin_limit(self.used(OPEN) + room, deliver=False)
        for last in (False, True):
            for lane in self.lanes if last else sorted(hear):
                self.read_limits(lane, len(self.limit_words[lane]))
            for lane in self.lanes:
                if lane != user:
                    self.ask(lane, 40, 4)
            for _ in range(rounds):
                self.deliver_all(late)
                self.allocate()
            for lane in self.lanes:
                if lane != user:
                    self.order(lane, others)

    def change(self, limits):
        self.committed = max(self.committed, self.limits.get(OPEN, 0))
        self.kept = {lane: self.outstanding(OPEN, (lane,)) for lane in self.lanes}
        self.limits, self.version = limits, self.version + 1
        self.alloc.limits = dict(limits)
        self.alloc.read()
        self.alloc.pool.set_limits(limits, self.version)
        for words in self.limit_words.values():
            words.append(("limits", self.version, OPEN in limits))
        self.note_ceiling()
        self.say(self.alloc)

    @precondition(lambda self: any(self.limit_words.values()))
    @rule(data=st.data(), count=st.integers(1, 3))
    def hear_limits(self, data, count):
        self.read_limits(
            data.draw(st.sampled_from([n for n, words in self.limit_words.items() if words])), count
        )

    def read_limits(self, lane, count):
        """A lane comes to the next versions in its log; its reports of that may be lost."""
        before = self.bounded()
        for word in self.limit_words[lane][:count]:
            self.into(lane, word)
        del self.limit_words[lane][:count]
        if self.bounded() and not before:
            self.committed = self.held_or_used()

    def bounded(self):
        """Whether every lane judges by OPEN."""
        return all(log.truth.lent[OPEN] for log in self.lanes.values())

    def held_or_used(self):
        folds = [log.truth for log in self.lanes.values()]
        held = {fold.lane: min(self.kept.get(fold.lane, 0), fold.leases[OPEN].amount) for fold in folds}
        return sum(max(held[fold.lane], fold.used[OPEN]) for fold in folds)

    @rule(ppm=st.sampled_from((PPM, PPM, 900_000, 500_001, 333_333, 200_000)))
    def set_factor(self, ppm):
        """The market tightens, or lets go."""
        self.ppm = self.alloc.ppm = ppm
        self.alloc.pool.set_factor(0, ppm)
        self.note_ceiling()
        self.say(self.alloc)

    @rule(data=st.data(), ppm=st.sampled_from((PPM, 700_000, 100_000)))
    def zombie_says(self, data, ppm):
        """A service that was replaced, and has not noticed, says another factor."""
        if self.zombies:
            zombie = data.draw(st.sampled_from(self.zombies))
            zombie.ppm = ppm
            zombie.pool.set_factor(0, ppm)
            self.say(zombie)

    def say(self, alloc):
        number, withheld, bound = alloc.say()
        self.bounds[number] = bound
        for words in self.words.values():
            words.setdefault(id(alloc), []).append(("word", number, withheld))

    @precondition(lambda self: any(any(each.values()) for each in self.words.values()))
    @rule(data=st.data(), count=st.integers(1, 3))
    def hear(self, data, count):
        """A lane reads what some service said next."""
        lane, who = data.draw(
            st.sampled_from(
                [(lane, who) for lane, each in self.words.items() for who, words in each.items() if words]
            )
        )
        for _ in range(min(count, len(self.words[lane][who]))):
            self.lanes[lane].append(self.words[lane][who].pop(0))

    @rule(
        ppm=st.sampled_from((700_000, 400_000, 200_000)), hear=st.sets(lanes, min_size=1),
        needs=st.lists(amounts, min_size=3, max_size=9),
    )  # fmt: skip
    def tighten_and_try(self, ppm, hear, needs):
        """Some lanes hear it at once, and their strategies go on as if nothing had happened."""
        self.set_factor(ppm)
        for lane in sorted(hear):
            for words in self.words[lane].values():
                while words:
                    self.lanes[lane].append(words.pop(0))
            self.order(lane, needs)

    def in_force(self, key):
        return held(self.limits[key], self.ppm if key.instrument >= 0 else PPM)

    def note_ceiling(self):
        """Less is in force as far as it has come back; more at once."""
        for key in (FIRM, DESK):
            self.ceiling[key] = max(self.in_force(key), self.outstanding(key))

    def outstanding(self, key, lanes=LANES[0]):
        """By LEASES alone: what was granted, less what was reported returned."""
        granted, returned = {}, {}
        for kind, *more in self.leases.entries:
            if kind == "report":
                report = more[0]
                if (report.scope, report.field) == (key.scope, key.field):
                    returned[report.lane] = max(returned.get(report.lane, 0), report.returned)
            else:
                for lane, where, total in more[0]:
                    if where == key:
                        granted[lane] = max(granted.get(lane, 0), total)
        return sum(granted.get(lane, 0) - returned.get(lane, 0) for lane in lanes)

    # What must hold.

    @invariant()
    def never_more_than_allowed(self):
        if not hasattr(self, "limits"):
            return
        for key in (FIRM, DESK):
            folds = [log.truth for log in self.lanes.values() if key in log.truth.leases]
            for fold in folds:
                assert 0 <= fold.used[key] <= fold.leases[key].amount, "I2"
            lent = self.outstanding(key)
            assert sum(fold.leases[key].amount for fold in folds) <= lent
            assert lent <= self.ceiling[key], "I1"
            assert sum(fold.used[key] for fold in folds) <= self.ceiling[key]
            if lent <= self.in_force(key):
                self.ceiling[key] = self.in_force(key)

    @invariant()
    def nothing_new_beyond_a_limit_that_began_while_it_was_used(self):
        if not hasattr(self, "limits") or OPEN not in self.limits or not self.bounded():
            return
        used = sum(log.truth.used[OPEN] for log in self.lanes.values())
        self.committed = max(self.limits[OPEN], min(self.committed, self.held_or_used()))
        assert used <= self.committed

    @invariant()
    def a_recall_that_was_answered_is_not_open(self):
        if hasattr(self, "limits"):
            for pool in self.alloc.pool.pools.values():
                for holding in pool.holdings.values():
                    assert not 0 < holding.recall <= holding.seq

    def teardown(self):
        """When all arrives, the books agree to the last unit, and one lane can have all that nobody uses."""
        if not hasattr(self, "limits"):
            return
        for lane in self.lanes:
            self.read_limits(lane, len(self.limit_words[lane]))
        self.settle(lambda key: 0)
        self.books_agree()
        self.settle(lambda key: self.in_force(key) - self.used(key) if key in self.limits else 0)
        self.books_agree()
        for key in self.limits:
            spare = self.in_force(key) - self.used(key)
            fold = self.lanes[0].truth
            if spare > 0:
                assert fold.most(key) - fold.used[key] == spare
            else:
                assert self.alloc.pool.pools[key].balance == spare, "all that is not used has come back"

    def settle(self, missing):
        """Nothing is lost any more; lane 0 wants as much as it lacks of so much."""
        for _ in range(40):
            for lane, log in self.lanes.items():
                for key in keys_of(lane):
                    lease = log.truth.leases[key]
                    wanted = missing(key) - lease.amount + log.truth.used[key] if lane == 0 else 0
                    self.leases.report(*log.truth.report(key, max(0, wanted), max(0, wanted)))
            while self.net:
                self.deliver(self.net.pop(0))
            self.allocate()
            for lane, each in self.words.items():
                for words in each.values():
                    while words:
                        self.lanes[lane].append(words.pop(0))
        while self.net:
            self.deliver(self.net.pop(0))
        self.alloc.read()

    def used(self, key):
        return sum(log.truth.used.get(key, 0) for log in self.lanes.values())

    def books_agree(self):
        for key in self.limits:
            amounts = {
                n: log.truth.leases[key].amount for n, log in self.lanes.items() if key in log.truth.leases
            }
            pool = self.alloc.pool.pools[key]
            assert {n: h.outstanding for n, h in pool.holdings.items()} == amounts
            assert pool.free + sum(amounts.values()) == self.in_force(key)


LeaseMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLeases = LeaseMachine.TestCase
