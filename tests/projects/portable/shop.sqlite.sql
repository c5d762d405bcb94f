CREATE TABLE department (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, parent_id INTEGER REFERENCES department (id)
);
CREATE TABLE employee (
    id INTEGER PRIMARY KEY AUTOINCREMENT, department_id INTEGER REFERENCES department (id) ON DELETE SET NULL,
    name TEXT NOT NULL, email TEXT UNIQUE, salary INTEGER NOT NULL CHECK (salary >= 0), hired TEXT, active INTEGER NOT NULL DEFAULT 1,
    rating DOUBLE PRECISION, note TEXT, UNIQUE (department_id, name)
);
CREATE TABLE product (
    sku TEXT PRIMARY KEY, title TEXT NOT NULL, price INTEGER NOT NULL, stock INTEGER NOT NULL DEFAULT 0,
    worth INTEGER GENERATED ALWAYS AS (price * stock) STORED, CHECK (stock >= 0)
);
CREATE TABLE purchase (
    id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT UNIQUE NOT NULL, buyer TEXT NOT NULL, placed TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'new'
);
CREATE TABLE line (
    purchase_id INTEGER NOT NULL REFERENCES purchase (id) ON DELETE CASCADE, sku TEXT NOT NULL REFERENCES product (sku),
    quantity INTEGER NOT NULL CHECK (quantity > 0), PRIMARY KEY (purchase_id, sku)
);
CREATE TABLE login (
    token TEXT PRIMARY KEY, owner TEXT NOT NULL, salt BLOB, secret TEXT, started TIMESTAMP DEFAULT CURRENT_TIMESTAMP, expires TEXT,
    seconds DOUBLE PRECISION
);
CREATE TABLE event (id TEXT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT, etag TEXT, at TEXT, elapsed INTEGER);
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TRIGGER login_written AFTER INSERT ON login BEGIN
    INSERT INTO audit (what) VALUES ('login ' || NEW.owner || ' ' || NEW.token);
END;
CREATE TRIGGER stock_moved AFTER UPDATE OF stock ON product BEGIN
    INSERT INTO audit (what) VALUES (NEW.sku || ': ' || OLD.stock || ' to ' || NEW.stock);
END;
CREATE INDEX employee_department ON employee (department_id);
CREATE INDEX line_sku ON line (sku);
CREATE VIEW payroll AS
    SELECT d.name AS department, count(e.id) AS people, coalesce(sum(e.salary), 0) AS total
    FROM department d LEFT JOIN employee e ON e.department_id = d.id GROUP BY d.id, d.name;
INSERT INTO department (id, name, parent_id) VALUES (1, 'company', NULL), (2, 'research', 1), (3, 'sales', 1), (4, 'lab', 2), (5, 'empty', 1);
INSERT INTO employee (department_id, name, email, salary, hired, active, rating, note) VALUES
    (2, 'ada', 'ada@example.com', 900, '2019-01-31', 1, 4.5, 'first'), (2, 'grace', 'grace@example.com', 800, '2020-02-29', 1, 4.25, NULL),
    (3, 'kay', 'kay@example.com', 700, '2021-12-31', 0, NULL, 'left'), (4, 'edith', NULL, 800, NULL, 1, 3.75, ''),
    (NULL, 'alan', 'alan@example.com', 500, '2022-06-15', 1, 2.5, 'no team');
INSERT INTO product (sku, title, price, stock) VALUES
    ('a1', 'pencil', 5, 100), ('a2', 'paper', 20, 40), ('b1', 'lamp', 1500, 3), ('b2', 'desk', 9900, 0), ('c1', 'ink', 250, 12);
