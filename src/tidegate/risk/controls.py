"""The controls of the catalogue that this gate holds: their limits, levels and the figures of a denial.

`docs/risk.md` is printed from this table, and `risk.build` reads from it which limits must be set: an order for
which a control has no limit is refused with NO_LIMIT (control 30).
"""

from __future__ import annotations

import msgspec

from tidegate.risk.scopes import Level


class Control(msgspec.Struct, frozen=True):
    """One control. `fields` are its limits in `risk.limits`; `figures` says what a denial's numbers mean.

    With `levels` empty, a limit of an order by itself: it must be set somewhere on the order's chain and the
    tightest wins. Otherwise a limit of a scope's total: it must be set at each of these levels, and is judged at
    every scope where it is set. `risk_only` controls pass an order that only reduces risk. One that is not `required`
    is judged only where its limit is set.
    """

    number: int
    name: str
    rule: str
    fields: tuple[str, ...]
    figures: str
    levels: tuple[Level, ...] = ()
    risk_only: bool = False
    required: bool = True
    soft: str = ""


_F, _A, _S = Level.FIRM, Level.ACCOUNT, Level.STRATEGY

CONTROLS = (
    Control(
        1, "Trading permission", "Instrument, side, order type and time in force are on every allow-list of the chain",
        ("trade", "sides", "order_types", "time_in_force"), "allowed values as bits; the order's value",
    ),
    Control(
        2, "Restricted list", "No order in a restricted instrument, within a restricted window, or near its expiry",
        (), "time it ends, ns; the order's time",
    ),
    Control(
        3, "Static validity", "Quantity, notional, prices, expiry, type and time in force fit the instrument",
        (), "what is allowed; what the order has",
    ),
    Control(4, "Maximum order quantity", "Quantity ≤ limit", ("order_qty",), "lots"),
    Control(
        5, "Maximum order value",
        "Value at the worse of limit and touch ≤ limit; a market order is valued at the collar price",
        ("order_value",), "1e-6 of the base currency", soft="above half",
    ),
    Control(
        6, "Parent value", "Value of the parent or basket before slicing ≤ limit; an order alone is its own parent",
        ("parent_value",), "1e-6 of the base currency",
    ),
    Control(
        7, "Static price collar", "|price / middle − 1| ≤ a, or within a floor in price; a stop limit against its stop",
        ("price_collar",), "parts per million",
    ),
    Control(
        8, "Dynamic price collar", "A limit reaches through the touch by no more than k·σ·√h, or by a floor",
        ("dynamic_collar",), "ticks", soft="above half",
    ),
    Control(
        9, "Period collar", "The strategy's aggressive fills moved the price by no more than a within a window",
        ("period_drift",), "parts per million",
    ),
    Control(
        10, "Market data", "The reference is there, not crossed, and not older than the limit",
        ("max_age",), "ns (stale); bid and ask (crossed)", risk_only=True,
    ),
    Control(
        11, "Duplicate order", "At most N alike in account, instrument, side, type, price and quantity in a window",
        ("duplicate_orders",), "count",
    ),
    Control(
        12, "Self-match prevention", "No order reaches an own resting order of its account group",
        (), "price of the resting order; worst price of this one, ticks",
    ),
    Control(
        13, "Message throttle", "Token buckets for new orders and replaces, and others for cancels",
        ("orders_per_second", "cancels_per_second"), "ns a message; ns to wait", (_S, _A),
    ),
    Control(
        14, "Order-to-trade ratio",
        "Orders ÷ trades − 1 of an account, instrument and day ≤ limit, by number and by volume, after a free number; "
        "a replace counts as two, a cancel as one", ("order_ratio", "volume_ratio"), "thousandths",
        risk_only=True, required=False, soft="above half",
    ),
    Control(
        15, "Repeated execution",
        "So many executions of one strategy, instrument and side in a window; then none until a person acknowledges",
        ("executions",), "count", risk_only=True, required=False,
    ),
    Control(
        16, "Open orders", "Count and value of open orders ≤ limits",
        ("open_orders", "open_value"), "count; 1e-6 of the base currency", (_S, _A),
    ),
    Control(
        17, "Worst-case position", "Position + open buys ≤ limit, open sells − position ≤ limit",
        ("position",), "lots", (_S, _A, _F), risk_only=True,
    ),
    Control(
        18, "Gross and net notional", "Worst case of positions and open orders at the dearer side of the mark ≤ limits",
        ("gross", "net"), "1e-6 of the base currency", (_S, _A, _F), risk_only=True,
    ),
    Control(
        20, "Margin", "Initial margin of the worst case ≤ equity × (1 − buffer)",
        ("margin_buffer",), "1e-6 of the base currency", (_A,), risk_only=True,
    ),
    Control(
        22, "Concentration",
        "Worst-case position ≤ a share of the market's daily volume and of its open interest; "
        "order ≤ a share of the depth within 10 basis points", ("volume_share", "interest_share", "depth_share"),
        "lots (−1: the market's figures are not known)", risk_only=True, required=False, soft="above half",
    ),
    Control(
        23, "Loss limits", "The day's loss and the drawdown from the highest P&L; at one it only reduces",
        ("loss", "drawdown"), "1e-6 of the base currency", (_S, _A, _F), risk_only=True, soft="at half",
    ),
    Control(
        24, "Anomaly",
        "A strategy's fills a second, slippage in deviations from its usual, share of its last 50 orders denied or "
        "refused ≤ limits; beyond one it only reduces", ("fills_per_second", "slippage_score", "reject_share"),
        "ns a fill, ns too early; deviations × 1000; parts per million", (_S,), risk_only=True, required=False,
    ),
    Control(
        25, "Traded value a day", "Bought + sold today + open value + this order ≤ limit",
        ("traded_value",), "1e-6 of the base currency", (_A, _F), risk_only=True,
    ),
    Control(
        26, "Venue share", "Equity at the instrument's venue ÷ all equity, after haircuts ≤ limit",
        ("venue_share",), "parts per million", risk_only=True, required=False, soft="above four fifths",
    ),
    Control(
        27, "Reduce-only", "A scope or instrument that is not ACTIVE takes only what reduces, cancels, or nothing; REDUCE_ONLY "
        "orders never exceed the position of strategy and account",
        (), "lots left to reduce; lots asked",
    ),
    Control(
        28, "Leg risk",
        "A strategy's legs are worth no more than a limit together, or so again in time; then only what hedges passes",
        ("leg_value",), "ns", (_S,), risk_only=True, required=False, soft="while out of balance",
    ),
    Control(
        29, "Clock and sequence",
        "The sender's time is within a limit of the lane's, its reference not from the future; no gap in the risk log",
        ("clock_skew",), "ns (a gap: 0, 1)", risk_only=True, required=False,
    ),
    Control(30, "Configuration", "No limit set = refused", (), "control without a limit; 0"),
)  # fmt: skip

BY_NUMBER = {control.number: control for control in CONTROLS}
