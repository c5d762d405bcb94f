import os


def connect(variable):
    url = os.environ[variable]
    if url.startswith("sqlite"):
        import sqlite3

        return sqlite3.connect(url.removeprefix("sqlite:///"))
    import psycopg2

    return psycopg2.connect(url)


def run(variable, sql):
    connection = connect(variable)
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall() if cursor.description else []
    connection.commit()
    connection.close()
    return rows


class Application:
    def __init__(self):
        self.connection = connect("APP_URL")

    def run(self, sql):
        cursor = self.connection.cursor()
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        self.connection.commit()
        return rows
