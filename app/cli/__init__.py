"""What the `tandem` command does, one module per subcommand."""
