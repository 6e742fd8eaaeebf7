"""A stand-in for the national green certificate issuing and trading system (国家绿证核发交易系统)."""

from soleclaim.sandbox.gec.app import create_app

__all__ = ["create_app"]
