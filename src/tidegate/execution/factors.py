"""By how much an instrument's limits are held down in this lane, and what of its leases it withholds for that.

A factor holds here at once. Of a limit that lanes share it must hold in their sum, and what the others use is not
known here. So whoever says the factor says with it how much all lanes together hold beyond it, E, and every lane
withholds that much of its own lease a: it passes only what leaves u ≤ a − E. Then Σu ≤ Σa − E, which is no more than
limit × factor, whatever the others use. The allocator lends no more than that meanwhile, and once lanes have returned
the difference it says so, and nothing is withheld any more.
"""

from __future__ import annotations

from tidegate.execution import leases
from tidegate.execution import slots as two_slots
from tidegate.execution.state import State
from tidegate.model.messages import DynamicLimit
from tidegate.risk.leases.fields import Field
from tidegate.risk.leases.lease import Key, held

PER_INSTRUMENT = tuple(field for field in Field if field.per_instrument)


def set_factor(s: State, m: DynamicLimit) -> None:
    """Hold an instrument's limits down, or less so. A word that is older than the last one changes nothing."""
    number, _ = s.factors.get(m.instrument, (0, 0))
    if m.number < number or (m.number and m.number == number):
        return
    told = {Key(scope, field, m.instrument): amount for scope, field, amount in m.withheld}
    if any(amount < 0 for amount in told.values()):
        raise ValueError(f"instrument {m.instrument}: less than nothing is withheld")
    s.gate.set_factor(m.instrument, m.factor)
    s.factors[m.instrument] = (m.number, m.factor)
    if not m.number:
        told = {key: _difference(s, key, m.factor) for key in _keys(s, m.instrument)}
    # Of a limit that is not lent now, too: it may be again before the next word.
    before = [key for key in s.withheld if key.instrument == m.instrument and key not in told]
    for key in (*before, *told):
        _withhold(s, key, told.get(key, 0))
    two_slots.share_again(s, m.instrument)


def renew(s: State) -> None:
    """Other limits are in force: of a factor that nobody said more about, what is withheld follows from them."""
    for instrument, (number, factor) in s.factors.items():
        if not number:
            for key in _keys(s, instrument):
                _withhold(s, key, _difference(s, key, factor))


def _keys(s: State, instrument: int) -> list[Key]:
    keys = (Key(scope, int(field), instrument) for scope in sorted(s.shared) for field in PER_INSTRUMENT)
    return [key for key in keys if key in s.leased]


def _difference(s: State, key: Key, factor: int) -> int:
    """What all lanes could hold beyond the factor, at most."""
    limit = s.gate.human_limit(*key)
    return limit - held(limit, factor)


def _withhold(s: State, key: Key, amount: int) -> None:
    if amount != s.withheld.get(key, 0):
        s.withheld.pop(key, None)
        if amount:
            s.withheld[key] = amount
        if key in s.leased:
            leases.bring(s, key)
