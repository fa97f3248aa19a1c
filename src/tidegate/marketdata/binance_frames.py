"""Binance frames to market events: the one parser of recorded captures and of live connections.

No I/O and no clock: bytes and receive times in; events, message headers and refusals out. Nearly every frame
is read by the compiled scan; the rest one by one by the slow reader, which either takes a frame or says why
not. The events' times are still the exchange's own (0 where a frame has none) and the recorder's; `assemble`
proves the chain and mends the clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidegate.marketdata.binance_instruments import Directory
from tidegate.marketdata.binance_scan import DONE, FULL, ODD, scan
from tidegate.marketdata.binance_shapes import (
    MESSAGE_WORDS,
    NOBODY,
    S_HINT,
    S_LINE,
    S_MESSAGES,
    S_OFF_LOT,
    S_OWNER,
    S_POS,
    S_ROWS,
    SCRATCH_WORDS,
    SEVERAL,
    SNAPSHOT,
    STATE_WORDS,
    instrument_table,
)
from tidegate.marketdata.binance_slow import Frame, Reason, Refused, read_frame, split_line
from tidegate.marketdata.binance_text import PADDING
from tidegate.model.event import Events, Words, from_words

Buffer = npt.NDArray[np.uint8]
_NO_TIMES = np.zeros(0, np.int64)
_END = b"\n" + bytes(PADDING)
_KEPT = 1 << 16
"""Bytes kept for the text of live frames; more when a batch needs more."""
_LOOK_AHEAD = 200
"""Lines searched for a symbol when a file starts with a snapshot that has none."""


@dataclass(frozen=True)
class Quarantined:
    """A frame that was refused: where it stood, why, and its text as it came."""

    line: int
    recv: int
    reason: Reason
    detail: str
    raw: bytes


@dataclass
class Batch:
    """What some consecutive frames held: `events` in source order, a header of each message (`binance_scan`)."""

    rows: Words
    messages: Words
    quarantined: list[Quarantined]

    @property
    def events(self) -> Events:
        """The events as records; shares memory with `rows`."""
        return from_words(self.rows)


def _line_end(buffer: Buffer, position: int) -> int:
    """Where the line that starts at `position` has its newline; there is one."""
    while True:
        found = buffer[position : position + 65_536].tobytes().find(b"\n")
        if found >= 0:
            return position + found
        position += 65_536


class FrameParser:
    """Reads the frames of one connection or one file, in order.

    `rows` is how many events a batch holds at most (more when one message alone is larger).
    """

    def __init__(self, directory: Directory, rows: int = 1 << 16) -> None:
        self.directory = directory
        self.skipped: Counter[str] = Counter()
        """Frames that carry no market data, by the rule that says so."""
        self.slow = 0
        """Frames that the compiled scan left to the slow reader."""
        self._table = instrument_table(directory)
        self._rows = np.zeros((rows, 8), np.int64)
        self._messages = np.zeros((max(1, rows // 2), MESSAGE_WORDS), np.int64)
        self._state = np.zeros(STATE_WORDS + SCRATCH_WORDS, np.int64)
        self._state[S_OWNER] = NOBODY
        self._refused: list[Quarantined] = []
        self._text = np.zeros(_KEPT, np.uint8)
        # At least one, for an array without entries means lines with times.
        self._recvs = np.zeros(64, np.int64)

    @property
    def lines(self) -> int:
        """Lines or frames read so far."""
        return int(self._state[S_LINE])

    @property
    def off_lot(self) -> int:
        """Book sizes that were not whole lots, and were floored: orders from before the venue's lot grew."""
        return int(self._state[S_OFF_LOT])

    def read_lines(self, buffer: Buffer, stop: int) -> Iterator[Batch]:
        """The complete lines `<receive ns> <frame>` in `buffer[:stop]`, which ends with a newline.

        A batch lives in memory that the next one overwrites.
        """
        yield from self._read(buffer, stop, _NO_TIMES)

    def read_frames(self, frames: Sequence[bytes], recv: Sequence[int], owner: int = NOBODY) -> Batch:
        """Frames of a live connection and when each was received, ns. The batch owns its memory.

        `owner` is the instrument whose REST snapshot was asked for, where a frame is one that names no
        symbol.
        """
        if len(frames) != len(recv):
            raise ValueError(f"{len(frames)} frames with {len(recv)} receive times")
        if owner != NOBODY:
            self._state[S_OWNER] = owner
        stop = self._lay_out(frames, recv)
        self._state[S_LINE] = 0
        parts = [
            Batch(b.rows.copy(), b.messages.copy(), b.quarantined)
            for b in self._read(self._text, stop, self._recvs)
        ]
        if len(parts) == 1:
            return parts[0]
        rows = np.concatenate([b.rows for b in parts]) if parts else np.zeros((0, 8), np.int64)
        messages = (
            np.concatenate([b.messages for b in parts]) if parts else np.zeros((0, MESSAGE_WORDS), np.int64)
        )
        return Batch(rows, messages, [q for b in parts for q in b.quarantined])

    def read_live(self, frames: Sequence[bytes], recv: int) -> Batch:
        """The same of frames that were received together, in a batch that the next one overwrites."""
        state = self._state
        stop = self._lay_out(frames, recv)
        off_lot = state[S_OFF_LOT]
        state[S_LINE] = 0
        if scan(self._text, 0, stop, self._recvs, self._table, self._rows, self._messages, state) == DONE:
            return self._batch()
        state[S_LINE] = state[S_ROWS] = state[S_MESSAGES] = 0
        state[S_OFF_LOT] = off_lot
        return self.read_frames(frames, [recv] * len(frames))

    @property
    def sole(self) -> int:
        """The one instrument that frames have shown since the last snapshot; below 0 where there were several."""
        return int(self._state[S_OWNER])

    def _lay_out(self, frames: Sequence[bytes], recv: Sequence[int] | int) -> int:
        """Frames as lines into the buffer that is kept for them, their times beside it; where they stop."""
        if not frames:
            return 0
        text = b"\n".join(frames) + _END
        stop = len(text) - PADDING
        if text.count(b"\n") != len(frames):
            text = b"\n".join([frame.replace(b"\n", b" ") for frame in frames]) + _END
        if len(text) > len(self._text):
            self._text = np.zeros(2 * len(text), np.uint8)
        if len(frames) > len(self._recvs):
            self._recvs = np.zeros(2 * len(frames), np.int64)
        self._text[: len(text)] = np.frombuffer(text, np.uint8)
        self._recvs[: len(frames)] = recv
        return stop

    def cut_short(self, rest: bytes) -> Quarantined:
        """The refusal of a last line that has no end: the file stops in its middle."""
        self._state[S_LINE] += 1
        return Quarantined(
            self.lines, 0, Reason.CUT_SHORT, f"the file ends {len(rest)} bytes into the line", rest
        )

    def _read(self, buffer: Buffer, stop: int, recvs: Words) -> Iterator[Batch]:
        state, position = self._state, 0
        if len(buffer) < stop + PADDING:
            buffer = np.concatenate([buffer[:stop], np.zeros(PADDING, np.uint8)])
        while position < stop:
            code = scan(buffer, position, stop, recvs, self._table, self._rows, self._messages, state)
            position = int(state[S_POS])
            if code == ODD:
                position = self._odd_line(buffer, position, stop, recvs)
            if code == FULL and not state[S_MESSAGES]:
                self._rows = np.zeros((2 * len(self._rows), 8), np.int64)
            elif code == FULL or position >= stop:
                yield self._batch()

    def _batch(self) -> Batch:
        n, m = int(self._state[S_ROWS]), int(self._state[S_MESSAGES])
        self._state[S_ROWS] = self._state[S_MESSAGES] = 0
        refused, self._refused = self._refused, []
        return Batch(self._rows[:n], self._messages[:m], refused)

    def _odd_line(self, buffer: Buffer, position: int, stop: int, recvs: Words) -> int:
        """Read the line at `position` slowly; returns where the next one starts."""
        end = _line_end(buffer, position)
        raw = buffer[position:end].tobytes().rstrip(b"\r")
        state, line = self._state, int(self._state[S_LINE])
        recv = int(recvs[line]) if len(recvs) else 0
        try:
            if not len(recvs):
                recv, body = split_line(raw)
            else:
                body = raw
            owner = self._owner(buffer, end + 1, stop, recvs) if b'"lastUpdateId"' in body else NOBODY
            frame = read_frame(body, recv, self.directory, owner)
        except Refused as refusal:
            self._refused.append(Quarantined(line + 1, recv, refusal.reason, refusal.detail, raw))
        else:
            if frame.skipped:
                self.skipped[frame.skipped] += 1
            else:
                self._take(frame, line + 1, recv)
        state[S_LINE] += 1
        self.slow += 1
        return end + 1

    def _take(self, frame: Frame, line: int, recv: int) -> None:
        state = self._state
        n, m, count = int(state[S_ROWS]), int(state[S_MESSAGES]), len(frame.rows)
        if n + count > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros((count + len(self._rows), 8), np.int64)])
        if m == len(self._messages):
            self._messages = np.concatenate([self._messages, np.zeros_like(self._messages)])
        if count:
            self._rows[n : n + count] = frame.rows
        self._messages[m] = (
            line, frame.kind, frame.instrument, recv, frame.event, frame.traded, frame.first, frame.last,
            frame.prev, count,
        )  # fmt: skip
        state[S_ROWS], state[S_MESSAGES] = n + count, m + 1
        state[S_OFF_LOT] += frame.off_lot
        state[S_HINT] = frame.instrument
        if frame.kind != SNAPSHOT and state[S_OWNER] != frame.instrument:
            state[S_OWNER] = frame.instrument if state[S_OWNER] == NOBODY else SEVERAL

    def _owner(self, buffer: Buffer, position: int, stop: int, recvs: Words) -> int:
        """Whose a snapshot without a symbol is: the only instrument so far, else the only one just ahead."""
        owner = int(self._state[S_OWNER])
        if owner != NOBODY or len(recvs):
            return owner
        ahead: set[int] = set()
        for line in buffer[position:stop].tobytes().split(b"\n", _LOOK_AHEAD)[:_LOOK_AHEAD]:
            try:
                frame: Any = read_frame(split_line(line)[1], 0, self.directory, NOBODY)
            except Refused:
                continue
            if frame.kind:
                ahead.add(frame.instrument)
        return ahead.pop() if len(ahead) == 1 else (SEVERAL if ahead else NOBODY)
