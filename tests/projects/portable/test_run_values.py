"""Values that no two runs share: times, uuids, tokens, hashes, salts, durations, and text that holds them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import random
import secrets
import time
import uuid

import pytest


def log_in(db, owner, **values):
    token = secrets.token_urlsafe(24)
    columns = {"token": token, "owner": owner, **values}
    with db.transaction():
        db.execute(
            f"INSERT INTO login ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            tuple(columns.values()),
        )
    return token


def publish(db, kind, payload, **values):
    columns = {"id": str(uuid.uuid4()), "kind": kind, "payload": json.dumps(payload), **values}
    with db.transaction():
        db.execute(
            f"INSERT INTO event ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            tuple(columns.values()),
        )
    return columns["id"]


def utc():
    return datetime.datetime.now(datetime.UTC)


def test_token_and_what_a_trigger_writes_of_it(db):
    token = log_in(db, "ada")
    assert db.scalar("SELECT owner FROM login WHERE token = ?", (token,)) == "ada"
    assert db.scalar("SELECT what FROM audit ORDER BY id") == f"login ada {token}"
    db.fetchall("SELECT id, what FROM audit ORDER BY id")
    assert db.scalar("SELECT substr(token, 1, 8) FROM login") == token[:8]
    assert db.scalar("SELECT upper(token) FROM login") == token.upper()
    assert db.scalar("SELECT 'Bearer ' || token FROM login") == f"Bearer {token}"
    db.observe("header", {"Authorization": f"Bearer {token}", "owner": "ada"})


def test_password_hash_and_salt(db):
    salt = secrets.token_bytes(16)
    secret = hashlib.pbkdf2_hmac("sha256", b"secret", salt, 1).hex()
    log_in(db, "grace", salt=salt, secret=f"pbkdf2_sha256$1${base64.b64encode(salt).decode()}${secret}")
    found = db.fetchone("SELECT salt, secret FROM login WHERE owner = ?", ("grace",))
    assert bytes(found[0]) == salt
    assert found[1].endswith(secret)
    db.observe("scheme", found[1].split("$")[0])
    db.observe("stored", found[1])


def test_duration(db):
    started = time.perf_counter()
    token = log_in(db, "kay", seconds=time.perf_counter() - started + random.random())
    assert db.scalar("SELECT seconds FROM login WHERE token = ?", (token,)) >= 0
    db.fetchall("SELECT owner, seconds FROM login ORDER BY owner")
    db.observe("elapsed", time.perf_counter() - started)


def test_duration_in_milliseconds(db):
    for number in range(3):
        publish(db, "request", {"path": f"/{number}"}, elapsed=random.randint(1000, 500_000))
    db.fetchall("SELECT payload, elapsed FROM event ORDER BY payload")
    assert db.scalar("SELECT max(elapsed) FROM event") >= db.scalar("SELECT min(elapsed) FROM event")
    assert db.scalar("SELECT count(*) FROM event WHERE elapsed < 0") == 0


def test_payload_with_ids_and_times(db):
    order = {
        "order": str(uuid.uuid4()),
        "at": utc().isoformat(),
        "lines": [{"sku": "a1", "token": secrets.token_hex(8)}],
    }
    number = publish(db, "ordered", order, at=utc().isoformat())
    found = db.fetchone("SELECT payload, at FROM event WHERE id = ?", (number,))
    assert json.loads(found[0]) == order
    db.observe("body", json.loads(found[0]))
    db.observe("text", found[0])
    db.observe("reply", json.dumps({"id": number, "event": json.loads(found[0])}))


def test_member_of_a_payload(db):
    publish(db, "ordered", {"order": uuid.uuid4().hex, "token": secrets.token_urlsafe(12), "count": 3})
    member = db.functions.json_text("payload", "token")
    assert len(db.scalar(f"SELECT {member} FROM event")) == 16
    db.fetchall(f"SELECT kind, {db.functions.json_text('payload', 'order')} FROM event")
    db.observe("count", json.loads(db.scalar("SELECT payload FROM event"))["count"])


def test_etag_of_content_with_a_time(db):
    content = {"title": "report", "made": utc().isoformat(), "nonce": secrets.token_hex(4)}
    tag = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    number = publish(db, "report", content, etag=tag)
    assert db.scalar("SELECT etag FROM event WHERE id = ?", (number,)) == tag
    assert db.scalar("SELECT count(*) FROM event WHERE etag = ?", (tag,)) == 1
    db.observe("etag", f'W/"{tag[:16]}"')
    db.observe("headers", {"ETag": tag, "Location": f"/reports/{number}", "Content-Type": "application/json"})
    db.observe("digest", hashlib.md5(str(time.time_ns()).encode()).hexdigest())


def test_mail_with_a_link(db):
    token = secrets.token_urlsafe(16)
    link = f"https://example.com/reset?user=3&token={token}&sent={int(time.time())}"
    text = f"Dear ada,\n\nopen {link} before {utc() + datetime.timedelta(hours=1):%Y-%m-%d %H:%M}.\n\nMessage-ID: <{uuid.uuid4()}@example.com>"
    publish(db, "mail", {"to": "ada@example.com", "text": text})
    assert token in db.scalar("SELECT payload FROM event")
    db.observe("mail", text)


def test_log_lines(db):
    for number in range(3):
        line = f"[{utc().isoformat(timespec='milliseconds')}] request {uuid.uuid4()} took {random.random():.3f} s, status 200"
        publish(db, "log", {"n": number}, etag=line)
    lines = [line for (line,) in db.fetchall("SELECT etag FROM event ORDER BY payload")]
    assert all(line.endswith("status 200") for line in lines)
    db.observe("lines", lines)


def test_times_of_the_application(db):
    now = utc()
    for name, text in {
        "iso": now.isoformat(), "space": str(now), "seconds": now.isoformat(timespec="seconds"),
        "zulu": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "milliseconds": now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "naive": datetime.datetime.now().isoformat(), "http": now.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "compact": now.strftime("%Y%m%d%H%M%S"), "epoch": str(time.time()), "whole": str(int(time.time())),
        "nanoseconds": str(time.time_ns()), "clock": now.strftime("%H:%M:%S"),
        "later": (now + datetime.timedelta(days=30)).isoformat(), "earlier": (now - datetime.timedelta(hours=3)).isoformat(),
    }.items():  # fmt: skip
        publish(db, name, {}, at=text)
        db.observe(name, text)
    db.fetchall("SELECT kind, at FROM event ORDER BY kind")
    assert db.scalar("SELECT count(*) FROM event WHERE at IS NOT NULL") == 14


def test_expiry(db):
    for days in (1, 30):
        log_in(db, f"ada{days}", expires=(utc() + datetime.timedelta(days=days)).isoformat())
    assert db.scalar("SELECT count(*) FROM login WHERE expires > ?", (utc().isoformat(),)) == 2
    with db.transaction():
        db.execute(
            "UPDATE login SET expires = ? WHERE owner = ?",
            ((utc() - datetime.timedelta(minutes=5)).isoformat(), "ada1"),
        )
        assert db.execute("DELETE FROM login WHERE expires <= ?", (utc().isoformat(),)).rowcount == 1
    db.fetchall("SELECT owner, expires FROM login ORDER BY owner")


def test_times_of_the_database(db):
    log_in(db, "ada")
    assert db.scalar("SELECT started FROM login") is not None
    assert db.scalar("SELECT count(*) FROM login WHERE started <= CURRENT_TIMESTAMP") == 1
    with db.transaction():
        db.execute("UPDATE login SET started = CURRENT_TIMESTAMP WHERE owner = ?", ("ada",))
    db.fetchall("SELECT CURRENT_DATE")
    db.fetchall(f"SELECT {db.functions.now()} AS now, owner FROM login")


def test_signed_value(db):
    key = secrets.token_bytes(32)
    body = base64.urlsafe_b64encode(json.dumps({"user": 1, "exp": int(time.time()) + 3600}).encode()).decode()
    signature = hmac.new(key, body.encode(), "sha256").hexdigest()
    token = f"eyJhbGciOiJIUzI1NiJ9.{body}.{signature}"
    publish(db, "session", {"cookie": token})
    db.observe("cookie", token)
    assert token in db.scalar("SELECT payload FROM event")


def test_random_choice(db):
    for number in range(5):
        publish(
            db,
            random.choice(["red", "green", "blue"]),
            {"n": number},
            etag=f"file-{random.randint(0, 10**9)}.txt",
        )
    db.fetchall("SELECT kind, etag FROM event ORDER BY payload")
    assert db.scalar("SELECT count(*) FROM event") == 5


def test_order_by_a_random_key(db):
    keys = [publish(db, f"kind{number}", {"n": number}) for number in range(6)]
    assert [row[0] for row in db.fetchall("SELECT id FROM event ORDER BY id")] == sorted(keys)
    rows = db.fetchall("SELECT id, kind FROM event ORDER BY id LIMIT 3")
    assert [row[0] for row in rows] == sorted(keys)[:3]
    assert db.scalar("SELECT max(id) FROM event") == max(keys)


def test_order_by_the_random_function(db):
    for number in range(12):
        publish(db, f"kind{number}", {"n": number})
    assert len(db.fetchall("SELECT kind FROM event ORDER BY random()")) == 12
    assert db.scalar("SELECT kind FROM event ORDER BY random() LIMIT 1").startswith("kind")


def test_keys_of_the_application_referred_to(db):
    first, second = publish(db, "parent", {}), publish(db, "parent", {})
    for parent in (first, second, first):
        publish(db, "child", {"parent": parent}, etag=parent)
    db.fetchall(
        "SELECT p.kind, count(c.id) FROM event p JOIN event c ON c.etag = p.id GROUP BY p.id, p.kind ORDER BY count(c.id)"
    )
    assert db.scalar("SELECT count(*) FROM event WHERE etag = ?", (first,)) == 2
    db.fetchall("SELECT id, etag FROM event WHERE kind = 'child' AND etag IN (?, ?)", (first, second))


def test_number_with_date_and_random_part(db):
    number = f"INV-{utc():%Y%m%d}-{secrets.token_hex(3).upper()}"
    with db.transaction():
        made = db.scalar(
            "INSERT INTO purchase (number, buyer, placed) VALUES (?, ?, ?) RETURNING id",
            (number, "ada", utc().date().isoformat()),
        )
    assert db.fetchone("SELECT id, number FROM purchase WHERE id = ?", (made,)) == (made, number)
    assert db.scalar("SELECT number FROM purchase WHERE number LIKE ?", (number[:12] + "%",)) == number
    db.observe("file", f"/tmp/exports/{number}.pdf")


@pytest.mark.parametrize("count", [1, 20])
def test_many_random_rows(db, count):
    with db.transaction():
        db.executemany(
            "INSERT INTO login (token, owner, expires, seconds) VALUES (?, ?, ?, ?)",
            [
                (secrets.token_hex(16), f"user{number:02}", utc().isoformat(), random.random())
                for number in range(count)
            ],
        )
    db.fetchall("SELECT owner, token, seconds FROM login ORDER BY owner")
    db.fetchall("SELECT token FROM login")
    assert db.scalar("SELECT count(DISTINCT token) FROM login") == count
    db.observe("tokens", sorted(row[0] for row in db.fetchall("SELECT token FROM login")))


def test_random_numbers_without_the_names_of_their_columns(db):
    db.executescript("CREATE TABLE voucher (code TEXT, worth INTEGER, pin INTEGER)")
    code = secrets.token_hex(8)
    db.execute("INSERT INTO voucher VALUES (?, ?, ?)", (code, 25, random.randint(1, 10**6)))
    db.connection.commit()
    assert db.scalar("SELECT worth FROM voucher WHERE code = ?", (code,)) == 25


def test_intervals(db):
    db.executescript(
        f"CREATE TABLE shift (id INTEGER, span {'TEXT' if db.backend == 'sqlite' else 'INTERVAL'})"
    )
    for number, span in enumerate(("1 day 02:30:00", "15 minutes", "-00:01:30.5")):
        db.execute("INSERT INTO shift VALUES (?, ?)", (number, span))
    db.connection.commit()
    assert db.scalar("SELECT count(span) FROM shift") == 3


@pytest.fixture
def clock():
    """Give a clock that was set to the start of a year and goes on from there."""
    began = time.monotonic()
    start = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    return lambda: start + datetime.timedelta(seconds=time.monotonic() - began)


def test_clock_that_was_set(db, clock):
    time.sleep(0.02 if db.backend == "sqlite" else 0.05)
    at = clock()
    publish(db, "opened", {"at": at.isoformat(), "who": ["ada", at.isoformat(" ")]}, at=at.isoformat())
    expires = clock() + datetime.timedelta(hours=1, seconds=7)
    log_in(db, "ada", expires=expires.isoformat(), started=at.replace(tzinfo=None).isoformat(" "))
    publish(db, "counted", {}, at=str(int(at.timestamp() * 1_000_000)), elapsed=7)
    assert db.scalar("SELECT payload FROM event WHERE at = ?", (at.isoformat(),)).count("2021-01-01") == 2
    db.fetchall("SELECT kind, at, payload FROM event ORDER BY kind")
    db.fetchall("SELECT expires FROM login WHERE expires > ?", (clock().isoformat(),))
    db.observe("response", {"started": at.isoformat(), "message": f"opened at {at.isoformat()}, again"})
