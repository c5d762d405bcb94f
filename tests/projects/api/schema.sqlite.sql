CREATE TABLE note (id INTEGER PRIMARY KEY, body VARCHAR(200) UNIQUE, data JSON, day DATE);
INSERT INTO note (body, data, day) VALUES ('first', '{"a": 1}', '2024-01-02');
