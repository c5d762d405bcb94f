from datetime import date

import pytest
from fieldservice.errors import Conflict
from samples import customer


@pytest.fixture
def site(app):
    return app.directory.add_site(customer(app).id, "Shop", "1 Quay Road", "Norwick")


def test_install(app, site):
    oven = app.directory.install(site.id, "oven", "OV-1", date(2024, 5, 1))
    assert (oven.kind, oven.installed_on, oven.service_interval_days) == ("oven", date(2024, 5, 1), 365)
    assert app.directory.asset("OV-1") == oven


def test_serial_numbers_are_unique(app, site):
    app.directory.install(site.id, "oven", "OV-1", date(2024, 5, 1))
    with pytest.raises(Conflict):
        app.directory.install(site.id, "mixer", "OV-1", date(2024, 6, 1))


def test_assets_of_a_site_by_age(app, site):
    app.directory.install(site.id, "mixer", "MX-1", date(2024, 5, 1))
    app.directory.install(site.id, "oven", "OV-1", date(2019, 8, 12))
    assert [asset.serial_number for asset in app.directory.assets(site.id)] == ["OV-1", "MX-1"]


def test_installed_in_a_year_counts_both_ends(app, site):
    days = (date(2022, 12, 31), date(2023, 1, 1), date(2023, 12, 31), date(2024, 1, 1))
    for number, day in enumerate(days):
        app.directory.install(site.id, "oven", f"OV-{number}", day)
    assert [asset.serial_number for asset in app.directory.installed_in(2023)] == ["OV-1", "OV-2"]


def test_attributes_are_kept(app, site):
    oven = app.directory.install(site.id, "oven", "OV-1", date(2024, 5, 1), volts=400, gas=False)
    assert app.directory.attributes(oven.id) == {"volts": 400, "gas": False}


def test_next_service_follows_the_interval(app, site):
    oven = app.directory.install(site.id, "oven", "OV-1", date(2025, 5, 1))
    assert app.directory.next_service("OV-1") == date(2026, 5, 1)
    app.directory.set_service_interval(oven.id, 30)
    assert app.directory.next_service("OV-1") == date(2025, 5, 31)
