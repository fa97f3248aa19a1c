"""The report's sections on the result: head, P&L, strategies, attribution, exposure, instruments."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.analytics.performance import LEAST_RETURNS, YEAR
from tidegate.analytics.run_summary import RunData, RunSummary, StrategyRow
from tidegate.model.time import DAY
from tidegate.report import figures_time
from tidegate.report.figures_execution import PARTS, attribution
from tidegate.report.figures_time import COLOURS, Figure, colour
from tidegate.report.format import (
    NONE,
    count,
    duration,
    money_decimals,
    number,
    percent,
    plural,
    significant,
    window,
)
from tidegate.report.markup import Cell, empty, esc, label, paragraph, plot, section, signed, table

Figures = dict[str, Figure | list[Figure]]


def mark(n: int) -> str:
    """The palette name of strategy `n`'s colour mark."""
    return colour(n).removeprefix("@")


def unit(summary: RunSummary) -> str:
    """The base currency, or a plain word where the run does not name one."""
    return summary.base or "base currency"


def sharpe_is_meaningful(summary: RunSummary) -> bool:
    """An annual Sharpe ratio has an interval within about ±2 only from a year of record."""
    return (summary.end - summary.start) >= 0.9 * YEAR and summary.total.sharpe is not None


def head(summary: RunSummary, run_info: dict[str, object]) -> str:
    """Title, what was run, and the few numbers that matter."""
    names = summary.names
    title = str(run_info.get("config") or "Backtest")
    when = (
        [window(summary.start, summary.end), duration(summary.end - summary.start)]
        if summary.end
        else ["no events"]
    )
    counts = [
        plural(len(names.strategies), "strategy", "strategies"),
        plural(len(names.instruments), "instrument"),
    ]
    facts = " · ".join([*when, *counts])
    identity = " ".join(
        f"<span>{esc(word)} <code>{esc(run_info[key])}</code></span>"
        for key, word in (("run_id", "run"), ("state_hash", "state hash"), ("version", "tidegate"))
        if run_info.get(key)
    )
    cards = "".join(
        f'<div><dt>{esc(name)}</dt><dd class="{css}">{esc(value)}</dd><dd class="sub">{esc(sub)}</dd></div>'
        for name, value, css, sub in _cards(summary)
    )
    return (
        f'<header><h1>{esc(title)}</h1><p class="facts">{esc(facts)}</p>'
        f'<p class="identity">{identity}</p><dl class="cards">{cards}</dl></header>'
    )


def _cards(summary: RunSummary) -> list[tuple[str, str, str, str]]:
    total, base = summary.total, unit(summary)
    places = money_decimals([total.net, total.fees])
    capital = summary.capital
    bps = (
        f"{number(1e4 * total.net / capital, 2, plus=True)} bps of capital" if capital else "no capital given"
    )
    deep = total.drawdown
    costs = summary.costs
    denied = sum(row.count for row in summary.denials)
    refused = f"{count(denied)} denied by risk"
    fee_bps = f"{number(costs.fee_bps, 2)} bps of turnover" if costs.fee_bps is not None else "of fills"
    times = f"{number(total.turnover / capital, 1)} × capital" if capital and total.turnover else ""
    return [
        ("Net P&L", number(total.net, places, plus=True), "bad" if total.net < 0 else "", f"{base} · {bps}"),
        ("Max drawdown", number(deep.depth, places) if deep else NONE, "",
         f"{base} · {duration(deep.longest_ns)} under water" if deep else "no equity"),
        ("Fees", number(total.fees, places), "", f"{base} · {fee_bps}"),
        ("Turnover", number(total.turnover, 0), "", f"{base}{' · ' + times if times else ''}"),
        ("Fills", count(total.fills), "",
         f"{percent(total.maker_share, 0)} maker" if total.fills else "nothing traded"),
        ("Orders sent", count(summary.orders.total.sent), "", refused),
        _sharpe_card(summary),
    ]  # fmt: skip


def _sharpe_card(summary: RunSummary) -> tuple[str, str, str, str]:
    ratio = summary.total.sharpe
    span = duration(summary.end - summary.start)
    if ratio is None:
        return ("Sharpe ratio", NONE, "", f"fewer than {LEAST_RETURNS} returns, or none that moved")
    places = 2 if ratio.high - ratio.low < 50 else 0
    interval = f"{number(ratio.low, places)} to {number(ratio.high, places)}"
    if sharpe_is_meaningful(summary):
        return ("Sharpe ratio", number(ratio.annual, 2), "", f"{interval} at 95 %")
    return ("Sharpe ratio", "not meaningful", "small", f"{span} of data: {interval} at 95 %")


