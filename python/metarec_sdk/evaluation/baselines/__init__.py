"""The baselines that every report is held against, one file each."""
