"""An application of SQLAlchemy's asyncio extension."""

import os

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(AsyncAttrs, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[list["Note"]] = relationship(order_by="Note.id")


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str]


def open_engine():
    return create_async_engine(os.environ["DATABASE_URL"])


async def add(engine, name):
    async with async_sessionmaker(engine).begin() as session:
        session.add(User(name=name, notes=[Note(body="hello"), Note(body="again")]))


async def find(engine, pattern):
    async with async_sessionmaker(engine)() as session:
        users = await session.scalars(select(User).where(User.name.like(pattern)).order_by(User.id))
        return [(user.name, [note.body for note in await user.awaitable_attrs.notes]) for user in users]


def count(session):
    return session.scalar(select(func.count()).select_from(User))


async def counted(engine):
    async with async_sessionmaker(engine)() as session:
        return await session.run_sync(count)
