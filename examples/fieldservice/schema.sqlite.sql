-- Field service: schema for SQLite.

CREATE TABLE regions (
    code TEXT PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    region_code TEXT NOT NULL REFERENCES regions (code),
    email TEXT,
    is_archived BOOLEAN NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE contacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    phone TEXT
);

CREATE TABLE sites (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    name TEXT NOT NULL,
    street TEXT NOT NULL,
    city TEXT NOT NULL
);

CREATE TABLE assets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    installed_on DATE NOT NULL,
    service_interval_days INTEGER NOT NULL DEFAULT 365,
    attributes TEXT NOT NULL
);

CREATE TABLE teams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    region_code TEXT NOT NULL REFERENCES regions (code)
);

CREATE TABLE technicians (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    team_id INTEGER NOT NULL REFERENCES teams (id),
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    is_active BOOLEAN NOT NULL DEFAULT 1,
    hired_on DATE NOT NULL
);

CREATE TABLE skills (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL
);

CREATE TABLE technician_skills (
    technician_id INTEGER NOT NULL REFERENCES technicians (id) ON DELETE CASCADE,
    skill_id INTEGER NOT NULL REFERENCES skills (id),
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5),
    PRIMARY KEY (technician_id, skill_id)
);

CREATE TABLE priorities (
    code TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    sort_order INTEGER NOT NULL,
    response_hours INTEGER NOT NULL
);

CREATE TABLE work_orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    site_id INTEGER REFERENCES sites (id),
    priority_code TEXT NOT NULL REFERENCES priorities (code),
    status TEXT NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'scheduled', 'in_progress', 'done', 'invoiced', 'cancelled')),
    title TEXT NOT NULL,
    estimated_hours NUMERIC(6, 2) NOT NULL DEFAULT 1,
    crew_size INTEGER NOT NULL DEFAULT 1 CHECK (crew_size > 0),
    due_on DATE,
    created_at TIMESTAMP NOT NULL,
    closed_at TIMESTAMP
);

CREATE TABLE work_order_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id) ON DELETE CASCADE,
    from_status TEXT,
    to_status TEXT NOT NULL,
    occurred_at TIMESTAMP NOT NULL
);

CREATE TABLE work_order_notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id) ON DELETE CASCADE,
    author TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL
);

CREATE TABLE work_order_tags (
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id) ON DELETE CASCADE,
    tag_id INTEGER NOT NULL REFERENCES tags (id),
    PRIMARY KEY (work_order_id, tag_id)
);

CREATE TABLE checklist_items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id) ON DELETE CASCADE,
    line_number INTEGER NOT NULL,
    label TEXT NOT NULL,
    is_done BOOLEAN NOT NULL DEFAULT 0
);

CREATE TABLE appointments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id) ON DELETE CASCADE,
    technician_id INTEGER NOT NULL REFERENCES technicians (id),
    starts_at TIMESTAMP NOT NULL,
    ends_at TIMESTAMP NOT NULL,
    CHECK (ends_at > starts_at)
);

CREATE TABLE time_entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id),
    technician_id INTEGER NOT NULL REFERENCES technicians (id),
    started_at TEXT NOT NULL,
    minutes INTEGER NOT NULL CHECK (minutes > 0),
    is_billable BOOLEAN NOT NULL DEFAULT 1
);

CREATE TABLE parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sku TEXT NOT NULL,
    name TEXT NOT NULL,
    unit_cost NUMERIC(10, 2) NOT NULL DEFAULT 0,
    price_cents INTEGER NOT NULL,
    reorder_point INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE warehouses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    code TEXT NOT NULL,
    name TEXT NOT NULL
);

CREATE TABLE stock_levels (
    warehouse_id INTEGER NOT NULL REFERENCES warehouses (id),
    part_id INTEGER NOT NULL REFERENCES parts (id),
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (warehouse_id, part_id)
);

CREATE TABLE part_usages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id),
    part_id INTEGER NOT NULL REFERENCES parts (id),
    warehouse_id INTEGER NOT NULL REFERENCES warehouses (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    used_on DATE NOT NULL
);

