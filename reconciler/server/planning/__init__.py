"""Plans of a space as commands, the controller and CI ask for them."""
