"""The report's sections on execution: costs, markouts, orders and the queue, denials, latency."""

from __future__ import annotations

from tidegate.analytics.costs import CostRow
from tidegate.analytics.latency import QUANTILES
from tidegate.analytics.markouts import HORIZONS, Markout
from tidegate.analytics.order_flow import FlowRow
from tidegate.analytics.order_summary import DenialRow
from tidegate.analytics.run_summary import REALISED_HORIZON, RunData, RunSummary
from tidegate.model.time import DAY
from tidegate.report import figures_execution as pictures
from tidegate.report.format import (
    clock,
    count,
    duration,
    moment,
    money_decimals,
    number,
    percent,
    plural,
    significant,
)
from tidegate.report.markup import Cell, empty, label, paragraph, plot, section, signed, table
from tidegate.report.sections_result import Figures, mark, unit

Row = list[str | Cell]


def costs_section(summary: RunSummary) -> str:
    """Fees, slippage and spreads."""
    lead = (
        "What trading cost, in basis points of value; positive is a cost, negative an earning. "
        "Against mid: the price paid beside the mid at the fill. Against arrival: beside the "
        "mid when the order was decided."
    )
    if not summary.total.fills:
        return section("costs", "Cost of trading", lead, empty("No fills."))
    place = {name: n for n, name in enumerate(summary.names.strategies)}
    rows: list[Row] = [
        _cost_cells([label(g.strategy, mark(place[g.strategy])), label(g.liquidity)], g.costs, summary)
        for g in summary.cost_groups
    ]
    by: list[Row] = [_cost_cells([label(name)], row, summary) for name, row in summary.costs_by_instrument]
    missing = summary.costs.no_mid + summary.costs.no_arrival
    notes = [
        f"The effective spread is twice the slippage against mid; the realised one is what was left of it "
        f"{duration(REALISED_HORIZON)} later, and impact is the difference. Means are weighted by value."
    ]
    if missing:
        notes.append(
            f"{plural(summary.costs.no_mid, 'fill')} without a mid and "
            f"{plural(summary.costs.no_arrival, 'fill')} without an arrival mid are left out of those means."
        )
    if summary.unrated:
        notes.append(
            f"The run gives no rate to {unit(summary)} for {', '.join(summary.unrated)}: amounts that "
            "need it are left blank."
        )
    head = _cost_head(summary)
    total = _cost_cells([label("Total"), label("")], summary.costs, summary)
    return section(
        "costs", "Cost of trading", lead, paragraph(" ".join(notes), "note"),
        "<h3>By strategy</h3>", table(["Strategy", Cell("Liquidity", "text"), *head], rows, total),
        "<h3>By instrument</h3>", table(["Instrument", *head], by),
    )  # fmt: skip


def _cost_head(summary: RunSummary) -> Row:
    base = unit(summary)
    return [
        "Fills", Cell("Value", "", base), Cell("Fees", "", base), Cell("Fees, bps", ""),
        Cell("vs mid, bps", "", "s (price − mid) / mid"), Cell("vs mid", "", base),
        Cell("vs arrival, bps", "", "s (price − arrival mid) / arrival mid"), Cell("vs arrival", "", base),
        Cell("Effective, bps", "", "2 s (price − mid) / mid"),
        Cell("Realised, bps", "", "2 s (price − mid later) / mid"),
        Cell("Impact, bps", "", "effective − realised"),
    ]  # fmt: skip


def _cost_cells(first: Row, row: CostRow, summary: RunSummary) -> Row:
    places = money_decimals([summary.costs.fees, summary.costs.mid_cost, summary.costs.arrival_cost])
    return [
        *first, count(row.fills), number(row.value, 0), number(row.fees, places), number(row.fee_bps, 2),
        number(row.mid_bps, 3), number(row.mid_cost, places), number(row.arrival_bps, 3),
        number(row.arrival_cost, places), number(row.effective_bps, 3), number(row.realised_bps, 3),
        number(row.impact_bps, 3),
    ]  # fmt: skip


