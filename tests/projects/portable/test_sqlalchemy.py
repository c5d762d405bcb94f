"""SQLAlchemy, Core and ORM: the library knows both dialects, the application knows none."""

from __future__ import annotations

import datetime
import enum
import time
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy import orm


class Base(orm.DeclarativeBase):
    pass


class State(enum.Enum):
    open = "open"
    closed = "closed"


membership = sa.Table(
    "membership", Base.metadata, sa.Column("person_id", sa.ForeignKey("person.id"), primary_key=True),
    sa.Column("club_id", sa.ForeignKey("club.id"), primary_key=True),
)  # fmt: skip


class Person(Base):
    __tablename__ = "person"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    key: orm.Mapped[uuid.UUID] = orm.mapped_column(default=uuid.uuid4, unique=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(40))
    active: orm.Mapped[bool] = orm.mapped_column(default=True)
    born: orm.Mapped[datetime.date | None]
    created: orm.Mapped[datetime.datetime] = orm.mapped_column(server_default=sa.func.now())
    changed: orm.Mapped[datetime.datetime | None] = orm.mapped_column(
        onupdate=lambda: datetime.datetime.now()
    )
    settings: orm.Mapped[dict] = orm.mapped_column(sa.JSON, default=dict)
    photo: orm.Mapped[bytes | None]
    state: orm.Mapped[State] = orm.mapped_column(default=State.open)
    tasks: orm.Mapped[list[Task]] = orm.relationship(
        back_populates="owner", cascade="all, delete-orphan", order_by="Task.id"
    )
    clubs: orm.Mapped[list[Club]] = orm.relationship(
        secondary=membership, back_populates="people", order_by="Club.name"
    )


class Task(Base):
    __tablename__ = "task"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    owner_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("person.id"))
    title: orm.Mapped[str]
    cost: orm.Mapped[Decimal | None] = orm.mapped_column(sa.Numeric(10, 2, asdecimal=True))
    hours: orm.Mapped[float] = orm.mapped_column(default=0.0)
    length: orm.Mapped[datetime.timedelta | None] = orm.mapped_column(sa.Interval)
    owner: orm.Mapped[Person] = orm.relationship(back_populates="tasks")
    version: orm.Mapped[int] = orm.mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Club(Base):
    __tablename__ = "club"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    people: orm.Mapped[list[Person]] = orm.relationship(secondary=membership, back_populates="clubs")


pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does .not. support Decimal")


@pytest.fixture
def engine(db):
    engine = db.engine()
    if db.backend == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    Base.metadata.create_all(engine)
    return engine


@pytest.fixture
def people(engine):
    with orm.Session(engine) as session:
        for name, year in (("ada", 1815), ("grace", 1906), ("kay", 1920)):
            session.add(Person(name=name, born=datetime.date(year, 12, 10), tasks=[
                Task(title=f"{name} {n}", cost=Decimal(f"{n}.25"), hours=n / 4, length=datetime.timedelta(hours=n)) for n in range(1, 4)
            ]))  # fmt: skip
        session.commit()
    return engine


def test_session(people):
    with orm.Session(people) as session:
        ada = session.scalars(sa.select(Person).where(Person.name == "ada")).one()
        assert [task.title for task in ada.tasks] == ["ada 1", "ada 2", "ada 3"]
        ada.name, ada.settings, ada.photo = "ada l", {"theme": "dark", "n": [1, 2.5, None, True]}, b"\x00\xff"
        ada.tasks[0].hours += 1.5
        ada.tasks.pop()
        session.commit()
        assert ada.settings["theme"] == "dark"
        assert ada.changed is not None
        assert ada.tasks[0].version == 2
        session.delete(ada)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Task)) == 6


def test_values(people):
    with orm.Session(people) as session:
        session.execute(
            sa.select(Person.key, Person.active, Person.born, Person.created, Person.state).order_by(
                Person.id
            )
        ).all()
        session.execute(sa.select(Task.cost, Task.hours, Task.length).order_by(Task.id)).all()
        key = session.scalar(sa.select(Person.key).where(Person.name == "kay"))
        assert session.scalars(sa.select(Person).where(Person.key == key)).one().name == "kay"
        session.execute(
            sa.update(Person).where(Person.name == "kay").values(active=False, state=State.closed)
        )
        assert session.scalar(sa.select(sa.func.count(Person.id)).where(Person.active.is_(False))) == 1
        session.scalars(sa.select(Person.name).where(Person.state == State.closed)).all()
        session.scalars(
            sa.select(Person.name).where(Person.born > datetime.date(1900, 1, 1)).order_by(Person.name)
        ).all()
        session.commit()


