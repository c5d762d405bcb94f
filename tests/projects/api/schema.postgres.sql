CREATE TABLE note (id SERIAL PRIMARY KEY, body VARCHAR(200) UNIQUE, data JSONB, day DATE);
INSERT INTO note (body, data, day) VALUES ('first', '{"a": 1}', '2024-01-02');
