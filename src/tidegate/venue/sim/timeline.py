"""How the server's time runs over a capture's: an offset, a speed that may change, or standing still."""

from __future__ import annotations

from fractions import Fraction

from tidegate.venue.sim.background import NEVER


class Timeline:
    """Capture time as a function of the server's: `capture = c + (now − w) × speed`, in ns.

    It stands at `first` until started. A change of speed begins where the capture then is, so neither time ever
    jumps.
    """

    def __init__(self, first: int, speed: str | int | float | Fraction = 1) -> None:
        self._capture = first
        self._wall = 0
        self.started = False
        self._speed = self._checked(speed)

    @staticmethod
    def _checked(speed: str | int | float | Fraction) -> Fraction:
        made = Fraction(str(speed)) if isinstance(speed, float) else Fraction(speed)
        if made <= 0:
            raise ValueError(f"the speed of a capture is {speed}, must be above 0")
        return made.limit_denominator(1_000_000)

    @property
    def speed(self) -> Fraction:
        """How fast the capture runs: 2 is twice as fast as it was recorded."""
        return self._speed

    def start(self, now: int) -> None:
        """The capture begins to run at `now`; again does nothing."""
        if not self.started:
            self._wall, self.started = now, True

    def set_speed(self, speed: str | int | float | Fraction, now: int) -> None:
        """Run at this speed from `now` on."""
        made = self._checked(speed)
        if self.started:
            self._capture, self._wall = self.capture(now), now
        self._speed = made

    def capture(self, now: int) -> int:
        """Where in the capture the server's time `now` is."""
        if not self.started:
            return self._capture
        passed = now - self._wall
        speed = self._speed
        if speed.denominator == 1:
            return self._capture + passed * speed.numerator
        return self._capture + passed * speed.numerator // speed.denominator

    def wall(self, capture: int) -> int:
        """When the server gets to a capture time, or was there; the first instant at or after it."""
        if not self.started:
            return NEVER
        if capture >= NEVER:
            return NEVER
        speed = self._speed
        return self._wall - (self._capture - capture) * speed.denominator // speed.numerator
