"""``python -m metarec_sdk.cli``: the command line where the script ``metarec`` isn't on the path."""

from metarec_sdk.cli.app import main

main()
