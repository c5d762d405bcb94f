"""What the application does; each public method that changes something is one transaction."""
