"""Groups of commands that `cli` puts together, and the options they share."""
