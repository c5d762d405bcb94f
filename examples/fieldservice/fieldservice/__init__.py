"""Field service: customers and their sites, work orders, technicians, parts and invoices."""
