-- The first statement is fine.
CREATE TABLE users (id INTEGER PRIMARY KEY);

-- A comma too many.
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,,
    user_id INTEGER
);
INSERT INTO nobody VALUES (1);
CREATE INDEX users_id ON users (id);
