"""The command line: one file per command, thin over the public API.

Exit codes: 0 done; 1 a benchmark failed, or a defect; 2 the arguments or the data; 3 an artefact or the
storage; 4 a plugin or a missing dependency; 130 interrupted. ``METAREC_DEBUG=1`` shows the traceback of what
is otherwise one paragraph.
"""

from metarec_sdk.cli.app import app, main

__all__ = ["app", "main"]
