"""The tables' schemas: what is accepted, what is refused and in which words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tidegate.analytics.tables import SCHEMAS, RunTables, codes, conform, floats, ints, make, names, text

TOUCH = {"ts": [1, 2], "instrument": ["a", "b"], "bid": [1.0, 2.0], "ask": [2.0, 3.0]}


def test_a_run_without_tables_has_empty_ones_of_every_schema():
    run = RunTables()
    for name, schema in SCHEMAS.items():
        assert getattr(run, name).num_rows == 0
        assert getattr(run, name).schema == schema


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="table touch: missing column ask"):
        make("touch", {k: v for k, v in TOUCH.items() if k != "ask"})
    with pytest.raises(ValueError, match="missing columns bid, ask"):
        make("touch", {"ts": [1], "instrument": ["a"]})


def test_a_column_of_another_type_is_named():
    with pytest.raises(ValueError, match=r"table touch: column ts is string, expected int64"):
        make("touch", {**TOUCH, "ts": ["x", "y"]})


def test_plain_text_narrow_integers_and_other_dictionaries_are_taken():
    table = make("touch", {
        "ts": pa.array([1, 2], pa.int32()),
        "instrument": pa.array(["a", "b"]).cast(pa.dictionary(pa.int8(), pa.large_string())),
        "bid": pa.array([1, 2], pa.int64()), "ask": [2.0, 3.0],
    })  # fmt: skip
    assert table.schema == SCHEMAS["touch"]


def test_further_columns_are_kept_behind_the_declared_ones():
    table = conform("touch", pa.table({"note": ["x", "y"], **TOUCH}))
    assert table.column_names == [*SCHEMAS["touch"].names, "note"]


def test_names_appear_in_the_order_of_the_tables():
    run = RunTables(touch=make("touch", {**TOUCH, "instrument": ["z", "b"]}))
    assert names(run).instruments == ("z", "b")
    assert names(run).strategies == ()


def test_codes_survive_chunks_with_different_dictionaries_and_nulls():
    parts = [pa.array(["b", "a"]).dictionary_encode(), pa.array(["a", None, "c"]).dictionary_encode()]
    table = pa.table({"instrument": pa.chunked_array(parts)})
    assert codes(table, "instrument", ("a", "b", "c", "")).tolist() == [1, 0, 0, 3, 2]
    own, labels = text(table, "instrument")
    assert [labels[n] for n in own] == ["b", "a", "a", "", "c"]
    with pytest.raises(KeyError):
        codes(table, "instrument", ("a", "b", ""))


def test_nulls_in_numbers_become_nan_or_zero():
    table = pa.table({"x": pa.array([1.0, None]), "n": pa.array([None, 4], pa.int64())})
    assert np.isnan(floats(table, "x")).tolist() == [False, True]
    assert ints(table, "n").tolist() == [0, 4]
