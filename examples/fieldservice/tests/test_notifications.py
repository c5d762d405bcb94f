from fieldservice import notifications
from samples import at, order, technician


def test_messages_wait_in_order(app):
    notifications.notify("ada@example.com", "New visit on Monday")
    notifications.notify("ben@example.com", "Visit is cancelled")
    assert notifications.pending() == [
        ("ada@example.com", "New visit on Monday"),
        ("ben@example.com", "Visit is cancelled"),
    ]


def test_sent_messages_do_not_wait(app):
    notifications.notify("ada@example.com", "New visit on Monday")
    notifications.notify("ada@example.com", "Visit is cancelled")
    assert notifications.mark_sent("ada@example.com") == 2
    assert notifications.pending() == []


def test_technician_hears_of_a_visit(app):
    work, ada = order(app), technician(app)
    visit = app.dispatch.schedule(work.id, ada.id, at(9), at(11))
    notifications.notify(app.dispatch.technician(visit.technician_id).email, f"{work.number} at 9:00")
    assert notifications.pending() == [("ada@example.com", "WO-00001 at 9:00")]
