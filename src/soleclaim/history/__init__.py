"""What registries published before they took part: readers of their files, and taking the rows over by the lookup."""
