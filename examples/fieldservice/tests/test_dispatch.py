from datetime import date, timedelta
from decimal import Decimal

import pytest
from fieldservice.errors import Conflict, InvalidTransition
from samples import MONDAY, at, customer, order, technician


def test_open_numbers_work_orders(app):
    bakery = customer(app)
    assert app.dispatch.open(bakery.id, "Oven does not heat").number == "WO-00001"
    assert app.dispatch.open(bakery.id, "Mixer is loud").number == "WO-00002"


def test_orders_of_a_customer_newest_first(app):
    bakery, inn = customer(app, "C-100"), customer(app, "C-200")
    app.dispatch.open(bakery.id, "Oven does not heat")
    app.dispatch.open(inn.id, "Ice machine leaks")
    app.dispatch.open(bakery.id, "Mixer is loud")
    titles = [work.title for work in app.dispatch.orders_of(bakery.id)]
    assert titles == ["Mixer is loud", "Oven does not heat"]


def test_plan_sets_the_day(app):
    assert app.dispatch.plan(order(app).id, MONDAY).due_on == MONDAY


def test_work_without_a_date_is_planned_first(app):
    bakery = customer(app)
    app.dispatch.open(bakery.id, "Yearly service", due_on=MONDAY)
    call = app.dispatch.open(bakery.id, "Oven does not heat")
    assert app.dispatch.backlog()[0] == call


def test_backlog_has_only_new_work(app):
    bakery = customer(app)
    call = app.dispatch.open(bakery.id, "Oven does not heat")
    service = app.dispatch.open(bakery.id, "Yearly service", due_on=MONDAY)
    gone = app.dispatch.open(bakery.id, "Wrong number", due_on=MONDAY)
    app.dispatch.move_to(gone.id, "cancelled")
    assert {work.id for work in app.dispatch.backlog()} == {call.id, service.id}


def test_most_urgent_first(app):
    bakery = customer(app)
    for title, priority in (("a", "low"), ("b", "urgent"), ("c", "normal"), ("d", "urgent")):
        app.dispatch.open(bakery.id, title, priority)
    assert [work.title for work in app.dispatch.by_urgency()] == ["b", "d", "c", "a"]


def test_two_people_fit_a_day_of_work_in_a_shift(app):
    bakery = customer(app)
    lift = app.dispatch.open(bakery.id, "Replace the lift", hours=Decimal(7), crew=2)
    roof = app.dispatch.open(bakery.id, "Replace the roof unit", hours=Decimal(24), crew=3)
    assert app.dispatch.fits_in_shift(lift.id)
    assert not app.dispatch.fits_in_shift(roof.id)


def test_history_holds_every_change(app):
    work = order(app)
    for status in ("scheduled", "in_progress", "done"):
        app.dispatch.move_to(work.id, status)
    events = app.dispatch.history(work.id)
    assert [event.to_status for event in events] == ["new", "scheduled", "in_progress", "done"]
    assert [event.from_status for event in events] == [None, "new", "scheduled", "in_progress"]
    assert events[0].occurred_at <= events[-1].occurred_at


@pytest.mark.parametrize("status", ["in_progress", "done"])
def test_new_work_can_not_skip_steps(app, status):
    work = order(app)
    with pytest.raises(InvalidTransition):
        app.dispatch.move_to(work.id, status)
    assert app.dispatch.order(work.id).status == "new"
    assert len(app.dispatch.history(work.id)) == 1


def test_schedule_takes_work_out_of_the_backlog(app):
    work, ada = order(app), technician(app)
    visit = app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    assert (visit.starts_at, visit.ends_at) == (at(9), at(11))
    assert app.dispatch.order(work.id).status == "scheduled"
    assert app.dispatch.backlog() == []


@pytest.mark.parametrize(("start", "end"), [(8, 10), (10, 12)])
def test_nobody_is_in_two_places(app, start, end):
    work, ada = order(app), technician(app)
    app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    with pytest.raises(Conflict):
        app.dispatch.schedule(work.id, ada.id, at(start), at(end))


