from datetime import date

import pytest
from fieldservice.errors import Conflict
from fieldservice.services.directory import Imported
from samples import customer


def test_register_returns_the_stored_customer(app):
    bakery = app.directory.register("C-100", "Harbour Bakery", "north", "office@harbour.example")
    assert (bakery.number, bakery.name, bakery.email) == ("C-100", "Harbour Bakery", "office@harbour.example")
    assert bakery.is_archived is False
    assert app.directory.customer(bakery.id) == bakery


def test_register_refuses_a_known_number(app):
    customer(app, "C-100")
    with pytest.raises(Conflict):
        app.directory.register("C-100", "Somebody else", "south")
    assert app.directory.in_region("south") == []


def test_find_by_number(app):
    bakery = customer(app, "C-100")
    customer(app, "C-200", "Mill Inn")
    assert app.directory.find("C-100") == bakery
    assert app.directory.find("C-300") is None


def test_rename(app):
    bakery = customer(app)
    assert app.directory.rename(bakery.id, "Old Harbour Bakery").name == "Old Harbour Bakery"


def test_region_lists_customers_by_number(app):
    app.directory.register("C-300", "Lakeside Hotel", "south")
    app.directory.register("C-100", "Mill Inn", "south")
    customer(app, "C-200")
    assert [found.number for found in app.directory.in_region("south")] == ["C-100", "C-300"]


def test_archived_customers_leave_the_region(app):
    bakery = customer(app)
    app.directory.archive(bakery.id)
    assert app.directory.in_region("north") == []
    assert app.directory.customer(bakery.id).is_archived is True


def test_search_ignores_case(app):
    customer(app, "C-100", "Harbour Bakery")
    customer(app, "C-200", "Mill Inn")
    assert [found.number for found in app.directory.search("bakery")] == ["C-100"]


def test_search_matches_within_words(app):
    customer(app, "C-100", "Windmill Inn")
    customer(app, "C-200", "Mill Street Garage")
    assert "C-100" in [found.number for found in app.directory.search("mill")]


def test_contacts_keep_their_order(app):
    bakery = customer(app)
    app.directory.add_contact(bakery.id, "Zoe", "zoe@harbour.example")
    app.directory.add_contact(bakery.id, "Abel", "abel@harbour.example", "555-0100")
    assert [(person.name, person.phone) for person in app.directory.contacts(bakery.id)] == [
        ("Zoe", None),
        ("Abel", "555-0100"),
    ]


def test_contact_addresses_are_unique_within_a_customer(app):
    bakery, inn = customer(app, "C-100"), customer(app, "C-200")
    app.directory.add_contact(bakery.id, "Zoe", "zoe@example.com")
    app.directory.add_contact(inn.id, "Zoe", "zoe@example.com")
    with pytest.raises(Conflict):
        app.directory.add_contact(bakery.id, "Zoe again", "ZOE@example.com")


def test_remove_contact(app):
    bakery = customer(app)
    zoe = app.directory.add_contact(bakery.id, "Zoe", "zoe@harbour.example")
    assert app.directory.remove_contact(zoe.id) is True
    assert app.directory.remove_contact(zoe.id) is False
    assert app.directory.contacts(bakery.id) == []


def test_import_contacts(app):
    bakery = customer(app)
    people = [("Zoe", "zoe@harbour.example"), ("Abel", "Abel@harbour.example")]
    assert app.directory.import_contacts(bakery.id, people) == Imported(added=2, skipped=0)
    assert [person.email for person in app.directory.contacts(bakery.id)] == [
        "zoe@harbour.example",
        "abel@harbour.example",
    ]


def test_import_skips_known_contacts(app):
    bakery = customer(app)
    app.directory.add_contact(bakery.id, "Zoe", "zoe@harbour.example")
    people = [("Zoe", "zoe@harbour.example"), ("Abel", "abel@harbour.example")]
    assert app.directory.import_contacts(bakery.id, people) == Imported(added=1, skipped=1)


def test_import_counts_an_address_that_is_twice_in_the_file(app):
    bakery = customer(app)
    people = [("Zoe", "zoe@harbour.example"), ("Abel", "abel@harbour.example"), ("Z.", "ZOE@harbour.example")]
    assert app.directory.import_contacts(bakery.id, people) == Imported(added=2, skipped=1)


def test_sites_of_a_customer(app):
    bakery = customer(app)
    app.directory.add_site(bakery.id, "Shop", "1 Quay Road", "Norwick")
    app.directory.add_site(bakery.id, "Mill", "9 Brook Lane", "Easton")
    assert [site.name for site in app.directory.sites(bakery.id)] == ["Shop", "Mill"]


def test_cities_with_most_sites_first(app):
    bakery = customer(app)
    for name, city in (("Shop", "Easton"), ("Mill", "Norwick"), ("Store", "Norwick")):
        app.directory.add_site(bakery.id, name, "1 Quay Road", city)
    assert list(app.directory.cities().items()) == [("Norwick", 2), ("Easton", 1)]


def test_close_site(app):
    bakery = customer(app)
    shop = app.directory.add_site(bakery.id, "Shop", "1 Quay Road", "Norwick")
    mill = app.directory.add_site(bakery.id, "Mill", "9 Brook Lane", "Easton")
    app.directory.install(shop.id, "oven", "OV-1", date(2024, 5, 1))
    app.directory.close_site(shop.id)
    assert app.directory.sites(bakery.id) == [mill]
