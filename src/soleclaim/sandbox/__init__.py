"""Stand-ins for native registry systems: separate programs that know nothing of the gateway."""