def pnl_section(summary: RunSummary, data: RunData, figures: Figures) -> str:
    """P&L and drawdown over time."""
    lead = (
        "Net P&L after fees and funding, positions marked to mid. "
        "Below, how far the total stands under its own high so far."
    )
    figure = figures_time.pnl(summary, data, unit(summary))
    if figure is None:
        return section("pnl", "P&L", lead, empty("No equity samples: the run ended before the first one."))
    figures["pnl"] = figure
    points = len(data.curves.ts)
    thinned = points > figures_time.LINE_POINTS // (len(summary.names.strategies) + 2)
    note = f"{count(points)} samples"
    note += "; each slice of time is drawn by its first, lowest, highest and last." if thinned else "."
    return section("pnl", "P&L", lead, plot("pnl", 600 if len(summary.strategies) > 1 else 440, note))


def strategies_section(summary: RunSummary) -> str:
    """Results, trading and ratios by strategy."""
    lead = "What each strategy made, what it traded to make it, and how far its ratios can be trusted."
    if not summary.strategies:
        return section("strategies", "Strategies", lead, empty("No strategy left a trace in this run."))
    return section(
        "strategies", "Strategies", lead,
        "<h3>Result</h3>", _result_table(summary),
        "<h3>Trading</h3>", _trading_table(summary),
        "<h3>Ratios</h3>", paragraph(_ratio_note(summary), "note"), _ratio_table(summary),
    )  # fmt: skip


def _rows(summary: RunSummary) -> list[tuple[StrategyRow, Cell]]:
    return [(row, label(row.name, mark(n))) for n, row in enumerate(summary.strategies)]


def _result_table(summary: RunSummary) -> str:
    every = [*summary.strategies, summary.total]
    places = money_decimals(v for row in every for v in (row.net, row.realised, row.fees))

    def cells(row: StrategyRow, first: Cell) -> list[str | Cell]:
        deep = row.drawdown
        per = 1e4 * row.net / row.turnover if row.turnover else None
        return [
            first,
            *(signed(number(v, places), v) for v in (row.net, row.realised, row.unrealised)),
            number(row.fees, places), signed(number(row.funding, places), row.funding),
            signed(number(per, 2), per),
            number(deep.depth, places) if deep else NONE, duration(deep.longest_ns) if deep else NONE,
        ]  # fmt: skip

    base = unit(summary)
    head_cells: list[str | Cell] = [
        "Strategy", Cell("Net P&L", "", f"realised + unrealised − fees + funding, {base}"),
        "Realised", "Unrealised", "Fees", "Funding", Cell("Net, bps", "", "net P&L / turnover"),
        Cell("Max drawdown", "", f"highest point so far less lowest after it, {base}"),
        Cell("Under water", "", "longest time under the high so far"),
    ]  # fmt: skip
    rows = [cells(row, first) for row, first in _rows(summary)]
    return table(head_cells, rows, cells(summary.total, label("Total")))


def _trading_table(summary: RunSummary) -> str:
    trips = [row.trips for row in (*summary.strategies, summary.total)]
    places = money_decimals(v for trip in trips for v in (trip.average_gain, trip.average_loss))

    def cells(row: StrategyRow, first: Cell) -> list[str | Cell]:
        trip = row.trips
        return [
            first, number(row.turnover, 0), count(row.fills), percent(row.maker_share, 0),
            count(trip.closings), percent(trip.hit_rate), number(trip.average_gain, places),
            number(trip.average_loss, places), number(trip.profit_factor, 2),
            duration(trip.holding_ns, trim=False),
            number(row.mean_gross, 0), number(row.peak_gross, 0),
        ]  # fmt: skip

    head_cells: list[str | Cell] = [
        "Strategy", "Turnover", "Fills", "Maker",
        Cell("Closings", "", "fills that closed part of a position, first in first out"),
        Cell("Hit rate", "", "closings with a gain after the fees of both ends"),
        "Mean gain", "Mean loss", Cell("Profit factor", "", "Σ gains / Σ losses"),
        Cell("Holding", "", "mean time from entry to exit, by value"),
        Cell("Mean gross", "", "mean gross exposure"), Cell("Peak gross", "", "highest gross exposure"),
    ]  # fmt: skip
    rows = [cells(row, first) for row, first in _rows(summary)]
    return table(head_cells, rows, cells(summary.total, label("Total")))


