"""SQL of the application, one module per area; no repository commits."""