def test_visits_may_touch(app):
    work, ada = order(app), technician(app)
    app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    app.dispatch.schedule(work.id, ada.id, at(11), at(12))
    assert app.dispatch.is_free(ada.id, at(8), at(9))
    assert not app.dispatch.is_free(ada.id, at(11, 30), at(13))


def test_reschedule_within_the_same_time(app):
    work, ada = order(app), technician(app)
    visit = app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    moved = app.dispatch.reschedule(visit.id, at(10), at(12))
    assert (moved.id, moved.starts_at) == (visit.id, at(10))
    assert app.dispatch.is_free(ada.id, at(9), at(10))


def test_reschedule_onto_another_visit(app):
    work, ada = order(app), technician(app)
    app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    later = app.dispatch.schedule(work.id, ada.id, at(13), at(14))
    with pytest.raises(Conflict):
        app.dispatch.reschedule(later.id, at(10), at(12))


def test_cancelled_visits_free_the_time(app):
    work, ada = order(app), technician(app)
    visit = app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    assert app.dispatch.cancel_appointment(visit.id) is True
    assert app.dispatch.cancel_appointment(visit.id) is False
    assert app.dispatch.is_free(ada.id, at(9), at(11))


def test_day_plan(app):
    work, ada, ben = order(app), technician(app, "Ada"), technician(app, "Ben")
    tuesday = MONDAY + timedelta(days=1)
    app.dispatch.schedule(work.id, ada.id, at(13), at(14))
    app.dispatch.schedule(work.id, ben.id, at(8), at(10))
    app.dispatch.schedule(work.id, ben.id, at(8, day=tuesday), at(9, day=tuesday))
    assert [visit.technician_id for visit in app.dispatch.day_plan(MONDAY)] == [ben.id, ada.id]


def test_hire(app):
    ada = technician(app, "Ada")
    assert (ada.email, ada.is_active, ada.hired_on) == ("ada@example.com", True, date(2020, 1, 15))


def test_roster_leaves_out_who_is_away(app):
    team = app.dispatch.add_team("Harbour", "north")
    app.dispatch.hire(team, "Ada", "ada@example.com", date(2021, 4, 1))
    ben = app.dispatch.hire(team, "Ben", "ben@example.com", date(2019, 4, 1))
    app.dispatch.hire(team, "Cleo", "cleo@example.com", date(2018, 4, 1))
    app.dispatch.set_active(ben.id, False)
    assert [person.name for person in app.dispatch.roster(team)] == ["Cleo", "Ada"]


def test_qualified_best_first(app):
    ada, ben, cleo = (technician(app, name) for name in ("Ada", "Ben", "Cleo"))
    for person, level in ((ada, 2), (ben, 5), (cleo, 1)):
        app.dispatch.grant_skill(person.id, "refrigeration", level)
    assert app.dispatch.qualified("refrigeration", 2) == [ben, ada]


def test_who_is_away_is_not_qualified(app):
    ada = technician(app, "Ada")
    app.dispatch.grant_skill(ada.id, "gas", 3)
    app.dispatch.set_active(ada.id, False)
    assert app.dispatch.qualified("gas") == []


def test_skill_granted_again_changes_its_level(app):
    ada = technician(app)
    app.dispatch.grant_skill(ada.id, "gas", 1)
    app.dispatch.grant_skill(ada.id, "electric", 2)
    app.dispatch.grant_skill(ada.id, "gas", 4)
    assert app.dispatch.skills(ada.id) == [{"name": "electric", "level": 2}, {"name": "gas", "level": 4}]


def test_skill_levels_end_at_five(app):
    ada = technician(app)
    with pytest.raises(Conflict):
        app.dispatch.grant_skill(ada.id, "gas", 6)
    assert app.dispatch.skills(ada.id) == []