def _ratio_note(summary: RunSummary) -> str:
    step, span = duration(summary.step), summary.end - summary.start
    basis = (
        f"From returns over {step}, annualised to 365 days of 24 hours with Lo's correction for serial "
        "correlation; the interval allows for skew and fat tails (Mertens, Lo)."
    )
    if summary.total.sharpe is None:
        return f"{basis} There are fewer than {LEAST_RETURNS} returns here, or none that moved."
    if sharpe_is_meaningful(summary):
        return basis
    width = (summary.total.sharpe.high - summary.total.sharpe.low) / 2
    days = "" if span > 30 * DAY else " It says nothing at all about another day."
    return (
        f"{basis} Read them as a warning, not as a result: {duration(span)} of data leave the total's annual "
        f"ratio uncertain by ±{number(width, 0)}; about a year is needed for ±2, whatever the sampling.{days}"
    )


def _ratio_table(summary: RunSummary) -> str:
    def cells(row: StrategyRow, first: Cell) -> list[str | Cell]:
        ratio = row.sharpe
        if ratio is None:
            return [first, *([NONE] * 7)]
        places = 2 if abs(ratio.high - ratio.low) < 50 else 0
        return [
            first, number(ratio.annual, places),
            f"{number(ratio.low, places)} to {number(ratio.high, places)}",
            percent(ratio.psr), number(row.sortino, places), number(ratio.per_period, 4),
            number(ratio.skew, 2), number(ratio.kurtosis, 1),
        ]  # fmt: skip

    head_cells: list[str | Cell] = [
        "Strategy", "Sharpe, annual", "95 % interval",
        Cell("P(true > 0)", "", "probabilistic Sharpe ratio: within this record only"),
        "Sortino, annual", Cell(f"Sharpe per {duration(summary.step)}", "", "mean / deviation of one return"),
        "Skew", Cell("Kurtosis", "", "3 for normal returns"),
    ]  # fmt: skip
    rows = [cells(row, first) for row, first in _rows(summary)]
    out = table(head_cells, rows, cells(summary.total, label("Total")))
    return out if sharpe_is_meaningful(summary) else f'<div class="doubtful">{out}</div>'


def attribution_section(summary: RunSummary, figures: Figures) -> str:
    """Net P&L by strategy and instrument, and in parts."""
    lead = (
        "Which strategy earned in which instrument; then each net P&L in its parts. Spread is what fills "
        "gained against mid, adverse selection how mid moved in the 10 s after them, holding all "
        "that came later."
    )
    if not summary.positions:
        return section("attribution", "Where it came from", lead, empty("No positions were opened."))
    body = ["<h3>Net P&L by strategy and instrument</h3>", _matrix(summary), _details(summary)]
    body.append("<h3>P&L in parts</h3>")
    figure = attribution(summary.attribution[:-1], unit(summary))
    if figure is None:
        missing = ", ".join(summary.unrated)
        why = f"no rate to {unit(summary)} for {missing}" if missing else "fills lack a mid"
        body.append(empty(f"The parts cannot be told apart: {why}."))
    else:
        figures["attribution"] = figure
        body.append(plot("attribution", 120 + 38 * len(summary.strategies)))
    body.append(_parts_table(summary))
    return section("attribution", "Where it came from", lead, *body)


def _matrix(summary: RunSummary) -> str:
    net: dict[tuple[str, str], float] = {}
    for row in summary.positions:
        net[row.strategy, row.instrument] = net.get((row.strategy, row.instrument), 0.0) + row.net
    held = {row.instrument for row in summary.positions}
    instruments = [name for name in summary.names.instruments if name in held]
    places = money_decimals([*net.values(), summary.total.net])

    def cells(first: Cell, strategies: Sequence[str]) -> list[str | Cell]:
        by = [[net[s, i] for s in strategies if (s, i) in net] for i in instruments]
        sums = [sum(amounts) if amounts else None for amounts in by]
        whole = sum(value for value in sums if value is not None)
        return [first, *(signed(number(v, places), v) for v in sums), signed(number(whole, places), whole)]

    rows = [cells(label(name, mark(n)), [name]) for n, name in enumerate(summary.names.strategies)]
    foot = cells(label("Total"), summary.names.strategies)
    return table([f"{unit(summary)}", *(_instrument_head(name) for name in instruments), "Total"], rows, foot)


