import psycopg2

connect = psycopg2.connect


def run(connection, sql, params):
    cursor = connection.cursor()
    cursor.execute(sql, params)
    return cursor


def add(connection, price, code):
    run(connection, "INSERT INTO item (price, code) VALUES (%s, %s) RETURNING id", (price, code))
    connection.commit()


def price(connection, code):
    return run(connection, "SELECT price FROM item WHERE code = %s", (code,)).fetchone()[0]


def search(connection, pattern):
    return run(connection, "SELECT code FROM item WHERE code LIKE %s ORDER BY id", (pattern,)).fetchall()
