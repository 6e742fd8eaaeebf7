"""Power exchanges: which certificates moved with which power to whom. See the README beside it."""