def test_queries(people):
    with orm.Session(people) as session:
        for query in (
            sa.select(Person.name, sa.func.count(Task.id), sa.func.sum(Task.cost))
            .join(Task)
            .group_by(Person.name)
            .order_by(Person.name),
            sa.select(Person.name).where(Person.tasks.any(Task.hours > 0.5)).order_by(Person.name),
            sa.select(Person.name).where(~Person.tasks.any(Task.title.contains("ada"))).order_by(Person.name),
            sa.select(Task.title).where(Task.title.ilike("%A 1%")).order_by(Task.title),
            sa.select(Task.title)
            .where(Task.title.startswith("kay"), Task.cost.between(1, 3))
            .order_by(Task.title),
            sa.select(Person.name).where(Person.id.in_([1, 3])).order_by(Person.id.desc()),
            sa.select(Person.name).where(Person.id.not_in([])).order_by(Person.id),
            sa.select(
                Person.name, sa.case((Person.born < datetime.date(1900, 1, 1), "old"), else_="new")
            ).order_by(Person.id),
            sa.select(Person.name, sa.func.row_number().over(order_by=Person.name.desc())).order_by(
                Person.id
            ),
            sa.select(sa.func.coalesce(sa.func.max(Task.hours), 0)).where(Task.title == "none"),
            sa.select(Person.name).union(sa.select(Task.title)).order_by("name"),
            sa.select(Task.title).order_by(Task.owner_id, Task.id.desc()).limit(4).offset(2),
            sa.select(Person.name, Task.title)
            .outerjoin(Task, sa.and_(Task.owner_id == Person.id, Task.hours > 0.6))
            .order_by(Person.id, Task.id),
            sa.select(sa.func.count(sa.distinct(Task.hours))),
            sa.select(Person.name + "!", sa.func.length(Person.name), sa.func.upper(Person.name)).order_by(
                Person.id
            ),
            sa.select(sa.exists().where(Person.name == "grace")),
            sa.select(Person.photo, Person.changed, Person.settings).order_by(Person.id),
            sa.select(sa.extract("year", Person.born)).order_by(Person.id),
            sa.select(Person.name).order_by(Person.photo.nulls_last(), Person.name),
            sa.select(sa.cast(Task.hours, sa.Integer)).where(Task.hours == 0.25).limit(1).order_by(Task.id),
        ):
            session.execute(query).all()
        tree = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
        tree = tree.union_all(sa.select(tree.c.n + 1).where(tree.c.n < 5))
        assert session.scalars(sa.select(tree.c.n).order_by(tree.c.n)).all() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("option", [orm.joinedload, orm.selectinload, orm.subqueryload, orm.lazyload])
def test_loading(people, option):
    with orm.Session(people) as session:
        found = (
            session.scalars(sa.select(Person).options(option(Person.tasks)).order_by(Person.id))
            .unique()
            .all()
        )
        assert [[task.title[-1] for task in person.tasks] for person in found] == [["1", "2", "3"]] * 3


def test_many_to_many(people):
    with orm.Session(people) as session:
        ada, grace, _ = session.scalars(sa.select(Person).order_by(Person.id))
        chess, go = Club(name="chess", people=[ada, grace]), Club(name="go", people=[ada])
        session.add_all([chess, go])
        session.commit()
        assert [club.name for club in ada.clubs] == ["chess", "go"]
        ada.clubs.remove(go)
        session.commit()
        session.execute(
            sa.select(Club.name, sa.func.count(membership.c.person_id))
            .outerjoin(membership)
            .group_by(Club.name)
            .order_by(Club.name)
        ).all()


def test_refused_and_nested(people):
    with orm.Session(people) as session:
        session.add(Club(name="chess"))
        session.flush()
        for name in ("chess", "go", "go"):
            try:
                with session.begin_nested():
                    session.add(Club(name=name))
            except sa.exc.IntegrityError:
                pass
        session.commit()
        assert session.scalars(sa.select(Club.name).order_by(Club.name)).all() == ["chess", "go"]
        session.add(Task(owner_id=999, title="orphan"))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()
        session.rollback()
        session.add(Club(name="dance"))
        session.commit()
        session.execute(sa.select(Club.id, Club.name).order_by(Club.name)).all()


