CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, score INTEGER);
INSERT INTO item VALUES (1, 'Ada', 1), (2, 'alan', 2), (3, 'Grace', 3);
