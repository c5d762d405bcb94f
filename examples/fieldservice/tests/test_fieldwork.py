import pytest
from fieldservice.errors import Conflict
from samples import MONDAY, at, order, stocked_part, technician


def test_notes_keep_their_order(app):
    work = order(app)
    app.fieldwork.add_note(work.id, "Ada", " Burner is worn. ")
    app.fieldwork.add_note(work.id, "Ben", "Burner is replaced.")
    assert [note.body for note in app.fieldwork.notes(work.id)] == ["Burner is worn.", "Burner is replaced."]


def test_note_can_be_read_by_its_id(app):
    note_id = app.fieldwork.add_note(order(app).id, "Ada", "Burner is worn.")
    assert app.fieldwork.note(note_id).author == "Ada"


def test_tags_are_sorted(app):
    assert app.fieldwork.tag(order(app).id, "Warranty", "gas") == ["gas", "warranty"]


def test_tagged_twice(app):
    work = order(app)
    app.fieldwork.tag(work.id, "gas")
    assert app.fieldwork.tag(work.id, "GAS", "warranty") == ["gas", "warranty"]


def test_checklist_starts_open(app):
    work = order(app)
    app.fieldwork.set_checklist(work.id, ["Close the valve", "Replace the burner"])
    assert app.fieldwork.checklist(work.id) == [
        {"line_number": 1, "label": "Close the valve", "is_done": False},
        {"line_number": 2, "label": "Replace the burner", "is_done": False},
    ]


def test_tick_counts_what_is_left(app):
    work = order(app)
    app.fieldwork.set_checklist(work.id, ["Close the valve", "Replace the burner"])
    assert app.fieldwork.tick(work.id, 2) == 1
    assert [step["is_done"] for step in app.fieldwork.checklist(work.id)] == [False, True]
    assert app.fieldwork.tick(work.id, 1) == 0


def test_checklist_is_set_once(app):
    work = order(app)
    app.fieldwork.set_checklist(work.id, ["Close the valve"])
    with pytest.raises(Conflict):
        app.fieldwork.set_checklist(work.id, ["Open the valve"])
    assert [step["label"] for step in app.fieldwork.checklist(work.id)] == ["Close the valve"]


def test_working_time_adds_up(app):
    work, ada = order(app), technician(app)
    app.fieldwork.log_time(work.id, ada.id, at(8), 90)
    app.fieldwork.log_time(work.id, ada.id, at(13), 45)
    app.fieldwork.log_time(work.id, ada.id, at(14), 15, is_billable=False)
    assert app.fieldwork.minutes(work.id) == 150
    assert app.fieldwork.billable_minutes(work.id) == 135


def test_time_of_subcontractors_counts(app):
    work = order(app)
    app.fieldwork.log_time(work.id, 9001, at(8), 60)
    assert app.fieldwork.minutes(work.id) == 60


def test_payroll_lines(app):
    work, ada = order(app), technician(app)
    app.fieldwork.log_time(work.id, ada.id, at(13), 45)
    app.fieldwork.log_time(work.id, ada.id, at(8), 90)
    assert app.fieldwork.payroll_lines(ada.id) == ["2026-03-02 08:00:00;90", "2026-03-02 13:00:00;45"]


def test_used_parts_leave_the_stock(app):
    work, warehouse = order(app), stocked_part(app, "BRN-1", 10)
    app.fieldwork.use_part(work.id, "BRN-1", warehouse, 3, MONDAY)
    app.fieldwork.use_part(work.id, "BRN-1", warehouse, 2, MONDAY)
    assert [(part["sku"], part["quantity"]) for part in app.fieldwork.used_parts(work.id)] == [("BRN-1", 5)]
    assert app.inventory.stock("BRN-1") == {"W-BRN-1": 5}


def test_parts_run_out(app):
    work, warehouse = order(app), stocked_part(app, "BRN-1", 2)
    with pytest.raises(Conflict):
        app.fieldwork.use_part(work.id, "BRN-1", warehouse, 3, MONDAY)
    assert app.fieldwork.used_parts(work.id) == []
    assert app.inventory.stock("BRN-1") == {"W-BRN-1": 2}
