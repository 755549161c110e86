from modalens.utils.words import counted


def test_one_is_no_plural_and_thousands_are_parted():
    assert [counted(number, "shard") for number in (0, 1, 2, 1200)] == [
        "0 shards",
        "1 shard",
        "2 shards",
        "1,200 shards",
    ]
    assert counted(1, "address", "addresses") + counted(2, "address", "addresses") == "1 address2 addresses"
