"""What every store needs of a database: engines with limits, migrations, errors that mean "busy"."""
