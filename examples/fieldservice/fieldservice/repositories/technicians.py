"""Teams, technicians and what they can do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fieldservice.adapters import Adapter, Row


@dataclass(frozen=True, slots=True)
class Technician:
    """A person who does the work."""

    id: int
    team_id: int
    name: str
    email: str
    is_active: bool
    hired_on: date


TECHNICIAN = "t.id, t.team_id, t.name, t.email, t.is_active, t.hired_on"


class TechnicianRepository:
    """Reads and writes teams, technicians and skills."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def add_team(self, name: str, region_code: str) -> int:
        """Insert a team and return its id."""
        return self._db.insert("INSERT INTO teams (name, region_code) VALUES (?, ?)", (name, region_code))

    def add(self, team_id: int, name: str, email: str, hired_on: date) -> int:
        """Insert an active technician and return the id."""
        return self._db.insert(
            "INSERT INTO technicians (team_id, name, email, hired_on) VALUES (?, ?, ?, ?)",
            (team_id, name, email, hired_on),
        )

    def get(self, technician_id: int) -> Technician | None:
        """Return a technician, or None."""
        row = self._db.one(f"SELECT {TECHNICIAN} FROM technicians t WHERE t.id = ?", (technician_id,))
        return None if row is None else Technician(**row)

    def roster(self, team_id: int) -> list[Technician]:
        """Return a team's active technicians, longest service first."""
        rows = self._db.all(
            f"SELECT {TECHNICIAN} FROM technicians t"
            " WHERE t.team_id = ? AND t.is_active = 1 ORDER BY t.hired_on, t.id",
            (team_id,),
        )
        return [Technician(**row) for row in rows]

    def set_active(self, technician_id: int, is_active: bool) -> int:
        """Switch a technician on or off and return the number of rows changed."""
        cursor = self._db.execute(
            "UPDATE technicians SET is_active = ? WHERE id = ?", (is_active, technician_id)
        )
        return int(cursor.rowcount)

    def ensure_skill(self, name: str) -> int:
        """Return the id of a skill, which is added if it is new."""
        known = self._db.scalar("SELECT id FROM skills WHERE name = ?", (name,))
        return self._db.insert("INSERT INTO skills (name) VALUES (?)", (name,)) if known is None else known

    def grant_skill(self, technician_id: int, skill_id: int, level: int) -> None:
        """Give a technician a skill, or change its level."""
        self._db.execute(
            "INSERT INTO technician_skills (technician_id, skill_id, level) VALUES (?, ?, ?)"
            " ON CONFLICT (technician_id, skill_id) DO UPDATE SET level = excluded.level",
            (technician_id, skill_id, level),
        )

    def with_skill(self, name: str, level: int) -> list[Technician]:
        """Return the active technicians who have a skill at this level or above, best first."""
        rows = self._db.all(
            f"SELECT {TECHNICIAN} FROM technicians t"
            " JOIN technician_skills ts ON ts.technician_id = t.id JOIN skills s ON s.id = ts.skill_id"
            " WHERE s.name = ? AND ts.level >= ? AND t.is_active = ? ORDER BY ts.level DESC, t.id",
            (name, level, True),
        )
        return [Technician(**row) for row in rows]

    def skills(self, technician_id: int) -> list[Row]:
        """Return a technician's skills with their levels, by name."""
        return self._db.all(
            "SELECT s.name, ts.level FROM technician_skills ts JOIN skills s ON s.id = ts.skill_id"
            " WHERE ts.technician_id = ? ORDER BY s.name",
            (technician_id,),
        )
