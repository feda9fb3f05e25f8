"""What is wrong with a menu as a text file, whatever its dialect."""
