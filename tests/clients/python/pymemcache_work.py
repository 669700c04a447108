"""Real work through pymemcache against the server at HOST PORT.

Prints one line `ok TOPIC: what` for each thing that is as it should be, ends with 1 at the first
that is not, and says `done` at the very end.
"""

import sys
import time

from pymemcache.client.base import Client, PooledClient
from pymemcache.exceptions import MemcacheServerError
from pymemcache.serde import pickle_serde

LARGE = 1024 * 1024 - 512


def check(topic, what, got, wanted):
    if got != wanted:
        print(f"not ok {topic}: {what}: got {str(got)[:200]!r}, wanted {str(wanted)[:200]!r}")
        sys.exit(1)
    print(f"ok {topic}: {what}", flush=True)


def basics(client):
    check("set", "a value is stored", client.set("a", b"1", noreply=False), True)
    check("get", "it comes back", client.get("a"), b"1")
    check("get", "a miss is the default", client.get("absent", b"none"), b"none")
    check("set", "add keeps what is there", client.add("a", b"2", noreply=False), False)
    check("set", "replace wants something there", client.replace("b", b"2", noreply=False), False)
    check("set", "without waiting for an answer", client.set("quiet", b"x", noreply=True), True)
    check("get", "in order after it", client.get("quiet"), b"x")
    check("set", "an empty value", client.set("empty", b"", noreply=False), True)
    check("get", "is not a miss", client.get("empty"), b"")
    check("get", "any byte survives", round_trip(client, "bytes", bytes(range(256)) * 4), True)
    check("get", "delete says so", client.delete("a", noreply=False), True)
    check("get", "and deletes", client.get("a"), None)
    check("get", "only once", client.delete("a", noreply=False), False)


def round_trip(client, key, value):
    return client.set(key, value, noreply=False) and client.get(key) == value


def multi_get(client):
    values = {f"many{number}": f"value{number}".encode() for number in range(500)}
    check("multi-get", "500 are stored", client.set_many(values, noreply=False), [])
    check("multi-get", "500 come back", client.get_many(list(values)), values)
    check("multi-get", "misses are left out", client.get_many(["many1", "absent"]),
          {"many1": b"value1"})
    check("multi-get", "none is fine", client.get_many(["absent"]), {})
    check("multi-get", "twice the same is once", client.get_many(["many1", "many1"]),
          {"many1": b"value1"})


def cas(client):
    client.set("cas", b"old", noreply=False)
    value, unique = client.gets("cas")
    check("cas", "gets brings the value", value, b"old")
    check("cas", "unchanged: stored", client.cas("cas", b"new", unique, noreply=False), True)
    check("cas", "changed: refused", client.cas("cas", b"late", unique, noreply=False), False)
    check("cas", "absent: told apart", client.cas("absent", b"x", unique, noreply=False), None)
    check("cas", "the winner's value stays", client.get("cas"), b"new")
    many = client.gets_many(["cas", "absent"])
    check("cas", "gets of many", many["cas"][0], b"new")


def arithmetic(client):
    client.set("n", b"10", noreply=False)
    check("incr", "adds", client.incr("n", 5), 15)
    check("incr", "subtracts", client.decr("n", 7), 8)
    check("incr", "stops at zero", client.decr("n", 100), 0)
    check("incr", "a miss is told", client.incr("absent", 1), None)
    client.set("n", b"18446744073709551615", noreply=False)
    check("incr", "wraps at 2^64", client.incr("n", 2), 1)
    client.set("n", b"99", noreply=False)
    client.decr("n", 95)
    check("incr", "pads the shorter number", client.get("n"), b"4 ")


def append(client):
    client.set("p", b"b", noreply=False)
    check("append", "at the end", client.append("p", b"c", noreply=False), True)
    check("append", "at the start", client.prepend("p", b"a", noreply=False), True)
    check("append", "both are there", client.get("p"), b"abc")
    check("append", "absent: not stored", client.append("absent", b"x", noreply=False), False)


def times(client):
    client.set("short", b"x", expire=3, noreply=False)
    client.set("absolute", b"x", expire=int(time.time()) + 3, noreply=False)
    client.set("kept", b"x", expire=3, noreply=False)
    client.set("touched", b"x", noreply=False)
    client.set("gat", b"x", noreply=False)
    check("expiry", "alive before its time", client.get("short"), b"x")
    check("expiry", "dead on arrival", client.set("dead", b"x", expire=-1, noreply=False), True)
    check("expiry", "is a miss", client.get("dead"), None)
    check("touch", "a shorter life", client.touch("touched", 3, noreply=False), True)
    check("touch", "a longer life", client.touch("kept", 1000, noreply=False), True)
    check("touch", "absent: told", client.touch("absent", 3, noreply=False), False)
    # The library has no call for `gat`, only one for commands of one's own.
    wanted = b"VALUE gat 0 1\r\nx"
    check("touch", "gat reads and sets", client.raw_command(b"gat 3 gat", b"\r\nEND\r\n"), wanted)
    time.sleep(5)
    check("expiry", "dead after its time", client.get("short"), None)
    check("expiry", "an absolute time too", client.get("absolute"), None)
    check("touch", "the touched one died", client.get("touched"), None)
    check("touch", "the one read by gat died", client.get("gat"), None)
    check("touch", "the prolonged one lives", client.get("kept"), b"x")


def large(client):
    value = bytes(number % 251 for number in range(LARGE))
    check("large", "just under 1 MiB", round_trip(client, "large", value), True)
    try:
        client.set("large", b"x" * (2 * 1024 * 1024), noreply=False)
        refused = "stored"
    except MemcacheServerError as error:
        refused = error.args[0]
    check("large", "2 MiB are refused", refused, b"object too large for cache")
    check("large", "and the old value is gone", client.get("large"), None)
    check("large", "and the connection goes on", round_trip(client, "after", b"x"), True)


def utf8(host, port):
    client = Client((host, port), allow_unicode_keys=True, encoding="utf-8", serde=pickle_serde)
    key, value = "\u9375\u30ad\u30fc\u00e9", "\u95c2\u3092\u9589\u3081\u308b \U0001f510"
    check("utf-8", "a key and a value", client.set(key, value, noreply=False), True)
    check("utf-8", "come back as they were", client.get(key), value)
    check("utf-8", "among many", client.get_many([key]), {key: value})
    structure = {"list": [1, 2.5, None], "name": value}
    stored = client.set("object", structure, noreply=False)
    check("utf-8", "an object, with its flags", stored, True)
    check("utf-8", "is rebuilt", client.get("object"), structure)
    client.close()


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    client = Client((host, port), timeout=10, connect_timeout=10)
    basics(client)
    multi_get(client)
    cas(client)
    arithmetic(client)
    append(client)
    times(client)
    large(client)
    utf8(host, port)
    pool = PooledClient((host, port), max_pool_size=4, timeout=10)
    check("get", "through a pool", round_trip(pool, "pooled", b"x"), True)
    check("get", "version is text", client.version().count(b".") >= 2, True)
    check("get", "stats are read", client.stats()[b"curr_connections"] >= 1, True)
    check("set", "flush_all", client.flush_all(noreply=False), True)
    check("get", "has flushed", client.get("pooled"), None)
    client.quit()
    print("done")


main()
