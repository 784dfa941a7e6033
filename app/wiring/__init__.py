"""The only constructor of adapters, from settings to components."""
