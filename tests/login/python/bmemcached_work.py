"""Logs in by python-binary-memcached, which knows PLAIN alone."""
import sys

import bmemcached
from bmemcached.exceptions import MemcachedException

port, name, password = sys.argv[1:4]


def client(name, password):
    return bmemcached.Client(("127.0.0.1:" + port,), name, password)


def check(what, found):
    assert found, what
    print("ok", what)


right = client(name, password)
check("set", right.set("k", "v"))
check("get", right.get("k") == "v")
check("delete", right.delete("k"))
for what, one, other in [("wrong password", name, "wrong"), ("unknown user", "nobody", password)]:
    try:
        client(one, other).set("k", "stolen")
        raise SystemExit(what + " was let in")
    except MemcachedException as error:
        check(what, error.code == 0x20)
check("nothing was stored", right.get("k") is None)
print("done")
