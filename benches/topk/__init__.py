"""The parts of ``benches/topk.py``: what is measured, with whom, how it is timed, kept and shown.

Nothing here imports a peer at the top: thread counts have to be in the environment first.
"""
