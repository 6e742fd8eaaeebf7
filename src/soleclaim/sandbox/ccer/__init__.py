"""A stand-in for the CCER registration system (全国温室气体自愿减排注册登记系统)."""

from soleclaim.sandbox.ccer.app import create_app

__all__ = ["create_app"]