CREATE TABLE invoices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    work_order_id INTEGER NOT NULL REFERENCES work_orders (id),
    status TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'sent', 'paid', 'void')),
    issued_on DATE NOT NULL,
    due_on DATE NOT NULL,
    total_cents INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE invoice_lines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    invoice_id INTEGER NOT NULL REFERENCES invoices (id) ON DELETE CASCADE,
    line_number INTEGER NOT NULL,
    description TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_price_cents INTEGER NOT NULL
);

CREATE TABLE payments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    invoice_id INTEGER NOT NULL REFERENCES invoices (id),
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    received_on DATE NOT NULL,
    reference TEXT NOT NULL
);

CREATE TABLE notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    is_sent BOOLEAN NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX customers_number_key ON customers (number);
CREATE INDEX customers_name_idx ON customers (name);
CREATE INDEX customers_region_code_idx ON customers (region_code);
CREATE UNIQUE INDEX contacts_customer_id_email_key ON contacts (customer_id, email);
CREATE INDEX contacts_email_idx ON contacts (email);
CREATE INDEX sites_customer_id_idx ON sites (customer_id);
CREATE INDEX sites_city_idx ON sites (city);
CREATE INDEX assets_site_id_idx ON assets (site_id);
CREATE UNIQUE INDEX assets_serial_number_key ON assets (serial_number);
CREATE INDEX assets_kind_idx ON assets (kind);
CREATE UNIQUE INDEX teams_name_key ON teams (name);
CREATE INDEX teams_region_code_idx ON teams (region_code);
CREATE INDEX technicians_team_id_idx ON technicians (team_id);
CREATE UNIQUE INDEX technicians_email_key ON technicians (email);
CREATE UNIQUE INDEX skills_name_key ON skills (name);
CREATE INDEX technician_skills_skill_id_idx ON technician_skills (skill_id);
CREATE UNIQUE INDEX priorities_sort_order_key ON priorities (sort_order);
CREATE UNIQUE INDEX work_orders_number_key ON work_orders (number);
CREATE INDEX work_orders_customer_id_idx ON work_orders (customer_id);
CREATE INDEX work_orders_site_id_idx ON work_orders (site_id);
CREATE INDEX work_orders_status_due_on_idx ON work_orders (status, due_on);
CREATE INDEX work_orders_priority_code_idx ON work_orders (priority_code);
CREATE INDEX work_order_events_work_order_id_idx ON work_order_events (work_order_id);
CREATE INDEX work_order_notes_work_order_id_idx ON work_order_notes (work_order_id);
CREATE UNIQUE INDEX tags_name_key ON tags (name);
CREATE INDEX work_order_tags_tag_id_idx ON work_order_tags (tag_id);
CREATE UNIQUE INDEX checklist_items_work_order_id_line_number_key ON checklist_items (work_order_id, line_number);
CREATE INDEX appointments_work_order_id_idx ON appointments (work_order_id);
CREATE INDEX appointments_technician_id_starts_at_idx ON appointments (technician_id, starts_at);
CREATE INDEX time_entries_work_order_id_idx ON time_entries (work_order_id);
CREATE INDEX time_entries_technician_id_started_at_idx ON time_entries (technician_id, started_at);
CREATE UNIQUE INDEX parts_sku_key ON parts (sku);
CREATE UNIQUE INDEX warehouses_code_key ON warehouses (code);
CREATE INDEX stock_levels_part_id_idx ON stock_levels (part_id);
CREATE INDEX part_usages_work_order_id_idx ON part_usages (work_order_id);
CREATE INDEX part_usages_part_id_idx ON part_usages (part_id);
CREATE UNIQUE INDEX invoices_number_key ON invoices (number);
CREATE INDEX invoices_customer_id_idx ON invoices (customer_id);
CREATE INDEX invoices_status_due_on_idx ON invoices (status, due_on);
CREATE UNIQUE INDEX invoice_lines_invoice_id_line_number_key ON invoice_lines (invoice_id, line_number);
CREATE UNIQUE INDEX payments_invoice_id_reference_key ON payments (invoice_id, reference);

INSERT INTO regions (code, name) VALUES
    ('north', 'North'),
    ('south', 'South'),
    ('west', 'West');

INSERT INTO priorities (code, label, sort_order, response_hours) VALUES
    ('urgent', 'Urgent', 1, 4),
    ('high', 'High', 2, 24),
    ('normal', 'Normal', 3, 72),
    ('low', 'Low', 4, 240);
