"""What a configuration comes to in a live system: instruments, scopes, lanes and strategies, the same in every process."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tidegate import config as configuration
from tidegate.access.reach import Above, known_scopes
from tidegate.config import Config
from tidegate.errors import UserError
from tidegate.execution.core import Lane
from tidegate.execution.lane_log import LaneKind
from tidegate.execution.state import Settings
from tidegate.model.instrument import Instrument, Universe
from tidegate.ops.folder import replace
from tidegate.risk.leases.lease import lanes_of
from tidegate.risk.ledger import Ledger
from tidegate.risk.limits import ELSEWHERE, Limits
from tidegate.risk.margin import file as margin_file
from tidegate.risk.scope_name import above
from tidegate.risk.scopes import NEXT, ScopeTable, Slots

if TYPE_CHECKING:
    from tidegate.risk.gate import Gate
    from tidegate.strategy.strategy import Strategy


class Known(msgspec.Struct, frozen=True):
    """The instruments of one configuration, told by its hash."""

    config: str
    instruments: list[Instrument]


@dataclass
class World:
    """Everything that follows from the configuration at `path` alone."""

    path: Path
    config: Config

    @classmethod
    def load(cls, path: Path, overrides: dict[str, Any] | None = None) -> World:
        """Read and check a configuration; raises `UserError`."""
        return cls(path, configuration.load(path, overrides))

    @cached_property
    def universe(self) -> Universe:
        """The instruments, numbered in the file's order."""
        universe: Universe = configuration.universe_of(self.config, self.path)
        return universe

    def hand_over(self, path: Path) -> None:
        """Write the instruments for `take_over`."""
        replace(path, msgspec.json.encode(Known(self._hash, list(self.universe.instruments))))

    def take_over(self, path: Path) -> None:
        """Know the instruments from such a file, if there is one of this configuration.

        A gateway then needs neither Parquet nor compiled code, and a sixth of the memory.
        """
        with contextlib.suppress(OSError, ValueError):
            known = msgspec.json.decode(path.read_bytes(), type=Known)
            if known.config == self._hash:
                self.__dict__["universe"] = Universe(known.instruments)

    @property
    def _hash(self) -> str:
        return hashlib.sha256(repr(self.config).encode()).hexdigest()

    @cached_property
    def scopes(self) -> ScopeTable:
        """Desks, accounts and strategies."""
        scopes = configuration.scopes_of(self.config)
        scopes.spread = {scope: len(lanes) for scope, lanes in lanes_of(scopes, self.lane_of).items()}
        return scopes

    @cached_property
    def above(self) -> Above:
        """What lies below what, for who may act on some scopes only. Raises `UserError` where the configuration limits
        somebody to a scope that there is not."""
        lanes = [self.lane_of(account) for account in range(len(self.accounts))]
        table = above(self.scopes, self.universe, lanes)
        for name, section in self.config.access.identities.items():
            known_scopes(section.scopes, table, f"{self.path}: access.identities.{name}.scopes")
        return table

    @cached_property
    def collateral(self) -> dict[str, Any]:
        """What assets count for as collateral, by venue (`risk.margin.collateral.Haircuts`)."""
        files = {name: section.margin_tiers for name, section in self.config.venues.items()}
        return dict(margin_file.haircuts(files, self.path.parent))

    @cached_property
    def shared(self) -> dict[int, tuple[int, ...]]:
        """The scopes that lie over several lanes, and their lanes: their limits are lent (`risk.leases`)."""
        return lanes_of(self.scopes, self.lane_of)

    @cached_property
    def slots(self) -> dict[str, Slots]:
        """The strategies that new versions can be deployed of, by name."""
        numbers = {strategy.name: n for n, strategy in enumerate(self.scopes.strategies)}
        found = {}
        for name, part in configuration.slots_of(self.config, str(self.path)).items():
            live, candidate = numbers[name], numbers[name + NEXT]
            account = self.accounts.index(self.config.strategies[name].account)
            found[name] = Slots(
                name, live, candidate, self.scopes.strategy_scope(live), self.scopes.strategy_scope(candidate),
                account, self.lane_of(account), int(part * 1_000_000),
            )  # fmt: skip
        return found

    @cached_property
    def rates(self) -> dict[str, str | Decimal]:
        """Rates to the base currency."""
        return configuration.rates_of(self.config, self.path, self.universe)

    @cached_property
    def limits(self) -> Limits:
        """The limits as people wrote them."""
        limits = Limits.load(self.config.risk, f"{self.path}: risk")
        return Limits.from_json(limits.to_json())  # so that a later version's equal tables are the same ones

    def unset(self) -> list[str]:
        """What these limits leave unset, and is refused for it."""
        from tidegate.risk.limit_sheet import Sheets
        from tidegate.risk.unset import missing

        return missing(Sheets(self.universe, self.scopes).of(self.limits))

    @property
    def accounts(self) -> list[str]:
        """Names by number."""
        return list(self.config.accounts)

    @property
    def venues(self) -> list[str]:
        """Venues of the instruments, in their order."""
        return list(dict.fromkeys(item.venue for item in self.universe.instruments))

    def lane_of(self, account: int) -> int:
        """The lane of an account: as configured, else the accounts are dealt out in their order."""
        lanes = self.config.log.lanes
        pinned = list(self.config.accounts.values())[account].lane
        if pinned >= lanes:
            name = self.accounts[account]
            raise UserError(
                f"{self.path}: accounts.{name}.lane is {pinned}: there are {lanes} lanes, 0 … {lanes - 1}"
            )
        return pinned if pinned >= 0 else account % lanes

    def strategies(self) -> list[Strategy]:
        """The strategies, fresh."""
        return list(configuration.build_strategies(self.config, str(self.path), self.path.parent))

    def gate(self) -> Gate:
        """A fresh gate. Slots for new versions are closed until something is deployed there."""
        from tidegate.risk import slots
        from tidegate.risk.gate import Gate

        made = Gate(
            self.universe,
            self.scopes,
            self.limits,
            base_currency=self.config.run.base_currency,
            fx=self.rates,
        )
        for slot in self.slots.values():
            slots.share(made, len(self.universe), slot.live_scope, slot.next_scope, slots.WHOLE, 0)
        return made

    def ledger(self) -> Ledger:
        """A fresh ledger."""
        return Ledger(self.universe, base_currency=self.config.run.base_currency, fx=self.rates)

    @cached_property
    def settings(self) -> Settings:
        """A lane's settings."""
        timeout = configuration.latencies(
            self.config.topology.ack_timeout, f"{self.path}: topology.ack_timeout", self.path.parent
        )
        return Settings(ack_timeout=timeout[0])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that a lane's decisions depend on."""
        c = self.config
        risk = {key: table for key, table in c.risk.items() if key not in ELSEWHERE}
        parts: tuple[Any, ...] = (
            self.universe.instruments, c.accounts, list(c.strategies), [s.account for s in c.strategies.values()],
            c.desks, risk, c.rates, c.run.base_currency, c.log.lanes, self.settings,
        )  # fmt: skip
        if self.slots:
            parts = (*parts, [list(slot) for slot in self.slots.values()])
        data = msgspec.json.encode(
            [msgspec.to_builtins(part, str_keys=True) for part in parts], order="sorted"
        )
        return hashlib.sha256(data).hexdigest()[:32]

    def lane_kind(self) -> LaneKind:
        """How lanes of this configuration are made and restored."""

        def make(number: int) -> Lane:
            return Lane(number, self.universe, self.gate(), self.ledger(), self.settings, self.shared)

        def restore(data: bytes) -> Lane:
            return Lane.restore(data, self.universe, self.gate(), self.ledger(), self.shared)

        return LaneKind(self.fingerprint, make, restore)
