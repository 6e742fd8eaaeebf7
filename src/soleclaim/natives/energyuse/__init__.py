"""Energy-use exchanges: indicators from savings, and who is inside the market. See the README beside it."""