def markouts_section(summary: RunSummary, figures: Figures) -> str:
    """What fills were worth some time later."""
    lead = (
        "What a fill had gained on its own price some time later, before fees, in basis points. "
        "A maker that is picked off starts above zero and falls; a taker that was right starts below "
        "and rises."
    )
    figure = pictures.markouts(summary)
    if figure is None:
        why = "No fills." if not summary.total.fills else "No touch prices to measure against."
        return section("markouts", "Markouts", lead, empty(why))
    figures["markouts"] = figure
    notes = "Bars are 95 % intervals, clustered in time: fills close together share one price path."
    if summary.touch_spacing > HORIZONS[1]:
        notes += (
            f" Prices are sampled every {duration(summary.touch_spacing)}: shorter horizons are not resolved "
            "and read the last sample before them."
        )
    place = {name: n for n, name in enumerate(summary.names.strategies)}
    rows: list[Row] = [
        [
            label(g.strategy, mark(place[g.strategy])),
            label(g.liquidity),
            *(_markout_cell(m) for m in g.markouts),
        ]
        for g in summary.cost_groups
    ]
    head: Row = ["Strategy", Cell("Liquidity", "text"), "At fill", *(duration(h) for h in HORIZONS[1:])]
    return section(
        "markouts", "Markouts", lead, plot("markouts", 380, notes), table(head, rows),
        paragraph(
            "Mean, bps ± one standard error; below it the fills that have a price this long after them.",
            "note",
        ),
    )  # fmt: skip


def _markout_cell(markout: Markout) -> Cell:
    if markout.bps is None:
        return Cell("–", "", "no fill has a price this long after it")
    error = "" if markout.se is None else f" ± {number(markout.se, 2)}"
    cell = signed(f"{number(markout.bps, 2)}{error}", markout.bps)
    return Cell(cell.text, cell.css, below=count(markout.fills))


def orders_section(summary: RunSummary, figures: Figures) -> str:
    """What became of orders, and what the queue did to those that rested."""
    lead = (
        "What became of orders that were sent. The queue-fill ratio is filled over submitted quantity of "
        "orders that joined a queue; time to fill runs from the venue's acknowledgement to the first fill."
    )
    orders = summary.orders
    if not orders.total.sent:
        denied = sum(row.count for row in summary.denials)
        why = f"No order was sent: all {count(denied)} were denied." if denied else "No order was sent."
        return section("orders", "Orders and the queue", lead, empty(why))
    place = {name: n for n, name in enumerate(summary.names.strategies)}
    rows: list[Row] = [
        _flow_cells([label(name, mark(place[name]))], flow) for name, flow in orders.by_strategy
    ]
    each: list[Row] = [
        _flow_cells([label(g.strategy, mark(place[g.strategy])), label(g.instrument)], g.flow)
        for g in orders.groups
    ]
    several = len({g.instrument for g in orders.groups}) > 1
    note = "Last status: " + ", ".join(f"{count(n)} {name}" for name, n in orders.statuses if n) + "."
    if several:
        note += " Over several instruments ratios are the mean of the orders' own, as quantities do not add."
    body = [table(["Strategy", *_FLOW_HEAD], rows, _flow_cells([label("Total")], orders.total))]
    body.append(paragraph(note, "note"))
    if several:
        detail = table(["Strategy", Cell("Instrument", "text"), *_FLOW_HEAD], each)
        body.append(f"<details><summary>By strategy and instrument</summary>{detail}</details>")
    return section("orders", "Orders and the queue", lead, *body, *_queue(summary, figures))


_FLOW_HEAD: Row = [
    "Sent", "With a fill", Cell("Fill ratio", "", "by quantity"), "Rested", "Queue-fill ratio",
    Cell("Time to fill", "", "median of orders that filled"),
    Cell("p90", "", "nine in ten filled sooner"), "Cancelled", "Rejected",
    Cell("Orders / fill", "", "orders sent over fills"),
]  # fmt: skip


def _flow_cells(first: Row, flow: FlowRow) -> Row:
    return [
        *first, count(flow.sent), count(flow.filled), percent(flow.fill_ratio), count(flow.resting),
        percent(flow.queue_fill_ratio), duration(flow.median_to_fill, trim=False),
        duration(flow.p90_to_fill, trim=False), count(flow.cancelled), count(flow.rejected),
        number(flow.order_to_trade, 1),
    ]  # fmt: skip


