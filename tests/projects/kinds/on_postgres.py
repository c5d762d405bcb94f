"""Access to the data as one application has it for PostgreSQL, beside a module for SQLite."""

import psycopg2


def find(connection, text):
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM person WHERE name LIKE %s ORDER BY name", (text,))
        return cursor.fetchall()


def add(connection, number, name):
    return _written(connection, "INSERT INTO person (id, name) VALUES (%s, %s)", (number, name))


def _written(connection, sql, values):
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
    except psycopg2.IntegrityError:
        return False
    return True
