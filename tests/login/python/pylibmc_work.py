"""Logs in by libmemcached, which lets Cyrus SASL choose the mechanism."""
import sys

import pylibmc

port, name, password = sys.argv[1:4]


def client(name, password):
    return pylibmc.Client(["127.0.0.1:" + port], binary=True, username=name, password=password)


def check(what, found):
    assert found, what
    print("ok", what)


right = client(name, password)
check("set", right.set("k", "v"))
check("get", right.get("k") == "v")
check("many", right.get_multi(["k", "none"]) == {"k": "v"})
for what, one, other in [("wrong password", name, "wrong"), ("unknown user", "nobody", password)]:
    try:
        client(one, other).set("k", "stolen")
        raise SystemExit(what + " was let in")
    except pylibmc.Error as error:
        check(what, "AUTH" in str(error).upper())
check("nothing was stored", right.get("k") == "v")
print("done")
