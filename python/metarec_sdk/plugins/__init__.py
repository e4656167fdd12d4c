"""Plugins: hooks to implement, and the manager that loads them and builds components by name.

``hookimpl`` marks an implementation; `hookspecs` lists the hooks; a distribution names its plugin in the
entry-point group ``metarec_sdk.v1``.
"""

from metarec_sdk.plugins.hookspecs import Factory, Register
from metarec_sdk.plugins.kinds import KINDS, Kind
from metarec_sdk.plugins.manager import PluginManager
from metarec_sdk.plugins.markers import hookimpl
from metarec_sdk.plugins.records import ComponentRecord, PluginRecord, Status
from metarec_sdk.plugins.request import RankRequest

__all__ = [
    "KINDS",
    "ComponentRecord",
    "Factory",
    "Kind",
    "PluginManager",
    "PluginRecord",
    "RankRequest",
    "Register",
    "Status",
    "hookimpl",
]
