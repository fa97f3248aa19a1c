"""Orders to the WS API and their answers back: what may go, what it is called, which request an answer belongs to.

A request is written to the socket within `send`. While the WS API is down, new orders and replaces are refused here
and cancels go by REST. A cancel that the rate limit puts off goes as soon as it may.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from tidegate.model.clock import Clock
from tidegate.model.messages import Report, SendCancel, SendNew, SendReplace
from tidegate.model.order import ExecType
from tidegate.model.time import SECOND
from tidegate.risk.reasons import Reason
from tidegate.venue.binance.answers import Answers, Pending, Request
from tidegate.venue.binance.errors import BAD_KEY, TIMESTAMP, UNKNOWN_ORDER, VenueError
from tidegate.venue.binance.keys import Keys
from tidegate.venue.binance.orders import Known, Orders
from tidegate.venue.binance.products import Product
from tidegate.venue.binance.queries import Queries
from tidegate.venue.binance.requests import (
    Params,
    Unsupported,
    cancel,
    frame,
    kind_of,
    modify,
    new_order,
    successor,
)
from tidegate.venue.binance.rest import Rest
from tidegate.venue.binance.symbols import Symbols
from tidegate.venue.binance.websocket import Socket
from tidegate.venue.port import VenueDown, VenueRefused

log = logging.getLogger("tidegate.venue.binance")
ANSWER_WITHIN = 30 * SECOND
"""A request without an answer for so long is forgotten; the lane has asked about its order long before."""


class OrderEntry:
    """One session's requests. `open_to_new` says whether new orders may go; reports go to `hand_on`."""

    def __init__(
        self,
        product: Product,
        keys: Keys,
        rest: Rest,
        symbols: Symbols,
        orders: Orders,
        answers: Answers,
        queries: Queries,
        counts: Counter[str],
        clock: Clock,
        open_to_new: Callable[[], bool],
        hand_on: Callable[[list[Report]], None],
    ) -> None:
        self.socket: Socket | None = None
        """The WS API; None before the session is opened."""
        self._product, self._keys, self._rest = product, keys, rest
        self._symbols, self._orders, self._answers, self._queries = symbols, orders, answers, queries
        self._counts, self._clock = counts, clock
        self._open_to_new, self._hand_on = open_to_new, hand_on
        self._limits = rest.limits
        self._pending: dict[str, Pending] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def up(self) -> bool:
        """Whether the WS API can be written to."""
        return self.socket is not None and self.socket.up

    def __len__(self) -> int:
        return len(self._pending)

    async def close(self) -> None:
        """Give up what is on its way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, request: Request) -> None:
        """See `Venue.send`."""
        if isinstance(request, SendNew):
            self._send_new(request)
        elif isinstance(request, SendCancel):
            self._send_cancel(request)
        else:
            self._send_replace(request)

    def _send_new(self, request: SendNew) -> None:
        symbol = self._symbols.by_number.get(request.instrument)
        if not self._open_to_new() or symbol is None:
            self._refuse(request, Reason.VENUE_DOWN if symbol else Reason.VENUE_INVALID_ORDER)
            return
        try:
            params = new_order(self._product, symbol, request)
        except Unsupported as error:
            self._counts["orders the venue does not have"] += 1
            log.warning("%s", error)
            self._refuse(request, Reason.VENUE_INVALID_ORDER)
            return
        now = self._rest.venue_now()
        if not self._limits.order(now):
            self._counts["orders held back"] += 1
            self._refuse(request, Reason.VENUE_THROTTLE)
            return
        known = self._orders.place(request)
        if self._product.chains:
            known.kind = kind_of(params)
        self._call("order.place", params, Pending(request, known), now)

    def _send_cancel(self, request: SendCancel) -> None:
        symbol = self._symbols.by_number.get(request.instrument)
        if symbol is None:
            self._refuse(request, Reason.UNKNOWN_ORDER)
            return
        now = self._rest.venue_now()
        if self.up and (wait := self._limits.cancel(now)):
            self._counts["cancels put off"] += 1
            self._start(self._cancel_later(wait / SECOND, request))
            return
        known = self._orders.get(request.cl_ord_id, request.instrument)
        known.cancel_asked = True
        params = cancel(symbol, request, known.generation)
        if self.up:
            self._call("order.cancel", params, Pending(request, known), now)
        else:
            self._counts["cancels by REST"] += 1
            self._start(self._by_rest("DELETE", Pending(request, known), params))

    async def _cancel_later(self, seconds: float, request: SendCancel) -> None:
        await asyncio.sleep(seconds)
        self._send_cancel(request)

    async def _cancel_after_asking(self, request: SendCancel, known: Known, pending: Pending) -> None:
        """A cancel found nothing: where the order has successors that were not heard of, the last one is meant."""
        tried = known.generation
        try:
            await self._queries.chain(self._symbols.by_number[request.instrument], request.cl_ord_id)
        except (VenueDown, VenueError, VenueRefused) as error:
            log.warning("%s: cancel: %s", self._product.venue, error)
        known = self._orders.find(request.cl_ord_id) or known
        if known.generation != tried:
            params = cancel(self._symbols.by_number[request.instrument], request, known.generation)
            self._call(pending.method, params, Pending(request, known, tries=2), self._rest.venue_now())
            return
        report = self._answers.refusal(request, Reason.UNKNOWN_ORDER, self._clock.now())
        report.ts_venue = self._rest.venue_now()
        self._hand_on([report])

    async def _by_rest(self, method: str, pending: Pending, params: Params) -> bool:
        """An order placed (POST) or cancelled (DELETE) by REST; what the venue says of it is handed on. False where it
        refused the key, and so did nothing."""
        new = isinstance(pending.request, SendNew)
        try:
            result = await self._rest.signed(method, self._product.order, params, urgent=True, once=new)
            reports = self._answers.done(pending, result, self._clock.now(), self._rest.venue_now())
        except VenueError as error:
            ts, now = self._clock.now(), self._rest.venue_now()
            if new and error.code == TIMESTAMP:
                self._counts["timestamps refused"] += 1
                self._start(self.sync())
            reports = self._answers.failed(pending, error.status, error.code, error.message, None, ts, now)
        except VenueDown as error:
            self._counts["outcomes unknown"] += 1
            log.warning("%s: %s of an order: %s", self._product.venue, method, error)
            return True
        except VenueRefused as error:
            self.key_refused(str(error))
            return False
        self._hand_on(reports)
        return True

    def _send_replace(self, request: SendReplace) -> None:
        symbol = self._symbols.by_number.get(request.instrument)
        if not self._open_to_new() or symbol is None:
            self._refuse(request, Reason.VENUE_DOWN if symbol else Reason.UNKNOWN_ORDER)
            return
        known = self._orders.get(request.cl_ord_id, request.instrument)
        if self._product.chains and (not known.kind or not known.complete):
            # Placed by a gateway that is gone: what the successor must share with it, the venue knows.
            self._start(self._replace_after_asking(request, known))
            return
        if self._product.chains and request.qty <= known.cum:
            self._refuse(request, Reason.TOO_LATE_TO_CANCEL)
            return
        now = self._rest.venue_now()
        if not self._limits.order(now):
            self._counts["replaces held back"] += 1
            self._refuse(request, Reason.VENUE_THROTTLE)
            return
        params = successor(symbol, request, known) if self._product.chains else modify(symbol, request)
        known.replacing = True
        known.sent_qty, known.sent_price = request.qty - known.cum, request.price
        known.told = {entry for entry in known.told if entry[0] != ExecType.REPLACED}
        self._call(self._product.modify, params, Pending(request, known, expected=known.cum), now)

    async def _replace_after_asking(self, request: SendReplace, known: Known) -> None:
        try:
            chain = await self._queries.chain(self._symbols.by_number[request.instrument], request.cl_ord_id)
        except (VenueDown, VenueError, VenueRefused) as error:
            log.warning("%s: replace: %s", self._product.venue, error)
            self._refuse(request, Reason.VENUE_DOWN)
            return
        if chain:
            self._send_replace(request)
        else:
            self._refuse(request, Reason.UNKNOWN_ORDER)

    def _call(self, method: str, params: Params, pending: Pending, now: int) -> None:
        self._number += 1
        number = str(self._number)
        pending.method, pending.params, pending.sent = method, params, now
        data = frame(number, method, params, self._keys, now)
        try:
            if self.socket is None:
                raise VenueDown("not open")
            self.socket.send(data)
        except VenueDown:
            if pending.request is not None:
                self._refuse(pending.request, Reason.VENUE_DOWN)
            elif pending.future is not None:
                pending.future.set_exception(VenueDown("not connected"))
            return
        self._pending[number] = pending

    async def ask(self, method: str) -> Any:
        """A signed question without parameters. Raises `VenueError` where it is refused, `VenueDown`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._call(method, {}, Pending(None, None, answer), self._rest.venue_now())
        try:
            return await asyncio.wait_for(answer, ANSWER_WITHIN / SECOND)
        except TimeoutError:
            raise VenueDown(f"{method}: no answer") from None

    async def ask_bare(self, method: str, **params: str) -> Any:
        """The same of one with parameters that need no signature and no escaping."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._number += 1
        pending = Pending(None, None, answer, method, params, self._rest.venue_now())
        if self.socket is None:
            raise VenueDown("not connected")
        frame = {"id": str(self._number), "method": method, "params": params}
        self.socket.send(orjson.dumps(frame))
        self._pending[str(self._number)] = pending
        try:
            return await asyncio.wait_for(answer, ANSWER_WITHIN / SECOND)
        except TimeoutError:
            raise VenueDown(f"{method}: no answer") from None

    def lost(self) -> None:
        """The connection is gone: what was on its way may have been done or not, and nothing is said of it."""
        pending, self._pending = list(self._pending.values()), {}
        self._counts["outcomes unknown"] += sum(entry.request is not None for entry in pending)
        for entry in pending:
            if entry.future is not None and not entry.future.done():
                entry.future.set_exception(VenueDown("connection lost"))

    def sweep(self) -> None:
        """Forget requests that were never answered."""
        late = self._rest.venue_now() - ANSWER_WITHIN
        for number in [n for n, pending in self._pending.items() if pending.sent < late]:
            del self._pending[number]
            self._counts["requests unanswered"] += 1

    async def sync(self) -> None:
        """Measure the venue's clock."""
        try:
            await self._rest.sync()
        except (VenueDown, VenueError, VenueRefused) as error:
            log.warning("%s: clock not measured: %s", self._product.venue, error)

    def answer(self, data: dict[str, Any], ts: int) -> list[Report]:
        """An answer to one of the requests, received at `ts`."""
        now = self._rest.venue_now()
        if "rateLimits" in data:
            self._limits.told(now, data["rateLimits"])
        pending = self._pending.pop(data["id"] or "", None)
        if pending is None:
            self._counts["answers to nothing"] += 1
            return []
        error = data.get("error")
        if error is None and data["status"] < 300:
            return self._done(pending, data.get("result"), ts, now)
        code, message = (int(error.get("code", 0)), str(error.get("msg", ""))) if error else (0, "")
        if pending.future is not None:
            if not pending.future.done():
                pending.future.set_exception(VenueError(data["status"], code, message))
            return []
        if code == TIMESTAMP:
            self._counts["timestamps refused"] += 1
            again = not isinstance(pending.request, SendNew) and pending.tries == 1
            self._start(self._again(pending) if again else self.sync())
            if again:
                return []
        elif code in BAD_KEY:
            self.key_refused(message)
        elif code in UNKNOWN_ORDER and self._product.chains and pending.tries == 1:
            if isinstance(pending.request, SendCancel) and pending.known is not None:
                self._start(self._cancel_after_asking(pending.request, pending.known, pending))
                return []
        detail = error.get("data") if error else None
        if self._answers.crossed(pending, detail):
            self._send_replace(pending.request)  # type: ignore[arg-type]
            return []
        return self._answers.failed(pending, data["status"], code, message, detail, ts, now)

    def _done(self, pending: Pending, result: Any, ts: int, now: int) -> list[Report]:
        if pending.future is not None:
            if not pending.future.done():
                pending.future.set_result(result)
            return []
        reports = self._answers.done(pending, result, ts, now)
        request, known = pending.request, pending.known
        if isinstance(request, SendReplace) and known is not None and self._answers.too_large(pending):
            if request.qty > known.cum:
                self._send_replace(request)
            else:
                self._send_cancel(SendCancel(ts, request.cl_ord_id, request.account, request.instrument))
        return reports

    async def _again(self, pending: Pending) -> None:
        """A cancel or replace that came outside the time window: the clock is measured, and it is sent once more."""
        pending.tries += 1
        await self.sync()
        self._call(pending.method, pending.params, pending, self._rest.venue_now())

    def key_refused(self, message: str) -> None:
        """The venue takes the key no more."""
        self._counts["key refused"] += 1
        log.error("%s: the venue refuses the key: %s", self._product.venue, message)

    def _refuse(self, request: Request, reason: Reason) -> None:
        """A request that never left."""
        report = self._answers.refusal(request, reason, self._clock.now())
        asyncio.get_running_loop().call_soon(self._hand_on, [report])

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
