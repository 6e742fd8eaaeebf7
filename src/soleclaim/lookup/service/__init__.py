"""What the lookup does, inside one transaction of its store. Nothing here knows the transport or the database."""
