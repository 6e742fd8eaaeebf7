"""The lookup's services on the wire: parse, call the service inside one unit of work, encode."""
