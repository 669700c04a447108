"""pymemcache over TLS: argv is the port and the file of the authority."""

import ssl
import sys

from pymemcache.client.base import Client

port, authority = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=authority)
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version = context.maximum_version = version
    client = Client(("localhost", port), tls_context=context, timeout=10, connect_timeout=10)
    assert client.set("a", b"value", noreply=False)
    assert client.get("a") == b"value"
    big = b"v" * 1_000_000
    assert client.set("big", big, noreply=False)
    assert client.get_many(["a", "big", "none"]) == {"a": b"value", "big": big}
    assert client.set("n", b"1", noreply=False) and client.incr("n", 41) == 42
    value, cas = client.gets("a")
    assert client.cas("a", b"other", cas) and client.get("a") == b"other"
    assert client.delete("a", noreply=False) and client.get("a") is None
    client.quit()
print("done")