def _queue(summary: RunSummary, figures: Figures) -> list[str]:
    figure = pictures.queue(summary.orders.queue)
    if figure is None:
        return [empty("No order rested with a known place in a queue.")]
    figures["queue"] = figure
    rows: list[Row] = []
    for name, buckets in summary.orders.queue:
        for title, b in zip(pictures.bucket_labels(buckets), buckets, strict=True):
            ahead = "0" if b.high == 0 else f"{significant(b.low, 4)} to {significant(b.high, 4)}"
            rows.append(
                [
                    label(name), label(title), ahead, count(b.orders), significant(b.submitted),
                    significant(b.filled), percent(b.ratio), duration(b.median_to_fill, trim=False),
                ]
            )  # fmt: skip
    head: Row = [
        "Instrument", Cell("Queue ahead", "text"), "Quantity ahead", "Orders", "Submitted", "Filled",
        "Queue-fill ratio", "Time to fill",
    ]  # fmt: skip
    return [
        "<h3>By place in the queue</h3>",
        plot("queue", 300),
        f"<details><summary>By place in the queue, in figures</summary>{table(head, rows)}</details>",
    ]


def denials_section(summary: RunSummary, figures: Figures) -> str:
    """What the risk gate refused."""
    lead = "Requests that the risk gate refused, by the control that did. None of them reached a venue."
    figure = pictures.denials(summary)
    if figure is None:
        return section("denials", "Denials", lead, empty("The risk gate denied nothing."))
    figures["denials"] = figure
    reasons = len({row.reason for row in summary.denials})
    shown, rest = summary.denials[:_DENIALS_SHOWN], summary.denials[_DENIALS_SHOWN:]
    body = [plot("denials", 110 + 36 * reasons), _denials_table(summary, shown)]
    if rest:
        more = _denials_table(summary, rest[:_DENIALS_MOST])
        lost = sum(row.count for row in rest[_DENIALS_MOST:])
        tail = paragraph(f"{plural(lost, 'further denial')} in rows below these.", "note") if lost else ""
        body.append(f"<details><summary>The rest of the denials</summary>{more}{tail}</details>")
    return section("denials", "Denials", lead, *body)


_DENIALS_SHOWN, _DENIALS_MOST = 12, 100


def _denials_table(summary: RunSummary, denials: tuple[DenialRow, ...]) -> str:
    place = {name: n for n, name in enumerate(summary.names.strategies)}
    show = moment if summary.end - summary.start >= DAY else clock
    rows: list[Row] = [
        [
            label(row.reason), str(row.control), label(row.strategy, mark(place[row.strategy])),
            label(row.instrument), label(row.scope), count(row.count), significant(row.limit),
            significant(row.worst), show(row.first_ts), show(row.last_ts),
        ]
        for row in denials
    ]  # fmt: skip
    head: Row = [
        "Reason", "Control", Cell("Strategy", "text"), Cell("Instrument", "text"), Cell("Scope", "text"),
        "Denied", "Limit", Cell("Worst", "", "the value furthest from zero"), "First, UTC", "Last, UTC",
    ]  # fmt: skip
    return table(head, rows)


def latency_section(summary: RunSummary, data: RunData, figures: Figures) -> str:
    """How long messages took."""
    lead = (
        "How long messages took. The picture shows the share of messages that took at least so long, "
        "both axes logarithmic: each step down is one more nine, and a bend to the right is a tail."
    )
    if not summary.latency:
        return section("latency", "Latency", lead, empty("No latency was sampled."))
    figure = pictures.latency(data)
    body = []
    if figure is not None:
        figures["latency"] = figure
        body.append(plot("latency", 340))
    negative = sum(row.negative for row in summary.latency)
    rows: list[Row] = [
        [
            label(row.name, mark(n)), count(row.samples), duration(row.minimum, trim=False),
            *(duration(q, trim=False) for q in row.quantiles), duration(row.maximum, trim=False),
        ]
        for n, row in enumerate(summary.latency)
    ]  # fmt: skip
    titles = [f"p{significant(100 * q)}" for q in QUANTILES]
    body.append(table(["Path", "Samples", "Minimum", *titles, "Maximum"], rows))
    if negative:
        body.append(
            paragraph(
                f"{plural(negative, 'sample')} below zero, from clocks that disagree: not drawn.", "note"
            )
        )
    return section("latency", "Latency", lead, *body)
