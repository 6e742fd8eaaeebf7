"""Local credits, each under an authority and an area of its own. See the README beside it."""
