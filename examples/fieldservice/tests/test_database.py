import pytest
from fieldservice.app import open_app
from fieldservice.errors import Conflict
from samples import customer


def test_schema_is_complete(app):
    assert app.health.missing_tables() == []


def test_lookup_tables_are_filled(app):
    assert app.health.is_seeded()


def test_priorities_answer_faster_when_urgent(db):
    hours = [row[0] for row in db.fetchall("SELECT response_hours FROM priorities ORDER BY sort_order")]
    assert hours == [4, 24, 72, 240]


def test_what_is_registered_is_committed(app, db):
    bakery = customer(app, name="Harbour Bakery")
    assert db.scalar("SELECT name FROM customers WHERE id = ?", (bakery.id,)) == "Harbour Bakery"


def test_failed_registration_leaves_nothing(app, db):
    customer(app, "C-100")
    with pytest.raises(Conflict):
        customer(app, "C-100")
    assert db.scalar("SELECT COUNT(*) FROM customers") == 1


def test_second_session_sees_the_first(app):
    bakery = customer(app)
    with open_app() as other:
        assert other.directory.customer(bakery.id) == bakery


def test_skill_can_be_added_by_hand(db):
    db.execute("INSERT INTO skills (name) VALUES (?)", ("gas",))
    assert db.scalar("SELECT COUNT(*) FROM skills WHERE name = :name", {"name": "gas"}) == 1
