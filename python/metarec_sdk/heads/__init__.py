"""User heads: closed forms that turn the events of a history into the vector that ranks its items."""
