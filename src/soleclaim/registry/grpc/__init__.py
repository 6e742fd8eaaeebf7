"""The registry side on the wire: its own service, and its calls to the lookup and to other registries."""
