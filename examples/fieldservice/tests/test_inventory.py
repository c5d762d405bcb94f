from decimal import Decimal

import pytest
from fieldservice.errors import Conflict
from samples import stocked_part


def test_add_part(app):
    burner = app.inventory.add_part("BRN-1", "Burner", 12500, Decimal("80.25"))
    assert (burner.sku, burner.price_cents, burner.unit_cost) == ("BRN-1", 12500, Decimal("80.25"))


def test_set_price(app):
    app.inventory.add_part("BRN-1", "Burner", 12500)
    assert app.inventory.set_price("BRN-1", 12900).price_cents == 12900


def test_cost_of_many_small_parts(app):
    app.inventory.add_part("WSH-1", "Washer", 10, unit_cost=Decimal("0.004"))
    assert app.inventory.cost_of("WSH-1", 1000) == 4


def test_costs_can_be_fractions_of_a_cent(app):
    screw = app.inventory.add_part("SCR-1", "Screw", 25, unit_cost=Decimal("0.125"))
    assert 0 < screw.unit_cost < 1


def test_receive_adds_to_the_stock(app):
    app.inventory.add_part("BRN-1", "Burner", 12500)
    north = app.inventory.add_warehouse("N", "North")
    south = app.inventory.add_warehouse("S", "South")
    assert app.inventory.receive(north, "BRN-1", 4) == 4
    assert app.inventory.receive(north, "BRN-1", 2) == 6
    assert app.inventory.receive(south, "BRN-1", 1) == 7
    assert app.inventory.stock("BRN-1") == {"N": 6, "S": 1}


def test_transfer(app):
    source = stocked_part(app, "BRN-1", 5)
    target = app.inventory.add_warehouse("VAN", "Van")
    app.inventory.transfer("BRN-1", source, target, 2)
    assert app.inventory.stock("BRN-1") == {"VAN": 2, "W-BRN-1": 3}


def test_transfer_of_too_many_moves_none(app):
    source = stocked_part(app, "BRN-1", 5)
    target = app.inventory.add_warehouse("VAN", "Van")
    with pytest.raises(Conflict):
        app.inventory.transfer("BRN-1", source, target, 6)
    assert app.inventory.stock("BRN-1") == {"W-BRN-1": 5}


def test_to_reorder(app):
    warehouse = app.inventory.add_warehouse("N", "North")
    for sku, reorder_point, quantity in (("A-1", 5, 4), ("B-1", 5, 5), ("C-1", 1, 0)):
        app.inventory.add_part(sku, f"Part {sku}", 100, reorder_point=reorder_point)
        app.inventory.receive(warehouse, sku, quantity)
    assert app.inventory.to_reorder() == ["A-1", "C-1"]
