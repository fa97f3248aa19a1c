"""The allocator's table, a part with each entry: from where an entry says, everything is known."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.model.messages import LeaseGrant, LeaseReport
from tidegate.risk.leases import table as lease_table
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import Key
from tidegate.risk.leases.pool import LeasePool

LANES = {0: (0, 1, 2)}
KEYS = [Key(0, int(Field.ORDERS)), *(Key(0, int(Field.LONG), i) for i in range(6))]


def fold(pool, messages, seq):
    for m in messages:
        key = Key(m.scope, m.field, m.instrument)
        if type(m) is LeaseGrant:
            pool.granted(m.lane, key, m.granted)
        else:
            pool.report(m, seq or m.at)


def known(pool):
    return {
        (key, lane): (h.granted, h.confirmed, h.returned, h.used, h.wanted, h.refused, h.version, h.seq)
        for key, each in pool.pools.items()
        for lane, h in each.holdings.items()
        if h.granted or h.wanted or h.seq
    }


acts = st.lists(
    st.tuples(
        st.sampled_from(("report", "grant", "grant")), st.sampled_from(KEYS), st.sampled_from((0, 1, 2)), st.integers(1, 9)
    ),
    max_size=80,
)  # fmt: skip


@given(acts, st.integers(1, 30))
@example([("report", KEYS[0], 1, 2), ("grant", KEYS[0], 1, 1), ("grant", KEYS[0], 0, 1)], 1)
@settings(max_examples=400, deadline=None)
def test_whoever_reads_from_where_the_last_entry_says_knows_all(path, entries):
    before, lease_table.ROUND = lease_table.ROUND, entries
    try:
        pool, log, since = LeasePool(LANES), [], 0
        pool.set_limits(dict.fromkeys(KEYS, 1_000))
        table = lease_table.LeaseTable(pool, 0)
        for n, (what, key, lane, amount) in enumerate(path):
            h = pool.pools[key].holdings[lane]
            if what == "grant":
                messages = [*table.rows(len(log), n), LeaseGrant(n, *key, h.granted + amount, lane)]
                log.append((messages, 0))
                since = table.since
            else:
                back = h.returned + min(amount, h.granted - h.returned)
                said = LeaseReport(
                    n, lane, *key, h.granted, back, amount % 4, amount * (amount % 2), 0, n % 3
                )
                log.append(([said], n + 1))
            fold(pool, *log[-1])
        successor = LeasePool(LANES)
        successor.set_limits(dict.fromkeys(KEYS, 1_000))
        for messages, seq in log[since:]:
            fold(successor, messages, seq)
        assert known(successor) == known(pool)
        assert successor.unconfirmed() == [] or {g[:2] for g in successor.unconfirmed()} == {
            g[:2] for g in pool.unconfirmed()
        }
    finally:
        lease_table.ROUND = before


def test_a_reader_need_not_go_back_further_than_two_rounds():
    pool = LeasePool(LANES)
    pool.set_limits(dict.fromkeys(KEYS, 1_000))
    table, rows = lease_table.LeaseTable(pool, 0), len(KEYS) * 3
    for read in range(10 * rows):
        assert read - table.since <= 2 * rows
        table.rows(read, 0)
