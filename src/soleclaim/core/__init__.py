"""Pure building blocks shared by every part; standard library only."""
