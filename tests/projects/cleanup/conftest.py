"""Fixtures as suites of one database have them: they make tables and clean up after each test."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("author.id", ondelete="CASCADE"))
    price: Mapped[float] = mapped_column(sa.Numeric(8, 2))


@pytest.fixture
def session(db):
    made = db.engine()
    Base.metadata.create_all(made)
    with Session(made) as session:
        yield session
    Base.metadata.drop_all(made)
    made.dispose()


@pytest.fixture
def connection(db):
    connection = db.connect()
    yield connection
    connection.rollback()
    cursor = connection.cursor()
    cursor.execute("DELETE FROM note")
    connection.commit()
    connection.close()


@pytest.fixture
def logged(db):
    yield db
    db.execute("DELETE FROM log")
    db.connection.commit()


@pytest.fixture
def undone(db):
    made = db.engine()
    outer = made.connect()
    transaction = outer.begin()
    with Session(outer) as session:
        yield session
    transaction.rollback()
    outer.close()
    made.dispose()


@pytest.fixture
def unsaved(db):
    connection = db.connect()
    yield connection
    connection.rollback()
    connection.close()