def _instrument_head(name: str) -> Cell:
    """An instrument's symbol with its venue beneath."""
    symbol, _, venue = name.rpartition(".")
    return Cell(symbol or name, below=venue if symbol else "")


def _details(summary: RunSummary) -> str:
    places = money_decimals(row.net for row in summary.positions)
    several = len(summary.names.accounts) > 1
    head_cells: list[str | Cell] = [
        "Strategy", *([Cell("Account", "text")] if several else []), Cell("Instrument", "text"),
        "Final position", "Exposure", "Realised", "Unrealised", "Fees", "Funding", "Net P&L", "Fills",
    ]  # fmt: skip
    place = {name: n for n, name in enumerate(summary.names.strategies)}
    rows: list[list[str | Cell]] = [
        [
            label(row.strategy, mark(place[row.strategy])), *([label(row.account)] if several else []),
            label(row.instrument), significant(row.position, 8), number(row.exposure, 0),
            *(signed(number(v, places), v) for v in (row.realised, row.unrealised)), number(row.fees, places),
            number(row.funding, places), signed(number(row.net, places), row.net), count(row.fills),
        ]
        for row in summary.positions
    ]  # fmt: skip
    return f"<details><summary>Positions in detail</summary>{table(head_cells, rows)}</details>"


def _parts_table(summary: RunSummary) -> str:
    parts = [p for _, p in summary.attribution]
    places = money_decimals(v for p in parts for v in (p.net, p.trading, p.spread, p.fees))
    rows = []
    for n, (name, p) in enumerate(summary.attribution):
        last = n == len(summary.attribution) - 1
        first = label(name) if last else label(name, f"s{n % COLOURS}")
        amounts = [None if getattr(p, key) is None else sign * getattr(p, key) for key, _, sign in PARTS]
        rows.append([first, *(signed(number(v, places), v) for v in (*amounts, p.net))])
    return table([f"{unit(summary)}", *(title for _, title, _ in PARTS), "Net P&L"], rows[:-1], rows[-1])


def exposure_section(summary: RunSummary, data: RunData, figures: Figures) -> str:
    """Exposure over time."""
    lead = (
        "The value of positions at mid, long above zero and short below. "
        "Gross adds every position's size; nothing is netted between instruments or strategies."
    )
    figure = figures_time.exposure(summary, data, unit(summary))
    if figure is None:
        return section("exposure", "Exposure", lead, empty("No equity samples."))
    figures["exposure"] = figure
    return section(
        "exposure", "Exposure", lead, plot("exposure", 560 if len(summary.strategies) > 1 else 420)
    )


def instruments_section(summary: RunSummary, data: RunData, figures: Figures) -> str:
    """Each instrument's price with fills, and inventory; one shown at a time."""
    lead = (
        "Triangles are fills, up for buys and down for sells, in the strategy's colour; below, what each "
        "strategy held (base units or contracts). Drag to zoom; a click on the legend "
        "hides a strategy, a double click leaves it alone."
    )
    tabs: list[str] = []
    notes: list[str] = []
    shown: list[Figure] = []
    for code, name in enumerate(summary.names.instruments):
        figure, drawn = figures_time.instrument(summary, data, code)
        if figure is None:
            continue
        fills = int((data.fills.instrument == code).sum())
        notes.append(_fills_note(fills, drawn))
        shown.append(figure)
        tabs.append(f'<button type="button" role="tab" data-tab="{len(tabs)}">{esc(name)}</button>')
    if not shown:
        return section("instruments", "Fills and inventory", lead, empty("No prices and no fills."))
    figures["instruments"] = shown
    bar = f'<div class="tabs" role="tablist" data-for="instruments">{"".join(tabs)}</div>'
    captions = "".join(
        f'<p class="caption" data-caption="{n}">{esc(note)}</p>' for n, note in enumerate(notes)
    )
    body = bar + plot("instruments", 540) + f'<div class="captions">{captions}</div>'
    return section("instruments", "Fills and inventory", lead, body)


def _fills_note(fills: int, drawn: int) -> str:
    if not fills:
        return "No fills in this instrument."
    if drawn == fills:
        return f"All {plural(fills, 'fill')} are drawn."
    return (
        f"{count(drawn)} of {count(fills)} fills are drawn: the largest in each small cell of time and "
        "price. Tables count all of them."
    )
