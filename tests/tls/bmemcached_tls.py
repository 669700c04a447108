"""python-binary-memcached over TLS: argv is the port and the file of the authority."""

import ssl
import sys

import bmemcached

port, authority = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=authority)
# It verifies the chain; the library names no host to compare with.
context.check_hostname = False
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version = context.maximum_version = version
    client = bmemcached.Client(f"127.0.0.1:{port}", tls_context=context)
    assert client.set("a", "value")
    assert client.get("a") == "value"
    assert client.set("big", "v" * 900_000) and client.get("big") == "v" * 900_000
    assert client.set("n", "1") and client.incr("n", 41) == 42
    value, cas = client.gets("a")
    assert client.cas("a", "other", cas) and client.get("a") == "other"
    assert client.delete("a") and client.get("a") is None
    client.disconnect_all()
print("done")
