"""From a customer's call to a technician at the door."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from fieldservice.adapters import Adapter, Row
from fieldservice.errors import Conflict, InvalidTransition, NotFound
from fieldservice.repositories.appointments import Appointment, AppointmentRepository
from fieldservice.repositories.technicians import Technician, TechnicianRepository
from fieldservice.repositories.work_orders import Event, WorkOrder, WorkOrderRepository

TRANSITIONS = {
    "new": {"scheduled", "cancelled"},
    "scheduled": {"new", "in_progress", "cancelled"},
    "in_progress": {"scheduled", "done"},
    "done": {"in_progress", "invoiced"},
    "invoiced": set(),
    "cancelled": set(),
}
CLOSED = {"done", "invoiced", "cancelled"}
SHIFT_HOURS = 4


class Dispatch:
    """Opens, plans and follows work orders; knows the technicians."""

    def __init__(self, db: Adapter) -> None:
        self._db = db
        self._orders = WorkOrderRepository(db)
        self._appointments = AppointmentRepository(db)
        self._technicians = TechnicianRepository(db)

    def open(
        self,
        customer_id: int,
        title: str,
        priority: str = "normal",
        due_on: date | None = None,
        hours: Decimal = Decimal(1),
        crew: int = 1,
    ) -> WorkOrder:
        """Open a work order."""
        with self._db.transaction():
            number = self._orders.next_number()
            order_id = self._orders.add(number, customer_id, priority, title, due_on, hours, crew)
            self._orders.add_event(order_id, None, "new")
        return self.order(order_id)

    def order(self, work_order_id: int) -> WorkOrder:
        """Return a work order."""
        order = self._orders.get(work_order_id)
        if order is None:
            raise NotFound(f"work order {work_order_id}")
        return order

    def orders_of(self, customer_id: int) -> list[WorkOrder]:
        """Return a customer's work orders, newest first."""
        return self._orders.of_customer(customer_id)

    def backlog(self) -> list[WorkOrder]:
        """Return what nobody has scheduled; work without a date comes first, as it must be planned."""
        return self._orders.backlog()

    def by_urgency(self) -> list[WorkOrder]:
        """Return the open work orders, most urgent priority first."""
        return self._orders.by_urgency()

    def plan(self, work_order_id: int, due_on: date) -> WorkOrder:
        """Set the day by which a work order is to be done."""
        with self._db.transaction():
            if not self._orders.set_due_on(work_order_id, due_on):
                raise NotFound(f"work order {work_order_id}")
        return self.order(work_order_id)

    def fits_in_shift(self, work_order_id: int) -> bool:
        """Return whether the crew can finish a work order within one shift."""
        return self._orders.hours_per_person(work_order_id) <= SHIFT_HOURS

    def move_to(self, work_order_id: int, status: str) -> WorkOrder:
        """Change the status of a work order, as far as its present one allows."""
        with self._db.transaction():
            order = self.order(work_order_id)
            if status not in TRANSITIONS[order.status]:
                raise InvalidTransition(f"{order.number} is {order.status}, not {status}")
            self._orders.set_status(work_order_id, status, closes=status in CLOSED)
            self._orders.add_event(work_order_id, order.status, status)
        return self.order(work_order_id)

    def history(self, work_order_id: int) -> list[Event]:
        """Return a work order's changes of status, oldest first."""
        return self._orders.events(work_order_id)

    def schedule(
        self, work_order_id: int, technician_id: int, starts_at: datetime, ends_at: datetime
    ) -> Appointment:
        """Send a technician; he or she must be free."""
        with self._db.transaction():
            if self._appointments.overlapping(technician_id, starts_at, ends_at):
                raise Conflict(f"technician {technician_id} is not free at {starts_at}")
            appointment_id = self._appointments.add(work_order_id, technician_id, starts_at, ends_at)
            order = self.order(work_order_id)
            if order.status == "new":
                self._orders.set_status(work_order_id, "scheduled", closes=False)
                self._orders.add_event(work_order_id, "new", "scheduled")
        return Appointment(appointment_id, work_order_id, technician_id, starts_at, ends_at)

    def reschedule(self, appointment_id: int, starts_at: datetime, ends_at: datetime) -> Appointment:
        """Move an appointment; the technician must be free."""
        with self._db.transaction():
            appointment = self._appointments.get(appointment_id)
            if appointment is None:
                raise NotFound(f"appointment {appointment_id}")
            others = self._appointments.overlapping(appointment.technician_id, starts_at, ends_at)
            if any(other.id != appointment_id for other in others):
                raise Conflict(f"technician {appointment.technician_id} is not free at {starts_at}")
            self._appointments.move(appointment_id, starts_at, ends_at)
        return Appointment(
            appointment_id, appointment.work_order_id, appointment.technician_id, starts_at, ends_at
        )

    def cancel_appointment(self, appointment_id: int) -> bool:
        """Cancel an appointment and return whether there was one."""
        with self._db.transaction():
            return self._appointments.cancel(appointment_id) == 1

    def is_free(self, technician_id: int, starts_at: datetime, ends_at: datetime) -> bool:
        """Return whether a technician has no appointment between the two times."""
        return not self._appointments.overlapping(technician_id, starts_at, ends_at)

    def day_plan(self, day: date) -> list[Appointment]:
        """Return the appointments that start on a day, earliest first."""
        return self._appointments.on_day(day)

    def add_team(self, name: str, region_code: str) -> int:
        """Add a team and return its id."""
        with self._db.transaction():
            return self._technicians.add_team(name, region_code)

    def hire(self, team_id: int, name: str, email: str, hired_on: date) -> Technician:
        """Add a technician; the address must be new."""
        try:
            with self._db.transaction():
                technician_id = self._technicians.add(team_id, name, email, hired_on)
        except self._db.integrity_error as error:
            raise Conflict(f"technician {email} can't be added") from error
        return self.technician(technician_id)

    def technician(self, technician_id: int) -> Technician:
        """Return a technician."""
        technician = self._technicians.get(technician_id)
        if technician is None:
            raise NotFound(f"technician {technician_id}")
        return technician

    def roster(self, team_id: int) -> list[Technician]:
        """Return a team's active technicians, longest service first."""
        return self._technicians.roster(team_id)

    def set_active(self, technician_id: int, is_active: bool) -> Technician:
        """Switch a technician on or off, for instance during a leave."""
        with self._db.transaction():
            if not self._technicians.set_active(technician_id, is_active):
                raise NotFound(f"technician {technician_id}")
        return self.technician(technician_id)

    def grant_skill(self, technician_id: int, name: str, level: int) -> None:
        """Give a technician a skill of level 1 to 5, or change its level."""
        try:
            with self._db.transaction():
                self._technicians.grant_skill(technician_id, self._technicians.ensure_skill(name), level)
        except self._db.integrity_error as error:
            raise Conflict(f"skill {name} of level {level}") from error

    def skills(self, technician_id: int) -> list[Row]:
        """Return a technician's skills with their levels, by name."""
        return self._technicians.skills(technician_id)

    def qualified(self, skill: str, level: int = 1) -> list[Technician]:
        """Return the active technicians who have a skill at this level or above, best first."""
        return self._technicians.with_skill(skill, level)
