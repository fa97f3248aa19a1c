"""The gateway: one account at one venue, between the lanes and the exchange. `docs/recovery.md`."""

from tidegate.venue.gateway.service import GatewayService
from tidegate.venue.gateway.settings import GatewaySettings

__all__ = ["GatewayService", "GatewaySettings"]