def test_rollback(people):
    with orm.Session(people) as session:
        session.add(Person(name="nobody"))
        session.flush()
        session.rollback()
        session.add(Person(name="alan"))
        session.commit()
        assert session.scalar(sa.select(sa.func.count(Person.id))) == 4


def test_core(engine):
    club = Club.__table__
    with engine.begin() as connection:
        connection.execute(sa.insert(club), [{"name": name} for name in ("b", "a", "c")])
        connection.execute(sa.insert(club).values(name="d"))
        assert connection.execute(sa.update(club).where(club.c.name == "a").values(name="aa")).rowcount == 1
        assert connection.execute(sa.delete(club).where(club.c.name > "b")).rowcount == 2
        connection.execute(sa.select(club)).mappings().all()
    with engine.connect() as connection:
        assert connection.scalars(sa.select(club.c.name).order_by(club.c.name)).all() == ["aa", "b"]
        assert connection.execute(sa.insert(club).values(name="e").returning(club.c.id)).scalar_one() > 0
        connection.rollback()
        connection.execute(sa.text("SELECT name FROM club WHERE name = :name"), {"name": "b"}).all()
        connection.execute(
            sa.text("SELECT count(*) FROM club WHERE name IN (:a, :b)"), {"a": "b", "b": "x"}
        ).scalar()
        result = connection.execute(sa.select(club.c.name).order_by(club.c.id).execution_options(yield_per=1))
        assert [row.name for row in result.partitions().__next__()] == ["b"]


def test_bulk(people):
    with orm.Session(people) as session:
        session.add_all([Task(owner_id=1, title=f"bulk {n:04}", hours=n) for n in range(1500)])
        session.commit()
        assert session.scalar(sa.select(sa.func.count(Task.id)).where(Task.title.like("bulk %"))) == 1500
        session.execute(sa.delete(Task).where(Task.hours >= 10))
        session.commit()
        session.execute(sa.select(Task.title).where(Task.title.like("bulk%")).order_by(Task.title)).all()


def test_reflection(engine):
    found = sa.inspect(engine)
    assert {"person", "task", "club", "membership"} <= set(found.get_table_names())
    assert [column["name"] for column in found.get_columns("club")] == ["id", "name"]


def test_schema_again(engine):
    Base.metadata.create_all(engine)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(Person(name="ada"))
        session.commit()


class Micros(sa.types.TypeDecorator):
    """A moment or an interval: the database's own type, or microseconds where it has none."""

    impl = sa.BigInteger
    cache_ok = True
    zero = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

    def __init__(self, native):
        super().__init__()
        self.native, self.moment = native, isinstance(native, sa.DateTime)

    def load_dialect_impl(self, dialect):
        return dialect.type_descriptor(self.native if dialect.name == "postgresql" else sa.BigInteger())

    def process_bind_param(self, value, dialect):
        if dialect.name == "postgresql":
            return value
        return (value - self.zero if self.moment else value) // datetime.timedelta(microseconds=1)

    def process_result_value(self, value, dialect):
        if dialect.name == "postgresql":
            return value
        length = datetime.timedelta(microseconds=value)
        return self.zero + length if self.moment else length


class Lease(Base):
    __tablename__ = "lease"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    length: orm.Mapped[datetime.timedelta] = orm.mapped_column(Micros(sa.Interval()))
    until: orm.Mapped[datetime.datetime] = orm.mapped_column(Micros(sa.DateTime(timezone=True)), index=True)
    state: orm.Mapped[State] = orm.mapped_column(default=State.open)


def test_types_of_the_application_by_a_clock_that_was_set(engine):
    began = time.monotonic()
    start = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    time.sleep(0.02 if engine.name == "sqlite" else 0.05)
    now = start + datetime.timedelta(seconds=time.monotonic() - began)
    length = datetime.timedelta(seconds=30)
    with orm.Session(engine) as session:
        session.add_all(Lease(length=length, until=now + n * length) for n in range(3))
        session.commit()
        late = sa.select(Lease.id).where(Lease.until > now).order_by(Lease.until).limit(1).with_for_update()
        changed = sa.update(Lease).where(Lease.id.in_(late)).values(until=now + 9 * length)
        found = session.execute(changed.returning(Lease.length, Lease.until, Lease.state)).all()
        assert found == [(length, now + 9 * length, State.open)]
        session.commit()
        assert session.scalars(sa.select(Lease.until).order_by(Lease.id)).all()[0] == now
