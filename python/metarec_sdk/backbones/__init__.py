"""Backbones: what turns a history into a vector that ranks items by inner product."""
